"""CCA and CFA: linear projections of both media, in closed form.

Shapes: n pairs, D features of images, T of texts, r and q principal axes of images and of texts, K components.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from systems.dckt.baselines.config import CCAParams, CFAParams
from systems.dckt.baselines.fitted import Fitted, best, measured
from systems.dckt.features import Views

LEAST = 1e-9  # variance of a principal axis that is used, relative to the largest


@dataclass(frozen=True)
class Linear:
    """A projection of centred features.

    Attributes:
        mean: (D,).
        weights: (D, K).
    """

    mean: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return (x - mean) W: (n, D) to (n, K)."""
        return (features - self.mean) @ self.weights


def principal_axes(features: np.ndarray, most: int) -> Linear:
    """Return the projection on the principal axes whose variance is not 0, the largest variance first.

    Args:
        features: float (n, D).
        most: axes at most.
    """
    x = features.astype(np.float64)
    mean = x.mean(axis=0)
    x -= mean
    # the smaller of the two Gram matrices: with more features than pairs, no D x D matrix is made
    by_pairs = len(x) < x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if by_pairs else x.T @ x)
    order = np.argsort(-values, kind="stable")[:most]
    order = order[values[order] > LEAST * max(values[order[0]], np.finfo(np.float64).tiny)]
    axes = vectors[:, order]
    return Linear(mean, x.T @ axes / np.sqrt(values[order]) if by_pairs else axes)


def canonical_axes(images: np.ndarray, texts: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Return the canonical axes of both media and the correlations, the largest first.

    maximise a' X'Y b   subject to   a' (X'X + n c_X I) a = b' (Y'Y + n c_Y I) b = n

    with c = ridge times the mean variance of the medium's axes.

    Args:
        images, texts: centred and uncorrelated, as principal components are.
        ridge: 0 for plain CCA.

    Shape:
        images: (n, r); texts: (n, q); result: (r, min(r, q)), (q, min(r, q)), (min(r, q),)
    """
    scales = []
    for x in (images, texts):
        variances = np.square(x).mean(axis=0)
        scales.append(1 / np.sqrt(variances + ridge * variances.mean()))
    correlation = (images * scales[0]).T @ (texts * scales[1]) / len(images)
    left, values, right = np.linalg.svd(correlation, full_matrices=False)
    return scales[0][:, None] * left, scales[1][:, None] * right.T, values


def sizes(components: list[int], most: int) -> list[int]:
    """Return the candidates that are possible: those above the maximum become the maximum, each once."""
    return sorted({min(number, most) for number in components})


def fit_cca(params: CCAParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit canonical correlation analysis: the projections of both media that correlate most.

    Features are reduced to their principal axes first, since with fewer pairs than features every correlation is 1
    without a ridge. Ridge and number of components have the best validation MAP.

    Reference: Hotelling, "Relations between two sets of variates" (1936); for retrieval: Rasiwasia et al., "A new
    approach to cross-modal multimedia retrieval" (2010). The ridge is Vinod's (1976), as in the canonical ridge.
    """

    def candidates() -> Iterator[Fitted]:
        axes = principal_axes(train.images, params.axes), principal_axes(train.texts, params.axes)
        x, y = axes[0](train.images), axes[1](train.texts)
        for ridge in params.ridges:
            a, b, correlations = canonical_axes(x, y, ridge)
            for number in sizes(params.components, len(correlations)):
                images, texts = (
                    Linear(of.mean, of.weights @ part[:, :number]) for of, part in zip(axes, (a, b), strict=True)
                )
                yield measured(images, texts, {"ridge": ridge, "components": number}, validation)

    return best(candidates())


def factors(images: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the orthonormal axes along which the media vary together most, the largest first.

    maximise tr(A'X'Y B)   subject to   A'A = B'B = I

    For every number of columns these are the singular vectors of X'Y. With square A and B, as in the paper, the same
    axes minimise ||X A - Y B||_F^2, since then ||X A|| and ||Y B|| don't depend on A and B.

    Shape:
        images: centred (n, D); texts: centred (n, T); result: (D, min(D, T)), (T, min(D, T))
    """
    left, _, right = np.linalg.svd(images.T @ texts, full_matrices=False)
    return left, right.T


def fit_cfa(params: CFAParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit cross-modal factor analysis: orthonormal projections along which both media vary together.

    Features are centred. A common factor on all features of a medium changes neither the axes nor a cosine, so the
    media are not scaled to equal length.

    Reference: Li et al., "Multimedia content processing through cross-modal association" (2003), section 3.3.
    """

    def candidates() -> Iterator[Fitted]:
        means = train.images.mean(axis=0, dtype=np.float64), train.texts.mean(axis=0, dtype=np.float64)
        a, b = factors(train.images - means[0], train.texts - means[1])
        for number in sizes(params.components, a.shape[1]):
            images, texts = Linear(means[0], a[:, :number]), Linear(means[1], b[:, :number])
            yield measured(images, texts, {"components": number}, validation)

    return best(candidates())

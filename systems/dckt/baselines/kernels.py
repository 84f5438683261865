"""KCCA: canonical correlation analysis in the feature space of a kernel.

Shapes: n pairs, m training pairs, D features, r principal axes, K components.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist, pdist

from base.seeding import derive_seed
from systems.dckt.baselines.config import KCCAParams
from systems.dckt.baselines.fitted import Fitted, best, measured
from systems.dckt.baselines.linear import LEAST, canonical_axes, sizes
from systems.dckt.features import Views

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, D), (m, D) to (n, m)
BLOCK = 1024  # rows whose kernel values are in memory at once


@dataclass(frozen=True)
class Gaussian:
    """k(x, y) = exp(-||x - y||^2 / width)."""

    width: float

    def __call__(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the kernel of all pairs of rows: (n, D), (m, D) to (n, m)."""
        return np.exp(-cdist(one, other, "sqeuclidean") / self.width)


@dataclass(frozen=True)
class KernelProjection:
    """A projection in the feature space of a kernel, centred on the training rows.

    Attributes:
        kernel: the kernel.
        train: (m, D), the training rows.
        means: (m,), mean of the kernel of each training row with all.
        weights: (m, K).
    """

    kernel: Kernel
    train: np.ndarray
    means: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return the codes of rows: (n, D) to (n, K)."""
        parts = []
        for start in range(0, len(features), BLOCK):
            values = self.kernel(features[start : start + BLOCK], self.train)
            # k(x, i) - mean_j k(x, j) - mean_j k(j, i) + mean_jk k(j, k)
            parts.append((values - values.mean(axis=1, keepdims=True) - self.means + self.means.mean()) @ self.weights)
        return np.concatenate(parts) if parts else np.zeros((0, self.weights.shape[1]))

    def then(self, axes: np.ndarray) -> "KernelProjection":
        """Return this projection followed by a linear map (K, L)."""
        return KernelProjection(self.kernel, self.train, self.means, self.weights @ axes)


def kernel_axes(kernel: Kernel, train: np.ndarray, most: int) -> KernelProjection:
    """Return the projection on the principal axes in the kernel's space, the largest variance first (kernel PCA).

    Reference: Schölkopf, Smola, Müller, "Nonlinear component analysis as a kernel eigenvalue problem" (1998).
    """
    gram = kernel(train, train)
    means = gram.mean(axis=0)
    values, vectors = np.linalg.eigh(gram - means[:, None] - means + means.mean())
    order = np.argsort(-values, kind="stable")[:most]
    order = order[values[order] > LEAST * max(values[order[0]], np.finfo(np.float64).tiny)]
    return KernelProjection(kernel, train, means, vectors[:, order] / np.sqrt(values[order]))


def median_square(features: np.ndarray, seed: int, most: int = 1000) -> float:
    """Return the median squared distance of distinct rows, of a sample of them if there are many; never 0."""
    rows = np.random.default_rng(derive_seed(seed, "median distance")).permutation(len(features))[:most]
    squares = pdist(features[np.sort(rows)], "sqeuclidean")
    positive = squares[squares > 0]
    return float(np.median(positive)) if len(positive) else 1.0


def fit_kcca(params: KCCAParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit CCA with Gaussian kernels; width, ridge and number of components have the best validation MAP.

    The width is a multiple of the medium's median squared distance. With more than `most_pairs` training pairs a sample
    of them is used, as the kernel matrices have n^2 cells.

    Reference: Hardoon, Szedmak, Shawe-Taylor, "Canonical correlation analysis: an overview with application to learning
    methods" (2004), section 3.2. Its partial Gram-Schmidt decomposition is replaced by `params.axes` of kernel PCA, and
    its penalty kappa a'Ka by the same in these coordinates.
    """
    rows = np.random.default_rng(derive_seed(seed, "KCCA")).permutation(len(train.category))[: params.most_pairs]
    rows.sort()
    train = Views(train.images[rows].astype(np.float64), train.texts[rows].astype(np.float64), train.category[rows])
    medians = median_square(train.images, seed), median_square(train.texts, seed)

    def candidates() -> Iterator[Fitted]:
        for width in params.widths:
            kernels = Gaussian(width * medians[0]), Gaussian(width * medians[1])
            axes = kernel_axes(kernels[0], train.images, params.axes), kernel_axes(kernels[1], train.texts, params.axes)
            x, y = axes[0](train.images), axes[1](train.texts)
            for ridge in params.ridges:
                a, b, correlations = canonical_axes(x, y, ridge)
                for number in sizes(params.components, len(correlations)):
                    images, texts = axes[0].then(a[:, :number]), axes[1].then(b[:, :number])
                    yield measured(images, texts, {"width": width, "ridge": ridge, "components": number}, validation)

    return best(candidates())

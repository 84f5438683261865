"""JRL: one sparse linear projection per medium onto the categories, with a graph within the medium and pairs across.

Shapes: n pairs, D features, C categories.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.neighbors import kneighbors_graph

from systems.dckt.baselines.config import JRLParams
from systems.dckt.baselines.fitted import Fitted, best, measured
from systems.dckt.baselines.linear import Linear, principal_axes
from systems.dckt.features import Views

SMOOTH = 1e-6  # added to the squared length of a row, whose root has no derivative at 0


class Weights(NamedTuple):
    """The weights of the parts of the objective; the labels' is 1."""

    pairs: float
    graph: float
    sparsity: float


class Medium(NamedTuple):
    """What the objective needs of a medium.

    Attributes:
        x: (n, D), centred.
        smoothness: X' L X / n, (D, D).
    """

    x: np.ndarray
    smoothness: np.ndarray


def laplacian(x: np.ndarray, neighbours: int) -> sparse.csr_matrix:
    """Return the normalised Laplacian I - S^-1/2 W S^-1/2 of the graph of nearest neighbours by cosine.

    W_ij is 1 if j is among the nearest neighbours of i, or i among those of j, else 0; S has the sums of W's rows.

    Shape:
        x: (n, D); result: (n, n)
    """
    number = min(neighbours, len(x) - 1)
    graph = kneighbors_graph(x, number, mode="connectivity", metric="cosine", include_self=False)
    graph = graph.maximum(graph.T)
    scale = sparse.diags(1 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel()))
    return (sparse.identity(len(x)) - scale @ graph @ scale).tocsr()


def objective(media: tuple[Medium, Medium], labels: np.ndarray, projections: list[np.ndarray], by: Weights) -> float:
    r"""Return the value that the rounds reduce.

    sum_i ( ||X_i P_i - Y||^2 / n + graph tr(P_i' X_i' L_i X_i P_i) / n + sparsity sum_k ||row k of P_i|| )
    + pairs ||X_1 P_1 - X_2 P_2||^2 / n

    A row's length is the root of its square plus 10^-6.

    Shape:
        labels: Y, (n, C); projections: P_i, (D_i, C)
    """
    total = 0.0
    for medium, p in zip(media, projections, strict=True):
        total += float(np.square(medium.x @ p - labels).sum() / len(labels))
        total += by.graph * float((p * (medium.smoothness @ p)).sum())
        total += by.sparsity * float(lengths(p).sum())
    apart = media[0].x @ projections[0] - media[1].x @ projections[1]
    return total + by.pairs * float(np.square(apart).sum() / len(labels))


def lengths(projection: np.ndarray) -> np.ndarray:
    """Return the smoothed length of each row: (D, C) to (D,)."""
    return np.sqrt(np.square(projection).sum(axis=1) + SMOOTH)


def solve(
    media: tuple[Medium, Medium], labels: np.ndarray, by: Weights, rounds: int
) -> tuple[list[np.ndarray], list[float]]:
    r"""Return the projections after some rounds, and the objective at the start and after each round.

    A round minimises over one projection after the other, with sum_k ||p_k|| replaced by its tangent parabola
    sum_k ||p_k||^2 / (2 c_k) at the present lengths c_k, which is a linear system:

    ((1 + pairs) X'X / n + graph X'LX / n + sparsity diag(1 / (2 c))) P = X'Y / n + pairs X'X_other P_other / n

    So the objective never rises. The start is ridge regression, without graph and pairs.
    """
    n = len(labels)
    squares = [medium.x.T @ medium.x / n for medium in media]
    projections = [
        np.linalg.solve(square + (by.sparsity / 2 + SMOOTH) * np.eye(len(square)), medium.x.T @ labels / n)
        for medium, square in zip(media, squares, strict=True)
    ]
    values = [objective(media, labels, projections, by)]
    for _ in range(rounds):
        for one, other in ((0, 1), (1, 0)):
            medium, length = media[one], lengths(projections[one])
            matrix = (1 + by.pairs) * squares[one] + by.graph * medium.smoothness
            # the tiny term makes the system solvable without sparsity
            matrix += np.diag(by.sparsity / (2 * length) + 1e-12)
            target = labels + by.pairs * (media[other].x @ projections[other])
            projections[one] = np.linalg.solve(matrix, medium.x.T @ target / n)
        values.append(objective(media, labels, projections, by))
    return projections, values


def fit_jrl(params: JRLParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit joint representation learning; the weights have the best validation MAP.

    Reference: Zhai, Peng, Xiao, "Learning cross-media joint representation with sparse and semi-supervised
    regularization" (TCSVT 2014), whose objective has these four parts. Differences: two media of five; all pairs are
    labelled, so the graph has no unlabelled items; features are principal components, scaled by one number per medium,
    so the rows that become short are those of axes, not of single features; labels are centred.
    """
    category = np.unique(train.category, return_inverse=True)[1]
    labels = np.eye(category.max() + 1)[category]
    labels -= labels.mean(axis=0)
    axes, media = [], []
    for features in (train.images, train.texts):
        projection = principal_axes(features, params.axes)
        x = projection(features)
        scale = np.sqrt(np.square(x).mean())
        axes.append(Linear(projection.mean, projection.weights / scale))
        x = x / scale
        media.append(Medium(x, np.asarray(x.T @ (laplacian(x, params.neighbours) @ x)) / len(x)))

    def candidates() -> Iterator[Fitted]:
        for by in map(Weights._make, product(params.pair_weights, params.graph_weights, params.sparsities)):
            projections, _ = solve((media[0], media[1]), labels, by, params.rounds)
            images, texts = (Linear(of.mean, of.weights @ part) for of, part in zip(axes, projections, strict=True))
            chosen = {"pair_weight": by.pairs, "graph_weight": by.graph, "sparsity": by.sparsity}
            yield measured(images, texts, chosen, validation)

    return best(candidates())

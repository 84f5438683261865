"""Matrix factorisation of implicit feedback by alternating least squares; a new user is folded in.

Hu, Koren and Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008, eq. 3 to 5.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from base.seeding import derive_seed


class Factors(NamedTuple):
    """The tags' factors, by which any history gets scores.

    Attributes:
        tags: float64 (N, D).
        alpha: the confidence in a count r is 1 + alpha r.
        penalty: lambda, of the squared norm of factors.
    """

    tags: np.ndarray
    alpha: float
    penalty: float

    def scores(self, histories: np.ndarray) -> np.ndarray:
        """Return the predicted preferences of users for tags.

        Shape:
            histories: counts (B, N); result: float64 (B, N)
        """
        users = solve(sparse.csr_array(histories), self.tags, self.alpha, self.penalty)
        return users @ self.tags.T


def factorise(
    histories: sparse.csr_array, factors: int, alpha: float, penalty: float, rounds: int, seed: int
) -> Factors:
    """Minimise the sum over users and tags of c (p - x y)^2 + lambda (sum |x|^2 + sum |y|^2), p = [r > 0].

    Args:
        histories: counts r.
        factors: D.
        alpha: c = 1 + alpha r.
        penalty: lambda, > 0.
        rounds: in each, all users are solved for and then all tags.
        seed: of the tags' first factors.

    Shape:
        histories: (U, N)
    """
    random = np.random.default_rng(derive_seed(seed, "factorisation"))
    tags = random.normal(scale=0.1, size=(histories.shape[1], factors))
    by_tag = sparse.csr_array(histories.T)
    for _ in range(rounds):
        users = solve(histories, tags, alpha, penalty)
        tags = solve(by_tag, users, alpha, penalty)
    return Factors(tags, alpha, penalty)


def solve(counts: sparse.csr_array, others: np.ndarray, alpha: float, penalty: float) -> np.ndarray:
    """Return the best factors of each row, the other side's factors being fixed (eq. 4).

    x = (Y^T Y + Y^T (C - I) Y + lambda I)^-1 Y^T C p; only the columns that a row has enter its second sum.

    Shape:
        counts: (n, m); others: (m, D); result: float64 (n, D)
    """
    common = others.T @ others + penalty * np.eye(others.shape[1])
    found = np.zeros((counts.shape[0], others.shape[1]))
    for row, (start, end) in enumerate(zip(counts.indptr[:-1], counts.indptr[1:], strict=True)):
        if start == end:
            continue
        y, extra = others[counts.indices[start:end]], alpha * counts.data[start:end]
        found[row] = np.linalg.solve(common + (y.T * extra) @ y, y.T @ (1 + extra))
    return found

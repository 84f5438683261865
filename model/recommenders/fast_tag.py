"""FastTag: a linear map of features to tags that were completed by a second linear map, in closed forms.

Chen, Zheng and Weinberger, "Fast Image Tagging", ICML 2013, eq. 3 to 7, with one corruption p for all tags and without
its bootstrapping. With the tags y_i, copies y~_i whose tags are blanked with the probability p, and features x_i:

    min_{B, W}  1/n sum |B y_i - W x_i|^2 + penalty |W|^2 + gamma 1/n sum E |y_i - B y~_i|^2
"""

from typing import NamedTuple

import numpy as np


class TagMaps(NamedTuple):
    """The two maps.

    Attributes:
        completion: B, float64 (N, N).
        features: W, float64 (N, D).
    """

    completion: np.ndarray
    features: np.ndarray

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Return W x of features (B, D): float64 (B, N)."""
        return x @ self.features.T


def fit_fast_tag(
    x: np.ndarray, tags: np.ndarray, corruption: float, gamma: float, penalty: float, rounds: int
) -> TagMaps:
    """Solve for B and W in turn; the expectation over blanked tags is computed, not sampled.

    Args:
        x: features of the training images; a column of ones gives the map a constant.
        tags: their tags, 0 or 1.
        corruption: p, in (0, 1).
        gamma: weight of completion.
        penalty: of W, > 0.
        rounds: in each, W is solved for and then B; the first W is for B = I.

    Shape:
        x: (n, D); tags: (n, N)
    """
    number = len(x)
    y = tags.astype(np.float64)
    yy, xy = y.T @ y, x.T @ y  # (N, N), (D, N)
    kept = 1 - corruption
    p = kept * yy  # E[y y~^T], summed
    q = kept**2 * yy + corruption * kept * np.diag(np.diag(yy))  # E[y~ y~^T], summed
    gram = x.T @ x + number * penalty * np.eye(x.shape[1])
    ridge = 1e-8 * max(1.0, float(np.trace(yy)) / len(yy)) * np.eye(len(yy))  # a tag that nobody gave has a row of 0
    completion: np.ndarray = np.eye(len(yy))
    for _ in range(rounds):
        features = np.linalg.solve(gram, xy @ completion.T).T
        completion = np.linalg.solve(gamma * q + yy + ridge, (gamma * p + features @ xy).T).T
    features = np.linalg.solve(gram, xy @ completion.T).T
    return TagMaps(completion, features)

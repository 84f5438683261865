"""Recommendations by counting: the most used tags, a user's own, and both interpolated."""

import numpy as np


def most_used(counts: np.ndarray, number: int) -> np.ndarray:
    """Return each tag's share of all tags, the same for everybody.

    Args:
        counts: how often each tag was given in the training posts.
        number: B, of posts to recommend for.

    Shape:
        counts: (N,); result: float64 (B, N)
    """
    return np.tile(counts / max(counts.sum(), 1), (number, 1))


def own(histories: np.ndarray) -> np.ndarray:
    """Return each tag's share of a user's history; zeros for a user without one.

    Shape:
        histories: counts (B, N); result: float64 (B, N)
    """
    return histories / np.maximum(histories.sum(axis=1, keepdims=True), 1)


def interpolated(histories: np.ndarray, counts: np.ndarray, weight: float) -> np.ndarray:
    """Return (h + weight p) / (|h| + weight), with h the user's counts and p the shares of all tags.

    A short history is trusted less than a long one (Dirichlet smoothing; Zhai and Lafferty, SIGIR 2001).

    Args:
        histories: users' counts.
        counts: how often each tag was given in the training posts.
        weight: the number of tags of a history that is trusted as much as the shares of all; > 0.

    Shape:
        histories: (B, N); counts: (N,); result: float64 (B, N)
    """
    shares = most_used(counts, len(histories))
    return (histories + weight * shares) / (histories.sum(axis=1, keepdims=True) + weight)

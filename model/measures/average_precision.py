"""Average precision of a ranking."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from model.measures.units import units_of


def average_precision(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray) -> pl.DataFrame:
    r"""Return one unit per query: its average precision, of 1; the metric is the mean over queries (MAP).

    AP = (1 / R) sum over relevant items of the precision at their rank. Items with equal scores all get the rank of the
    last of them, so that the result doesn't depend on the order of the input (scikit-learn's convention). A query
    without a relevant item has the denominator 0, so it doesn't count.

    Args:
        metric: the metric's name, as in ``map``.
        names: of the queries; for mean average precision over categories, of the categories.
        scores: of each item for each query.
        relevant: whether each item is relevant for each query.

    Shape:
        scores: float (queries, items); relevant: bool (queries, items)

    Raises:
        ValueError: the shapes differ, or a score is NaN.
    """
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and relevant {relevant.shape}: two equal shapes (n, m) expected")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    values = np.array([_of_query(*row) for row in zip(scores, relevant, strict=True)], np.float64)
    return units_of(metric, names, values, relevant.any(axis=1).astype(np.float64))


def _of_query(scores: np.ndarray, relevant: np.ndarray) -> float:
    if not relevant.any():
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(relevant[order])
    # the last index of each run of equal scores
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    precision, found = hits[last] / (last + 1), np.diff(np.r_[0, hits[last]])
    return float((precision * found).sum() / hits[-1])

"""Normalised discounted cumulative gain of a ranking."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from model.measures.units import units_of


def ndcg(metric: str, names: Sequence[str], scores: np.ndarray, gains: np.ndarray, k: int) -> pl.DataFrame:
    r"""Return one unit per query: its nDCG@k, of 1; the metric is the mean over queries.

    nDCG = DCG / ideal DCG,   DCG = sum over ranks r = 1..k of gain_r / log2(r + 1)

    The ideal order is that of the gains. Items with equal scores have the mean of their gains, so that the result
    doesn't depend on the order of the input (scikit-learn's convention). A query whose gains are all 0 has the
    denominator 0, so it doesn't count.

    Args:
        metric: the metric's name, as in ``ndcg_new_new``.
        names: of the queries.
        scores: of each item for each query.
        gains: of each item for each query, as the number of clicks; not negative.
        k: number of ranks.

    Shape:
        scores: float (queries, items); gains: float or integer (queries, items)

    Raises:
        ValueError: k < 1, the shapes differ, a score is NaN, or a gain is negative or not finite.

    Reference: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques" (2002); McSherry, Najork,
    "Computing information retrieval performance measures efficiently in the presence of tied scores" (2008), for ties.
    """
    if k < 1:
        raise ValueError(f"k = {k}: at least 1 expected")
    if scores.shape != gains.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and gains {gains.shape}: two equal shapes (n, m) expected")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    if not np.isfinite(gains).all() or (gains < 0).any():
        raise ValueError("gains must be finite and not negative")
    discounts = np.where(np.arange(scores.shape[1]) < k, 1 / np.log2(np.arange(scores.shape[1]) + 2), 0.0)
    values = np.array([_of_query(*row, discounts) for row in zip(scores, gains, strict=True)], np.float64)
    return units_of(metric, names, values, (gains > 0).any(axis=1).astype(np.float64))


def _of_query(scores: np.ndarray, gains: np.ndarray, discounts: np.ndarray) -> float:
    ideal = float(np.sort(gains)[::-1] @ discounts)
    if ideal == 0:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # of each run of equal scores
    means = np.add.reduceat(gains[order].astype(np.float64), first) / np.diff(np.r_[first, len(ranked)])
    return float(means @ np.add.reduceat(discounts, first) / ideal)

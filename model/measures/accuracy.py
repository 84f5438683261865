"""Accuracy: how many images have the right category first."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from model.measures.units import units_of


def accuracy(metric: str, names: Sequence[str], predicted: np.ndarray, labels: np.ndarray) -> pl.DataFrame:
    """Return a unit for each image: 1 of 1 where the prediction is its label.

    Args:
        metric: its name.
        names: of the images.
        predicted: the category of each; of equal scores the caller decides.
        labels: the truth.

    Shape:
        names, predicted, labels: (n,)
    """
    return units_of(metric, names, (predicted == labels).astype(np.float64), 1.0)


def accuracy_at_k(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray, k: int) -> pl.DataFrame:
    """Return a unit for each row: 1 of 1 where one of its k best columns at least is relevant.

    A row without a relevant column counts as missed. Ties: the column with the lower number is better.

    Shape:
        scores: float (n, m); relevant: bool (n, m)
    """
    found = relevant_at_k(scores, relevant, k)
    return units_of(metric, names, (found > 0).astype(np.float64), 1.0)


def precision_at_k(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray, k: int) -> pl.DataFrame:
    """Return a unit for each row: how many of its k best columns are relevant, of k.

    Where there are fewer than k columns, of as many as there are.

    Shape:
        scores: float (n, m); relevant: bool (n, m)
    """
    return units_of(metric, names, relevant_at_k(scores, relevant, k), float(min(k, scores.shape[1])))


def recall_at_k(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray, k: int) -> pl.DataFrame:
    """Return a unit for each row: the share of its relevant columns among its k best, of 1.

    The metric is the mean over rows. A row without a relevant column has the denominator 0: it says nothing.

    Shape:
        scores: float (n, m); relevant: bool (n, m)
    """
    number = relevant.sum(axis=1)
    found = relevant_at_k(scores, relevant, k)
    shares = np.divide(found, number, out=np.zeros(len(found)), where=number > 0)
    return units_of(metric, names, shares, (number > 0).astype(np.float64))


def relevant_at_k(scores: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return how many of each row's k best columns are relevant; ties: the lower column number is better.

    Shape:
        scores: float (n, m); relevant: bool (n, m); result: float64 (n,)

    Raises:
        ValueError: k < 1, shapes that differ, or a score that is NaN.
    """
    if k < 1:
        raise ValueError(f"k = {k}: at least 1 expected")
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and relevant {relevant.shape}: two equal shapes (n, m) expected")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(relevant, best, axis=1).sum(axis=1).astype(np.float64)

"""Accuracy: the share of images whose best category is right; precision, recall and accuracy at k."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from model.measures.units import units_of


def accuracy(metric: str, names: Sequence[str], predicted: np.ndarray, labels: np.ndarray) -> pl.DataFrame:
    """Return one unit per image: 1 of 1 if the prediction is the label, else 0 of 1.

    Args:
        metric: the metric's name.
        names: of the images.
        predicted: the predicted category of each image; the caller decides between equal scores.
        labels: the true categories.

    Shape:
        names, predicted, labels: (n,)
    """
    return units_of(metric, names, (predicted == labels).astype(np.float64), 1.0)


def accuracy_at_k(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray, k: int) -> pl.DataFrame:
    """Return one unit per row: 1 of 1 if at least one of its k best columns is relevant, else 0 of 1.

    A row without a relevant column counts as missed. Ties: the column with the lower number is better.

    Shape:
        scores: float (n, m); relevant: bool (n, m)
    """
    found = relevant_at_k(scores, relevant, k)
    return units_of(metric, names, (found > 0).astype(np.float64), 1.0)


def precision_at_k(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray, k: int) -> pl.DataFrame:
    """Return one unit per row: the number of relevant columns among its k best, of k.

    With fewer than k columns, the denominator is the number of columns.

    Shape:
        scores: float (n, m); relevant: bool (n, m)
    """
    return units_of(metric, names, relevant_at_k(scores, relevant, k), float(min(k, scores.shape[1])))


def recall_at_k(metric: str, names: Sequence[str], scores: np.ndarray, relevant: np.ndarray, k: int) -> pl.DataFrame:
    """Return one unit per row: the share of its relevant columns that are among its k best, of 1.

    The metric is the mean over rows. A row without a relevant column has the denominator 0, so it doesn't count.

    Shape:
        scores: float (n, m); relevant: bool (n, m)
    """
    number = relevant.sum(axis=1)
    found = relevant_at_k(scores, relevant, k)
    shares = np.divide(found, number, out=np.zeros(len(found)), where=number > 0)
    return units_of(metric, names, shares, (number > 0).astype(np.float64))


def relevant_at_k(scores: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Return the number of relevant columns among each row's k best; ties: the lower column number is better.

    Shape:
        scores: float (n, m); relevant: bool (n, m); result: float64 (n,)

    Raises:
        ValueError: k < 1, the shapes differ, or a score is NaN.
    """
    if k < 1:
        raise ValueError(f"k = {k}: at least 1 expected")
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and relevant {relevant.shape}: two equal shapes (n, m) expected")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    return np.take_along_axis(relevant, best_columns(scores, k), axis=1).sum(axis=1).astype(np.float64)


def best_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the numbers of each row's k best columns, the best first; ties: the lower column number is better.

    Shape:
        scores: float (n, m); result: integers (n, min(k, m))
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def coverage_at_k(metric: str, names: Sequence[str], scores: np.ndarray, k: int) -> pl.DataFrame:
    """Return one unit per column: 1 of 1 if it is among the k best of any row, else 0 of 1.

    The metric, the share of columns that are ever recommended, shows whether all rows get the same few.

    Args:
        metric: the metric's name.
        names: of the columns.
        scores: of each column for each row.
        k: number of best columns.

    Shape:
        names: (m,); scores: float (n, m)
    """
    found = np.zeros(scores.shape[1])
    found[best_columns(scores, k).ravel()] = 1
    return units_of(metric, names, found, 1.0)

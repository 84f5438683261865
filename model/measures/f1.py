"""Precision, recall and F1 of label sets: over all labels together, and per category."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from model.measures.units import units_of


def overall(prefix: str, names: Sequence[str], predicted: np.ndarray, true: np.ndarray) -> pl.DataFrame:
    """Return units of overall precision, recall and F1 (``<prefix>_precision`` ...), one unit per image and metric.

    With the counts summed over all images: precision = correct / predicted labels, recall = correct / true labels,
    F1 = 2 correct / (predicted + true labels).

    Args:
        prefix: of the metrics' names, as in ``overall``.
        names: of the images.
        predicted, true: whether an image has a label.

    Shape:
        predicted, true: bool (images, labels)
    """
    num_correct, num_predicted, num_true = label_counts(predicted, true, axis=1)
    return pl.concat(
        [
            units_of(f"{prefix}_precision", names, num_correct, num_predicted),
            units_of(f"{prefix}_recall", names, num_correct, num_true),
            units_of(f"{prefix}_f1", names, 2 * num_correct, num_predicted + num_true),
        ]
    )


def per_category(prefix: str, names: Sequence[str], predicted: np.ndarray, true: np.ndarray) -> pl.DataFrame:
    """Return units of the mean precision, recall and F1 over categories, one unit per category and metric.

    A category that is never predicted has the precision 0, as in scikit-learn with ``zero_division=0``. A category that
    no image has gets the denominator 0 in all three metrics, so it doesn't count.

    Args:
        prefix: of the metrics' names, as in ``per_category``.
        names: of the categories.
        predicted, true: whether an image has a label.

    Shape:
        predicted, true: bool (images, labels)
    """
    num_correct, num_predicted, num_true = label_counts(predicted, true, axis=0)
    counts = {
        "precision": (num_correct, num_predicted),
        "recall": (num_correct, num_true),
        "f1": (2 * num_correct, num_predicted + num_true),
    }
    shares = {
        name: np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0) for name, (part, whole) in counts.items()
    }
    exists = (num_true > 0).astype(np.float64)
    return pl.concat([units_of(f"{prefix}_{name}", names, values, exists) for name, values in shares.items()])


def label_counts(predicted: np.ndarray, true: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of correct, of predicted and of true labels, summed along an axis.

    Shape:
        predicted, true: bool (images, labels); results: float64, (labels,) for axis 0, (images,) for axis 1

    Raises:
        ValueError: the arrays are not boolean, or not of one shape.
    """
    _check(predicted, true)
    num_correct, num_predicted, num_true = (
        labels.sum(axis=axis).astype(np.float64) for labels in (predicted & true, predicted, true)
    )
    return num_correct, num_predicted, num_true


def _check(predicted: np.ndarray, true: np.ndarray) -> None:
    if predicted.shape != true.shape or predicted.ndim != 2 or predicted.dtype != bool or true.dtype != bool:
        raise ValueError(
            f"predicted {predicted.dtype} {predicted.shape} and true {true.dtype} {true.shape}: two boolean arrays of "
            "one shape (images, labels) expected"
        )

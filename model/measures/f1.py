"""Precision, recall and F1 of label sets: over all labels together, and per category."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from model.measures.units import units_of


def overall(prefix: str, names: Sequence[str], predicted: np.ndarray, true: np.ndarray) -> pl.DataFrame:
    """Return units of overall precision, recall and F1 (``<prefix>_precision`` ...), one for each image.

    Overall: right labels over predicted, over true, and twice over both, each summed over all images.

    Args:
        prefix: of the metrics' names, as in ``overall``.
        names: of the images.
        predicted, true: whether an image has a label.

    Shape:
        predicted, true: bool (images, labels)
    """
    right, said, there = _counts(predicted, true, axis=1)
    return pl.concat(
        [
            units_of(f"{prefix}_precision", names, right, said),
            units_of(f"{prefix}_recall", names, right, there),
            units_of(f"{prefix}_f1", names, 2 * right, said + there),
        ]
    )


def per_category(prefix: str, names: Sequence[str], predicted: np.ndarray, true: np.ndarray) -> pl.DataFrame:
    """Return units of the mean precision, recall and F1 over categories, one for each category.

    A category that is never predicted has the precision 0, as scikit-learn has it with ``zero_division=0``; one that no
    image has says nothing of any of the three: denominator 0.

    Args:
        prefix: of the metrics' names, as in ``per_category``.
        names: of the categories.
        predicted, true: whether an image has a label.

    Shape:
        predicted, true: bool (images, labels)
    """
    right, said, there = _counts(predicted, true, axis=0)
    counts = {"precision": (right, said), "recall": (right, there), "f1": (2 * right, said + there)}
    shares = {
        name: np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0) for name, (part, whole) in counts.items()
    }
    return pl.concat(
        [units_of(f"{prefix}_{name}", names, values, (there > 0).astype(np.float64)) for name, values in shares.items()]
    )


def _counts(predicted: np.ndarray, true: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of right, of predicted and of true labels along an axis."""
    _check(predicted, true)
    right, said, there = (one.sum(axis=axis).astype(np.float64) for one in (predicted & true, predicted, true))
    return right, said, there


def _check(predicted: np.ndarray, true: np.ndarray) -> None:
    if predicted.shape != true.shape or predicted.ndim != 2 or predicted.dtype != bool or true.dtype != bool:
        raise ValueError(
            f"predicted {predicted.dtype} {predicted.shape} and true {true.dtype} {true.shape}: two boolean arrays of "
            "one shape (images, labels) expected"
        )

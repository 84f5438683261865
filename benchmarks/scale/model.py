"""A linear model of what a build costs: a fixed start, and something for each row, image, query, and image of a bucket.

    cost = start + a rows + b images + c queries + d bucket images,   all >= 0

An image counts once for each bucket by query that has clicks of it (``bucket_images``): of these C' is the sum. Peak
memory is that of a few buckets, so its terms are the rows and the images of one bucket.

The coefficients minimise the sum of squared relative errors, so that a small log counts as much as a large one. In logs
of one kind rows, images and queries grow almost in proportion, and then only the sum of their shares is known; logs of
other proportions tell them apart. :func:`condition` measures how well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls

START = "start"
TERMS = (START, "rows", "images", "queries", "bucket_images")
MEMORY_TERMS = (START, "rows_per_bucket", "images_per_bucket")
Record = Mapping[str, Any]


def fit(records: Sequence[Record], figures: Sequence[float], terms: Sequence[str] = TERMS) -> dict[str, float]:
    """Return the coefficient of each term, at least 0, with the smallest sum of squared relative errors.

    Args:
        records: one for each measured log, with the terms' numbers; ``start`` is 1 for all.
        figures: what was measured, above 0.
        terms: names in the records.

    Shape:
        figures: one number for each record
    """
    design = _design(records, terms) / np.asarray(figures, float)[:, None]
    scale = np.linalg.norm(design, axis=0)
    scale[scale == 0] = 1.0
    found, _ = nnls(design / scale, np.ones(len(records)))  # scaled: NNLS needs columns of one size
    return dict(zip(terms, (found / scale).tolist(), strict=True))


def predict(coefficients: Mapping[str, float], record: Record) -> float:
    """Return the model's figure for a log."""
    return sum(number * (1 if term == START else record[term]) for term, number in coefficients.items())


def error(predicted: float, measured: float) -> float:
    """Return by how much a prediction is too large, as a share of what was measured."""
    return predicted / measured - 1


def condition(records: Sequence[Record], terms: Sequence[str] = TERMS) -> float:
    """Return the condition number of the terms as shares of the rows: how much an error may grow in a coefficient.

    With n terms that don't depend on each other it is small; from some hundreds on, terms can't be told apart.
    """
    design = _design(records, terms) / np.array([record["rows"] for record in records], float)[:, None]
    return float(np.linalg.cond(design / np.linalg.norm(design, axis=0)))


def _design(records: Sequence[Record], terms: Sequence[str]) -> np.ndarray:
    return np.array([[1.0 if term == START else record[term] for term in terms] for record in records])

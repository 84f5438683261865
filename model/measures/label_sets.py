r"""Measures of label sets as in the annotation literature: C-P, C-R, C-F1, I-P, I-R, I-F1, H-F1, and label quantity.

With c_j the images that rightly get label j, p_j those that get it, t_j those that have it, and c_i, p_i, t_i the same
numbers of labels per image:

| measure | definition |
|---|---|
| C-P, C-R | mean over labels of c_j / p_j, of c_j / t_j (macro) |
| I-P, I-R | sum c_i / sum p_i, sum c_i / sum t_i (micro; "O-P", "O-R" in other papers) |
| C-F1, I-F1 | harmonic mean of C-P and C-R, of I-P and I-R |
| H-F1 | harmonic mean of C-F1 and I-F1 |

A label that is never given has the precision 0; a label that no image has is left out of both means. C-F1 is not
scikit-learn's macro F1, which is the mean of the labels' F1 (`model.measures.f1.per_category`).

The macro measures are no ratio of sums over images, but an interval needs each image's part in them. So an image's unit
is H + n dH/dw_i: the measure plus n times its derivative by the image's weight (the infinitesimal jackknife, as
`report.intervals.unit_values` does it for ratios). These values' mean is the measure itself, because measures depend on
shares only, and their variance is that of the measure to first order.

Reference: Niu et al., "Multi-modal multi-scale deep learning for large-scale image annotation" (TIP 2019), section
IV-A; Efron, "The jackknife, the bootstrap and other resampling plans" (1982), chapter 6.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from model.measures.accuracy import accuracy
from model.measures.f1 import label_counts, overall
from model.measures.units import units_of

SET_MEASURES = ("c_p", "c_r", "c_f1", "i_p", "i_r", "i_f1", "h_f1")


class Measured(NamedTuple):
    """A measure, and its derivative by the weight of each image. n images."""

    value: float
    slopes: np.ndarray  # float64 (n,); their sum is 0


def set_units(suffix: str, names: Sequence[str], predicted: np.ndarray, true: np.ndarray) -> pl.DataFrame:
    """Return the units of all seven measures (``c_p<suffix>`` ... ``h_f1<suffix>``), one per image and measure.

    Args:
        suffix: of the metrics' names, as in ``_top``.
        names: of the images.
        predicted, true: whether an image has a label.

    Shape:
        predicted, true: bool (images, labels)

    Raises:
        ValueError: the arrays are not of this kind, or no image has a label.
    """
    measured = measure_sets(predicted, true)
    micro = dict(zip(("i_p", "i_r", "i_f1"), ("precision", "recall", "f1"), strict=True))
    ratios = overall("i", names, predicted, true)
    tables = []
    for measure in SET_MEASURES:
        if measure in micro:  # a ratio of sums over images: its units are these sums
            mine = ratios.filter(metric=f"i_{micro[measure]}").with_columns(metric=pl.lit(measure + suffix))
        else:
            value, slopes = measured[measure]
            mine = units_of(measure + suffix, names, value + len(names) * slopes, 1.0)
        tables.append(mine)
    return pl.concat(tables)


def measure_sets(predicted: np.ndarray, true: np.ndarray) -> dict[str, Measured]:
    """Return all seven measures in [0, 1] with their derivatives by the images' weights.

    Shape:
        predicted, true: bool (images, labels)

    Raises:
        ValueError: the arrays are not of this kind, or no image has a label.
    """
    by_label = label_counts(predicted, true, axis=0)
    exists = by_label[2] > 0
    if not exists.any():
        raise ValueError("no image has a label, so precision and recall don't exist")
    correct = predicted & true
    macro = [
        _mean_share(correct[:, exists], whole[:, exists], part[exists], all_of_it[exists])
        for whole, part, all_of_it in ((predicted, by_label[0], by_label[1]), (true, by_label[0], by_label[2]))
    ]
    by_image = label_counts(predicted, true, axis=1)
    micro = [_share(by_image[0], whole) for whole in by_image[1:]]
    c_f1, i_f1 = harmonic(*macro), harmonic(*micro)
    return dict(zip(SET_MEASURES, (*macro, c_f1, *micro, i_f1, harmonic(c_f1, i_f1)), strict=True))


def _mean_share(part: np.ndarray, whole: np.ndarray, num_part: np.ndarray, num_whole: np.ndarray) -> Measured:
    """Return the mean over labels of num_part / num_whole, 0 where a label has no whole."""
    inverse = np.divide(1.0, num_whole, out=np.zeros(len(num_whole)), where=num_whole > 0)
    shares = num_part * inverse
    slopes = (part @ inverse - whole @ (shares * inverse)) / len(shares)
    return Measured(float(shares.mean()), slopes)


def _share(part: np.ndarray, whole: np.ndarray) -> Measured:
    total = whole.sum()
    if not total:
        return Measured(0.0, np.zeros(len(part)))
    value = part.sum() / total
    return Measured(float(value), (part - value * whole) / total)


def harmonic(one: Measured, other: Measured) -> Measured:
    """Return the harmonic mean of two measures, 0 if both are 0."""
    total = one.value + other.value
    if total == 0:
        return Measured(0.0, np.zeros(len(one.slopes)))
    slopes = 2 * (other.value**2 * one.slopes + one.value**2 * other.slopes) / total**2
    return Measured(2 * one.value * other.value / total, slopes)


def nearest_counts(estimated: np.ndarray, most: int) -> np.ndarray:
    """Return estimated numbers of labels as whole numbers from 1 to `most`; a half is rounded up.

    Shape:
        estimated: float (images,); result: int64 (images,)
    """
    return np.floor(np.asarray(estimated, np.float64) + 0.5).clip(1, most).astype(np.int64)


def quantity_units(
    suffix: str, names: Sequence[str], estimated: np.ndarray, true: np.ndarray, most: int
) -> pl.DataFrame:
    """Return the units of the number of labels, per image: ``quantity_accuracy<suffix>``, ``quantity_mse<suffix>``.

    The accuracy is that of :func:`nearest_counts`, the mean squared error that of the estimates themselves.

    Args:
        suffix: of the metrics' names.
        names: of the images.
        estimated: the estimated number of labels of each image.
        true: the number of labels that it has.
        most: the largest number of labels to be given.

    Shape:
        names, estimated, true: (images,)
    """
    error = np.asarray(estimated, np.float64) - true
    return pl.concat(
        [
            accuracy(f"quantity_accuracy{suffix}", names, nearest_counts(estimated, most), true),
            units_of(f"quantity_mse{suffix}", names, error**2, 1.0),
        ]
    )

"""A phase's measures by unit, from logits and g; `systems.siamese.evaluate` lists them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from scipy.stats import rankdata

from model.measures.accuracy import accuracy, accuracy_at_k
from model.measures.units import reduce_units, units_of

TOP = 5


class Outputs(NamedTuple):
    """A phase's logits and g of N images. C categories, D features."""

    logits: np.ndarray  # float32 (N, C)
    g: np.ndarray  # float32 (N, D), rows of length 1


def nearest_mean(g: np.ndarray, trained: np.ndarray, labels: np.ndarray, num_categories: int) -> np.ndarray:
    """Return the category with the nearest mean of training images, of equal ones the first; int64 (N,).

    Args:
        g: of the images.
        trained: g of the training images.
        labels: of the training images.
        num_categories: C; a category without training images is never the nearest.

    Shape:
        g: (N, D); trained: (M, D); labels: int64 (M,)
    """
    sums = np.zeros((num_categories, g.shape[1]))
    np.add.at(sums, labels, trained)
    counts = np.bincount(labels, minlength=num_categories)
    means = sums / np.maximum(counts, 1)[:, None]
    squared = (means**2).sum(axis=1) - 2 * g @ means.T
    return np.asarray(np.where(counts > 0, squared, np.inf).argmin(axis=1))


def pair_units(metric: str, names: Sequence[str], g: np.ndarray, labels: np.ndarray) -> pl.DataFrame:
    """Return one unit per image: the pairs (b, c), b of its category and c of another, in which b is nearer, of all.

    A tie counts one half. An image without another one of its category, or of another category, has the denominator 0.

    Shape:
        names: (N,); g: (N, D), rows of length 1; labels: (N,)
    """
    won, pairs = np.zeros(len(names)), np.zeros(len(names))
    for image, (own, label) in enumerate(zip(g, labels, strict=True)):
        others = np.arange(len(names)) != image
        nearness, same = g[others] @ own, labels[others] == label  # d^2 = 2 - 2 g_a g_b
        positive, negative = int(same.sum()), int((~same).sum())
        pairs[image] = positive * negative
        if pairs[image]:  # the statistic of Mann and Whitney
            won[image] = rankdata(nearness)[same].sum() - positive * (positive + 1) / 2
    return units_of(metric, names, won, pairs)


def phase_units(
    phase: str,
    names: Sequence[str],
    labels: np.ndarray,
    tested: Outputs,
    nearest: np.ndarray,
    categories: Sequence[str],
) -> pl.DataFrame:
    """Return all units of a phase.

    Args:
        phase: its name.
        names: of the test images.
        labels: of the test images, indices into `categories`.
        tested: outputs for the test images.
        nearest: the category with the nearest mean for each test image.
        categories: names.
    """
    best = tested.logits.argmax(axis=1)
    present, sizes = np.unique(labels, return_counts=True)
    right = np.bincount(labels[best == labels], minlength=len(categories))[present]
    relevant = np.arange(len(categories)) == labels[:, None]
    return pl.concat(
        [
            accuracy(f"accuracy_{phase}", names, best, labels),
            units_of(f"category_accuracy_{phase}", [categories[label] for label in present], right / sizes, 1.0),
            accuracy_at_k(f"top{TOP}_{phase}", names, tested.logits, relevant, TOP),
            accuracy(f"nearest_mean_{phase}", names, nearest, labels),
            pair_units(f"pair_auc_{phase}", names, tested.g, labels),
        ]
    )


def metrics_of(units: pl.DataFrame, tested: int, lacking: int, seen: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of metrics.json but for the chosen epochs: each metric in percent, and numbers of images.

    Args:
        units: of all phases.
        tested: number of test images.
        lacking: number of test images of categories that the source lacks.
        seen: numbers of the training's images, by their names.
    """
    metrics: dict[str, Any] = {
        metric: None if value is None else round(100 * value, 4) for metric, value in reduce_units(units).items()
    }
    return metrics | {"images": {"tested": tested, "of categories that the source lacks": lacking, **seen}}

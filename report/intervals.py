"""95 % intervals of accuracies and of paired differences, when each test image may occur in the tests of several seeds.

Both treat the *images* as the random sample. An image that several seeds test counts once as evidence, so more seeds
make the mean more stable, but never count as more images.
"""

import math
from typing import NamedTuple

import polars as pl

Z = 1.959963984540054  # 97.5 % quantile of the standard normal


class Interval(NamedTuple):
    """A mean with its 95 % interval, in the unit of the averaged values."""

    mean: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 if the interval lies above 0, -1 if it lies below 0, else 0."""
        return (self.low > 0) - (self.high < 0)


def wilson(share: float, n: int) -> Interval:
    """Return a share with Wilson's score interval.

    Args:
        share: in [0, 1].
        n: number of independent images, >= 1.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def accuracy_interval(correct: pl.DataFrame) -> Interval:
    """Return the mean accuracy over seeds, with a binomial interval for the number of distinct test images.

    Args:
        correct: one row per seed and test image: `seed`, `image_id`, `correct`.
    """
    per_seed = correct.group_by("seed").agg(pl.col("correct").mean())
    return wilson(float(per_seed["correct"].sum()) / len(per_seed), correct["image_id"].n_unique())


def paired_interval(differences: pl.DataFrame) -> Interval:
    """Return the mean of paired differences with a normal interval, clustered by image.

    With d_c the sum and m_c the number of an image's differences, and C images:
    mean = sum d_c / sum m_c, variance = C / (C - 1) * sum (d_c - mean m_c)^2 / (sum m_c)^2.
    For one seed this is the usual interval of a paired mean.

    Args:
        differences: one row per seed and test image: `image_id`, `difference`; at least two images.

    Reference:
        Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 1986.
    """
    images = differences.group_by("image_id").agg(
        pl.col("difference").cast(pl.Float64).sum().alias("d"), pl.len().alias("m")
    )
    num_images, total = len(images), int(images["m"].sum())
    mean = float(images["d"].sum()) / total
    squares = float(((images["d"] - mean * images["m"]) ** 2).sort().sum())
    half = Z * math.sqrt(num_images / (num_images - 1) * squares) / total
    return Interval(mean, mean - half, mean + half)


def paired_ratio_interval(one: pl.DataFrame, other: pl.DataFrame) -> Interval:
    """Return the difference of a metric between two evaluations of the same units, with a normal interval.

    A metric is a ratio of sums, R = sum n_u / sum d_u, over units u: images, queries or categories; a unit may have
    several rows, one per seed. With C units and each evaluation's mean denominator D, the residual of a unit is
    r_u = (n_u - R d_u) / D, summed over its rows, and the variance of R - R' is
    C / (C - 1) * sum (r_u - r'_u)^2 / C^2: the linearised ratio estimator, clustered by unit. With equal denominators
    the result equals :func:`paired_interval`'s.

    Args:
        one, other: rows of one metric of `base.schemas.UNITS`, with the same units.

    Raises:
        ValueError: the units differ, there are fewer than two, or all denominators of an evaluation are 0.

    Reference:
        Cochran, "Sampling Techniques", 3rd edition, 1977, sections 2.11 and 6.4.
    """
    joined = _of_units(one).join(_of_units(other), on="unit", how="full", coalesce=True, suffix="_other").sort("unit")
    if joined.null_count().sum_horizontal().item():
        missing = joined.filter(pl.any_horizontal(pl.all().is_null()))["unit"][0]
        raise ValueError(f"unit {missing!r} is in only one of the two evaluations, so they can't be paired")
    if len(joined) < 2 or not joined["denominator"].sum() or not joined["denominator_other"].sum():
        raise ValueError(f"{len(joined)} units: an interval needs two or more units, and denominators above 0")
    ratios, residuals = [], []
    for suffix in ("", "_other"):
        numerators, denominators = joined[f"numerator{suffix}"], joined[f"denominator{suffix}"]
        ratios.append(float(numerators.sum()) / float(denominators.sum()))
        residuals.append((numerators - ratios[-1] * denominators) / (float(denominators.sum()) / len(joined)))
    squares = float(((residuals[0] - residuals[1]) ** 2).sort().sum())
    half = Z * math.sqrt(squares / (len(joined) - 1) / len(joined))
    mean = ratios[0] - ratios[1]
    return Interval(mean, mean - half, mean + half)


def _of_units(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("unit").agg(pl.col("numerator", "denominator").sum())

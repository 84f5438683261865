"""95 % intervals of metrics and of paired differences over trainings (seeds) and over units (images, queries).

A seed draws the split, the start weights and the batches, so an estimate varies by the training as well as by the
images. `benchmarks/verdicts.py` measures how often intervals of this kind are wrong; docs/verdicts.md has the result.
From one seed nothing can be known about the trainings: its intervals cover the choice of images alone.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import special

Z = 1.959963984540054  # 97.5 % quantile of the standard normal
FEW = 25  # below this number of differing images their signs are tested exactly, as is usual for McNemar's test


class Interval(NamedTuple):
    """A mean with its 95 % interval, in the unit of the averaged values."""

    mean: float
    low: float
    high: float


class Variances(NamedTuple):
    """The parts of the variance of a mean over seeds; arrays of the leading axes' shape, see :func:`variances`.

    Attributes:
        mean: the mean over seeds of each seed's mean.
        seeds: variance of the mean, from the differences between seeds; 0 for one seed.
        shared: what `seeds` misses because seeds share units: the covariance of different seeds' values of a unit.
        units: variance of the mean if only the units are a random choice, clustered by unit.
    """

    mean: np.ndarray
    seeds: np.ndarray
    shared: np.ndarray
    units: np.ndarray


def variances(values: np.ndarray, is_tested: np.ndarray) -> Variances:
    """Return the mean over seeds and the parts of its variance.

    With S seeds, D_s the mean of seed s, n_s its number of units, C different units, and r_su = (d_su - D_s) / (S n_s):

    - seeds = sum (D_s - D)^2 / (S (S - 1))
    - shared = S / (S - 1) * sum over units u and pairs of seeds s != t of r_su r_tu, or 0 if that is negative
    - units = C / (C - 1) * sum over units u of (sum over s of r_su)^2

    seeds + shared is the two-way variance of Cameron, Gelbach and Miller with each seed centred by itself; before the
    cut at 0 it is unbiased if trainings are independent, but for terms of the order of 1 / n_s.

    Args:
        values: the value of each unit with each seed; ignored where the unit isn't tested.
        is_tested: the units that a seed tests; at least one per seed, at least two in all.

    Shape:
        values, is_tested: (..., seeds, units); results: (...)

    Reference:
        Cameron, Gelbach, Miller, "Robust inference with multiway clustering", JBES 2011; Owen, "The pigeonhole
        bootstrap", Annals of Applied Statistics 2007.
    """
    num_seeds = values.shape[-2]
    num_tested = is_tested.sum(axis=-1, keepdims=True)
    means = np.where(is_tested, values, 0.0).sum(axis=-1, keepdims=True) / num_tested
    residuals = np.where(is_tested, (values - means) / num_tested / num_seeds, 0.0)
    mean = means[..., 0].mean(axis=-1)
    num_units = is_tested.any(axis=-2).sum(axis=-1)
    by_unit = (residuals.sum(axis=-2) ** 2).sum(axis=-1)
    units = by_unit * num_units / (num_units - 1)
    if num_seeds == 1:
        return Variances(mean, np.zeros_like(mean), np.zeros_like(mean), units)
    seeds = means[..., 0].var(axis=-1, ddof=1) / num_seeds
    shared = (by_unit - (residuals**2).sum(axis=(-2, -1))) * num_seeds / (num_seeds - 1)
    return Variances(mean, seeds, np.maximum(shared, 0.0), units)


class Signs(NamedTuple):
    """The units whose difference of two 0-or-1 values is not 0, for the exact test of their signs (McNemar's).

    Attributes:
        above, below: number of units with a positive and with a negative sum over seeds.
        scale: the mean absolute difference; the mean lies between -scale and scale.
    """

    above: int
    below: int
    scale: float

    @property
    def bounds(self) -> tuple[float, float]:
        """The exact 95 % interval of the mean, given the number of units that differ (Clopper and Pearson)."""
        low = float(special.betaincinv(self.above, self.below + 1, 0.025)) if self.above else 0.0
        high = float(special.betaincinv(self.above + 1, self.below, 0.975)) if self.below else 1.0
        return self.scale * (2 * low - 1), self.scale * (2 * high - 1)

    def p_value(self, limit: float, is_above: bool) -> float:
        """Return twice the tail of the hypothesis that the mean is `limit`.

        Args:
            limit: the hypothesis.
            is_above: the tail is that of so many positive signs or more, else of so many or fewer.
        """
        if abs(limit) > self.scale:
            return float(is_above == (limit > 0))
        share, number = (limit / self.scale + 1) / 2 if self.scale else 0.5, self.above + self.below
        tail = special.bdtrc(self.above - 1, number, share) if is_above else special.bdtr(self.above, number, share)
        return float(min(1.0, 2 * tail))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds of a metric or of a paired difference, with what its interval and its p-value need.

    The interval is the mean ± t * sqrt(seeds + shared) with Student's t of `degrees` degrees of freedom. It is never
    narrower than the interval over the units alone, ± 1.96 * sqrt(units), which is the only one for a single seed; and
    where few units differ, it reaches as far as the exact interval of their signs.

    Attributes:
        mean: the mean over seeds of each seed's value.
        num_seeds: number of seeds.
        seeds, shared, units: parts of the variance of the mean, see `Variances`.
        degrees: degrees of freedom of `seeds`: the number of seeds minus 1, or more if `seeds` is moderated
            (`report.training_noise`).
        signs: given if the values are differences of 0 and 1, and fewer than 25 units differ.
        num_runs: number of runs whose values are added and subtracted: 2 for a difference.
    """

    mean: float
    num_seeds: int
    seeds: float
    shared: float
    units: float
    degrees: float
    signs: Signs | None = None
    num_runs: int = 1

    def interval(self) -> Interval:
        """Return the 95 % interval."""
        half = Z * math.sqrt(self.units)
        if self.num_seeds > 1:
            half = max(half, float(special.stdtrit(self.degrees, 0.975)) * math.sqrt(self.seeds + self.shared))
        low, high = self.mean - half, self.mean + half
        if self.signs is not None:
            exact_low, exact_high = self.signs.bounds
            low, high = min(low, exact_low), max(high, exact_high)
        return Interval(self.mean, low, high)

    def p_value(self, limit: float = 0.0) -> float:
        """Return the two-sided p of the hypothesis that the expected mean is `limit`; the interval's own test.

        It is below 0.05 exactly if `limit` is outside the interval. For one seed it covers the choice of units alone.
        """
        distance = abs(self.mean - limit)
        if distance == 0:
            return 1.0
        p = 2 * float(special.ndtr(-distance / math.sqrt(self.units))) if self.units > 0 else 0.0
        if self.num_seeds > 1 and self.seeds + self.shared > 0:
            p = max(p, 2 * float(special.stdtr(self.degrees, -distance / math.sqrt(self.seeds + self.shared))))
        return p if self.signs is None else max(p, self.signs.p_value(limit, self.mean > limit))

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate in another unit; `factor` is above 0, as 100 from shares to percent."""
        signs = None if self.signs is None else self.signs._replace(scale=self.signs.scale * factor)
        square = factor**2
        return replace(
            self,
            mean=self.mean * factor,
            seeds=self.seeds * square,
            shared=self.shared * square,
            units=self.units * square,
            signs=signs,
        )


def estimate(values: pl.DataFrame, num_runs: int = 1) -> Estimate:
    """Return the mean over seeds of the units' mean value, with its uncertainty.

    Args:
        values: one row per seed and unit: `seed`, `unit`, `value`.
        num_runs: number of runs whose values are added and subtracted in `value`.

    Raises:
        ValueError: a unit is listed twice for a seed, or there are fewer than two units.
    """
    seeds, units = (values[name].unique().sort() for name in ("seed", "unit"))
    if len(units) < 2:
        raise ValueError(f"{len(units)} units: an interval needs two or more units")
    if values.select("seed", "unit").is_duplicated().any():
        raise ValueError("a unit is listed twice for a seed")
    places = (seeds.search_sorted(values["seed"]).to_numpy(), units.search_sorted(values["unit"]).to_numpy())
    table, is_tested = np.zeros((len(seeds), len(units))), np.zeros((len(seeds), len(units)), bool)
    table[places], is_tested[places] = values["value"].cast(pl.Float64).to_numpy(), True
    found = variances(table, is_tested)
    return Estimate(
        mean=float(found.mean),
        num_seeds=len(seeds),
        seeds=float(found.seeds),
        shared=float(found.shared),
        units=float(found.units),
        degrees=len(seeds) - 1,
        signs=_few_signs(table, is_tested) if num_runs == 2 else None,
        num_runs=num_runs,
    )


def _few_signs(table: np.ndarray, is_tested: np.ndarray) -> Signs | None:
    table = table.round(9)  # a linearised ratio may differ from 0 and 1 in the last bits
    if not np.isin(table, (-1.0, 0.0, 1.0)).all():
        return None
    sums = table.sum(axis=0)
    above, below = int((sums > 0).sum()), int((sums < 0).sum())
    scale = float((np.abs(table).sum(axis=1) / is_tested.sum(axis=1)).mean())
    return Signs(above, below, scale) if above + below < FEW else None


def unit_values(units: pl.DataFrame) -> pl.DataFrame:
    """Return each unit's value, whose mean over a seed's units is the seed's metric.

    A metric is a ratio of sums, R = sum n_u / sum d_u. A unit has the value R + (n_u - R d_u) / D, with D the mean
    denominator: the linearised ratio estimator, for each seed by itself. With equal denominators this is n_u / d_u.

    Args:
        units: rows of one metric of `base.schemas.UNITS`, with the column `seed`.

    Returns:
        Columns `seed`, `unit`, `value`.

    Raises:
        ValueError: all denominators of a seed are 0.

    Reference:
        Cochran, "Sampling Techniques", 3rd edition, 1977, sections 2.11 and 6.4.
    """
    if (units.group_by("seed").agg(pl.col("denominator").sum())["denominator"] == 0).any():
        raise ValueError("all denominators of a seed are 0, so its metric doesn't exist")
    numerator, denominator = pl.col("numerator"), pl.col("denominator")
    ratio = (numerator.sum() / denominator.sum()).over("seed")
    value = ratio + (numerator - ratio * denominator) / denominator.mean().over("seed")
    return units.select("seed", "unit", value.alias("value"))


def subtracted(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Return the differences of two evaluations' values of the same units, as `seed`, `unit`, `value`.

    Raises:
        ValueError: a unit of a seed is in only one of the two.
    """
    keys = ["seed", "unit"]
    joined = one.join(other, on=keys, how="full", coalesce=True, suffix="_other", validate="1:1").sort(keys)
    if joined.null_count().sum_horizontal().item():
        missing = joined.filter(pl.any_horizontal(pl.all().is_null())).row(0, named=True)
        raise ValueError(
            f"unit {missing['unit']!r} of seed {missing['seed']} is in only one of the two evaluations, so they can't"
            " be paired"
        )
    return joined.select(*keys, pl.col("value") - pl.col("value_other"))


def paired(one: pl.DataFrame, other: pl.DataFrame) -> Estimate:
    """Return the difference of a metric, `one` minus `other`, between two runs with the same seeds and units.

    Args:
        one, other: rows of one metric of `base.schemas.UNITS` of all seeds, with the column `seed`.

    Raises:
        ValueError: the units differ, there are fewer than two, or all denominators of a seed are 0.
    """
    return estimate(subtracted(unit_values(one), unit_values(other)), num_runs=2)


def wilson(share: float, n: float, quantile: float = Z) -> Interval:
    """Return a share with Wilson's score interval.

    Args:
        share: in [0, 1].
        n: number of independent images, above 0.
        quantile: of the interval's half width, in standard errors.

    Reference:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    square = quantile**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def accuracy_interval(correct: pl.DataFrame) -> Interval:
    """Return the mean accuracy over seeds with a 95 % interval.

    For one seed it is Wilson's, which covers the choice of images but not the randomness of training. For several it is
    Wilson's for the number of images that the two-way variance V of the mean (:func:`variances`) is worth,
    share (1 - share) / V, with the quantile of Student's t for Satterthwaite's (S - 1) (V / seeds)^2 degrees of
    freedom, and never narrower than the same for the variance over images alone with the normal quantile. (Much of V
    comes from the images' difficulty, which many images show well; with S - 1 degrees of freedom it would be too wide.)

    Args:
        correct: one row per seed and test image: `seed`, `unit`, `value` (true or false).

    Reference:
        Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
        estimated from survey data", Survey Methodology 1998 (effective sample size); Satterthwaite, "An approximate
        distribution of estimates of variance components", Biometrics Bulletin 1946.
    """
    found = estimate(correct)
    share = min(1.0, max(0.0, found.mean))
    spread = share * (1 - share)
    if found.num_seeds == 1 or spread == 0:
        return wilson(share, correct["unit"].n_unique())
    intervals = [wilson(share, spread / found.units)] if found.units > 0 else []
    if found.seeds > 0:
        variance = found.seeds + found.shared
        degrees = min(found.degrees * (variance / found.seeds) ** 2, 1e6)  # practically normal
        intervals.append(wilson(share, spread / variance, float(special.stdtrit(degrees, 0.975))))
    return Interval(share, min(one.low for one in intervals), max(one.high for one in intervals))

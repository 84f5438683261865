"""Intervals compared with SciPy and with numbers computed by hand."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from report.intervals import (
    FEW,
    Estimate,
    Signs,
    accuracy_interval,
    estimate,
    paired,
    subtracted,
    unit_values,
    variances,
    wilson,
)

Z = 1.959963984540054


@given(st.integers(1, 2000), st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    ours = wilson(k / n, n)
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def rows(values: Sequence[tuple[int, str, float]]) -> pl.DataFrame:
    return pl.DataFrame(values, schema=["seed", "unit", "value"], orient="row")


def of_seeds(table: np.ndarray, first: int = 0) -> pl.DataFrame:
    """Return rows of seeds that test different images."""
    return rows([(s, f"i{first + s}-{k}", float(v)) for s, of_seed in enumerate(table) for k, v in enumerate(of_seed)])


def test_with_other_images_for_each_seed_the_interval_is_that_of_a_paired_t_test() -> None:
    draw = np.random.default_rng(1)
    # one run's values have another level with each seed, so that the seeds' variance is above the images'
    one, other = draw.normal(size=(2, 4, 30)) + np.array([0.0, 1.5, -1.0, 3.0])[None, :, None] * [[[1]], [[0]]]
    found = estimate(subtracted(of_seeds(one), of_seeds(other)), num_runs=2)
    theirs = stats.ttest_rel(one.mean(axis=1), other.mean(axis=1))
    assert found.shared == 0
    assert found.p_value() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.interval()[1:] == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-9)
    shifted = stats.ttest_rel(one.mean(axis=1), other.mean(axis=1) + 0.7)
    assert found.p_value(0.7) == pytest.approx(shifted.pvalue, rel=1e-9)


def test_the_parts_of_the_variance_by_hand() -> None:
    # Three seeds test (a, b, c), (b, c), (c, d, a, e).
    first, second = [(0, "a", 3), (0, "b", 0), (0, "c", 0)], [(1, "b", 4), (1, "c", 2)]
    values = rows([*first, *second, (2, "c", 1), (2, "d", -1), (2, "a", 1), (2, "e", -1)])
    found = estimate(values)
    # means 1, 3, 0, of them 4/3; r = (d - mean) / (3 n): a 2/9, b -1/9, c -1/9; b 1/6, c -1/6; c 1/12, d -1/12, a, e
    assert found.mean == pytest.approx(4 / 3)
    assert found.seeds == pytest.approx(((1 - 4 / 3) ** 2 + (3 - 4 / 3) ** 2 + (4 / 3) ** 2) / 2 / 3)
    pairs = 2 * (2 / 9 / 12) + 2 * (-1 / 9 / 6) + 2 * (1 / 9 / 6 - 1 / 9 / 12 - 1 / 6 / 12)
    assert pairs < 0
    assert found.shared == 0
    sums = {"a": 2 / 9 + 1 / 12, "b": -1 / 9 + 1 / 6, "c": -1 / 9 - 1 / 6 + 1 / 12, "d": -1 / 12, "e": -1 / 12}
    assert found.units == pytest.approx(5 / 4 * sum(value**2 for value in sums.values()))
    assert (found.num_seeds, found.degrees, found.signs) == (3, 2, None)


def test_images_that_seeds_share_add_their_covariance() -> None:
    # Both seeds test a, b and c: means 2 and 1, r = (3, -1, -2) / 6 and (2, 0, -2) / 6
    values = rows([(0, "a", 5), (0, "b", 1), (0, "c", 0), (1, "a", 3), (1, "b", 1), (1, "c", -1)])
    found = estimate(values)
    assert found.seeds == pytest.approx(0.5 / 2)
    assert found.shared == pytest.approx(2 * 2 * (6 + 0 + 4) / 36)
    half = stats.t.ppf(0.975, 1) * math.sqrt(0.25 + 40 / 36)
    assert found.interval() == pytest.approx((1.5, 1.5 - half, 1.5 + half))


def test_the_variance_of_two_ways_is_unbiased() -> None:
    # random effects of seeds and of images; a seed tests 12 of 20 images
    draw = np.random.default_rng(0)
    number, seeds, units = 4000, 4, 20
    is_tested = np.argsort(draw.random((number, seeds, units)), axis=2) < 12
    values = draw.normal(0, 0.3, (number, seeds, 1)) + draw.normal(0, 1.0, (number, 1, units))
    found = variances(values + draw.normal(0, 0.5, (number, seeds, units)), is_tested)
    # terms of the order of 1 / 12 are missing, and the cut at 0 adds a little; the simulation's own error is 2 %
    assert (found.seeds + found.shared).mean() / found.mean.var() == pytest.approx(0.97, abs=0.06)
    assert found.seeds.mean() / found.mean.var() < 0.8


def test_for_one_seed_the_interval_is_that_of_a_mean_over_images() -> None:
    differences = np.array([1, 0, 0, -1, 1, 1, 0, 0, 0, 1, 0] * 9)  # 45 images differ: enough for a normal
    mean, deviation = differences.mean(), differences.std(ddof=1)
    half = Z * deviation / math.sqrt(len(differences))
    found = estimate(of_seeds(differences[None]), num_runs=2)
    assert found.interval() == pytest.approx((mean, mean - half, mean + half), abs=1e-12)
    assert found.p_value() == pytest.approx(2 * stats.norm.sf(mean / half * Z))


def test_no_interval_is_narrower_than_that_over_images() -> None:
    # three seeds with other images and the same mean
    found = estimate(of_seeds(np.array([[2.0, 0, 1], [1, 2, 0], [0, 1, 2]])))
    assert (found.seeds, found.shared) == (0, 0)
    half = Z * math.sqrt(9 / 8 * 6 / 81)
    assert found.interval() == pytest.approx((1.0, 1 - half, 1 + half))
    assert found.p_value() == pytest.approx(2 * stats.norm.sf(1 / half * Z))


@pytest.mark.parametrize(
    ("above", "below", "p"), [(4, 0, 0.125), (5, 0, 0.0625), (6, 0, 0.03125), (9, 2, 0.0654296875)]
)
def test_few_differing_images_are_tested_exactly(above: int, below: int, p: float) -> None:
    differences = np.array([1] * above + [-1] * below + [0] * (216 - above - below))
    found = estimate(of_seeds(differences[None]), num_runs=2)
    assert found.p_value() == pytest.approx(stats.binomtest(above, above + below).pvalue) == pytest.approx(p)
    assert (found.interval().low > 0) == (p < 0.05)
    # the exact interval of the share of positive signs, from its own scale to that of the mean
    low, high = stats.binomtest(above, above + below).proportion_ci(0.95, method="exact")
    scale = (above + below) / 216
    assert found.signs is not None
    assert found.signs.bounds == pytest.approx((scale * (2 * low - 1), scale * (2 * high - 1)))
    assert found.interval().low <= found.signs.bounds[0]


def test_units_of_an_accuracy_are_tested_exactly_too() -> None:
    # 173 of 216 are right, and the other run has 4 more; 173 / 216 is no binary fraction
    right = np.arange(216) < np.array([[173], [177]])
    one, other = (units([(0, str(k), float(value), 1.0) for k, value in enumerate(of_run)]) for of_run in right)
    found = paired(other, one)
    assert found.signs == Signs(4, 0, pytest.approx(4 / 216))
    assert found.p_value() == pytest.approx(0.125)


def test_signs_are_those_of_images_over_all_seeds() -> None:
    # a: +1 and +1, b: -1 and +1 (none), c: -1; scale: mean of 2/3 and 2/4... of each seed's share of differing images
    values = rows([(0, "a", 1), (0, "b", -1), (0, "c", 0), (1, "a", 1), (1, "b", 1), (1, "c", -1), (1, "d", 0)])
    assert estimate(values, num_runs=2).signs == Signs(1, 1, pytest.approx((2 / 3 + 3 / 4) / 2))
    assert estimate(values, num_runs=4).signs is None  # not a difference of two
    assert estimate(values.with_columns(pl.col("value") / 2), num_runs=2).signs is None  # not of 0 and 1
    many = of_seeds(np.array([[1] * FEW + [0] * 9]))
    assert estimate(many, num_runs=2).signs is None
    assert estimate(many[1:], num_runs=2).signs == Signs(FEW - 1, 0, pytest.approx(24 / 33))


def test_signs_against_the_mean_give_no_p_below_that_of_the_mean() -> None:
    # one image is 4 times worse, three are once better: the mean is negative, and most signs are positive
    values = rows([(s, "a", -1) for s in range(4)] + [(s, name, float(s == 0)) for name in "bcd" for s in range(4)])
    found = estimate(values, num_runs=2)
    assert (found.mean, found.signs) == (pytest.approx(-1 / 16), Signs(3, 1, pytest.approx(7 / 16)))
    assert found.p_value() == 1.0


def test_runs_without_any_difference_have_no_evidence() -> None:
    found = estimate(of_seeds(np.zeros((3, 5))), num_runs=2)
    assert found.interval() == (0, 0, 0)
    assert found.p_value() == 1
    assert found.p_value(0.5) == 0


ESTIMATES = st.builds(
    Estimate,
    mean=st.floats(-5, 5),
    num_seeds=st.integers(1, 6),
    seeds=st.floats(1e-3, 9),
    shared=st.floats(0, 4),
    units=st.floats(1e-3, 9),
    degrees=st.floats(1, 50),
    signs=st.none() | st.builds(Signs, st.integers(0, 12), st.integers(0, 12), st.floats(0.5, 5)),
)


@given(ESTIMATES, st.floats(-9, 9))
def test_an_interval_holds_the_values_that_its_p_value_does_not_reject(found: Estimate, limit: float) -> None:
    interval, p = found.interval(), found.p_value(limit)
    if abs(p - 0.05) > 1e-6:
        assert (interval.low <= limit <= interval.high) == (p > 0.05)


@given(ESTIMATES, st.floats(0.1, 100), st.floats(-3, 3))
def test_another_unit_changes_no_p_value(found: Estimate, factor: float, limit: float) -> None:
    scaled = found.scaled(factor)
    assert scaled.interval() == pytest.approx(tuple(factor * value for value in found.interval()), abs=1e-9)
    assert scaled.p_value(factor * limit) == pytest.approx(found.p_value(limit), abs=1e-9)


def units(values: Sequence[tuple[int, str, float, float]]) -> pl.DataFrame:
    return pl.DataFrame(values, schema=["seed", "unit", "numerator", "denominator"], orient="row")


def test_a_ratio_by_hand() -> None:
    # F1-like, one seed: R = 6/10 and 4/8; values R + (n - R d) / mean d
    one, other = units([(0, "x", 3.2, 4), (0, "y", 2.8, 6)]), units([(0, "y", 1, 4), (0, "x", 3, 4)])
    found = paired(one, other)
    x = 0.6 + (3.2 - 0.6 * 4) / 5 - (0.5 + (3 - 0.5 * 4) / 4)
    y = 0.6 + (2.8 - 0.6 * 6) / 5 - (0.5 + (1 - 0.5 * 4) / 4)
    assert (x + y) / 2 == pytest.approx(0.1)
    assert found.mean == pytest.approx(0.1)
    assert found.units == pytest.approx(((x - 0.1) ** 2 + (y - 0.1) ** 2) / 2)


def test_a_metric_over_seeds_is_the_mean_of_the_seeds_metrics() -> None:
    table = units([(0, "x", 1, 2), (0, "y", 2, 2), (1, "x", 0, 1), (1, "z", 3, 5)])
    values = unit_values(table)
    assert values.group_by("seed").agg(pl.col("value").mean()).sort("seed")["value"].to_list() == pytest.approx(
        [3 / 4, 3 / 6]
    )
    assert estimate(values).mean == pytest.approx(0.625)
    # with equal denominators a unit's value is its own share
    assert values.filter(seed=0)["value"].to_list() == pytest.approx([0.5, 1.0])


def test_a_ratio_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        # four seeds with a deviation of 0.05 each, on overlapping halves of 150 units
        below = rng.integers(1, 6, 150)
        made: list[list[tuple[int, str, float, float]]] = [[], []]
        for seed in range(4):
            shares = np.array([0.7, 0.6]) + rng.normal(0, 0.05, 2)
            for unit in rng.permutation(150)[:75].tolist():
                for run, share in zip(made, shares, strict=True):
                    run.append((seed, str(unit), float(rng.binomial(below[unit], share)), float(below[unit])))
        interval = paired(*map(units, made)).interval()
        hits += interval.low <= 0.1 <= interval.high
    assert 0.92 < hits / 300 < 0.99  # 95 % expected; the deviation of the share is 1.3 %


def test_units_that_cannot_be_paired_are_refused() -> None:
    one = units([(3, "x", 1, 1), (3, "y", 0, 1)])
    with pytest.raises(ValueError, match="unit 'z' of seed 3 is in only one of the two evaluations"):
        paired(one, units([(3, "x", 1, 1), (3, "y", 0, 1), (3, "z", 1, 1)]))
    with pytest.raises(ValueError, match="unit 'x' of seed 3 is in only one of the two evaluations"):
        paired(one, units([(4, "x", 1, 1), (3, "y", 0, 1)]))
    with pytest.raises(ValueError, match="1 units: an interval needs two or more units"):
        paired(one.head(1), one.head(1))
    with pytest.raises(ValueError, match="all denominators of a seed are 0"):
        paired(one, units([(3, "x", 0, 0), (3, "y", 0, 0)]))
    with pytest.raises(ValueError, match="a unit is listed twice for a seed"):
        estimate(rows([(0, "a", 1), (0, "b", 1), (0, "a", 2)]))


def test_an_accuracy_of_one_seed_has_wilsons_interval() -> None:
    correct = of_seeds(np.array([[1, 1, 0, 1, 1]])).with_columns(pl.col("value") > 0)
    assert accuracy_interval(correct) == pytest.approx(wilson(0.8, 5))


def test_an_accuracy_of_several_seeds_is_worth_as_many_images_as_its_variance_says() -> None:
    # 4, 10 and 7 of 12 other images each: shares 1/3, 5/6, 7/12, mean 7/12, variance of the mean 1/16 / 3
    table = np.arange(12) < np.array([[4], [10], [7]])
    correct = of_seeds(table).with_columns(pl.col("value") > 0)
    share, variance = 7 / 12, 1 / 48
    n = share * (1 - share) / variance
    # Wilson's interval holds the shares p with |share - p| <= t sqrt(p (1 - p) / n)
    found = accuracy_interval(correct)
    t = stats.t.ppf(0.975, 2)
    assert found.mean == pytest.approx(share)
    for end in found[1:]:
        assert abs(share - end) == pytest.approx(t * math.sqrt(end * (1 - end) / n))


def test_an_accuracys_interval_is_never_narrower_than_over_the_images_alone() -> None:
    # Other images, 5 of 8 with each seed: the seeds show no variance at all. Residuals 3/8 and -5/8, over 2 * 8.
    correct = of_seeds(np.array([[True] * 5 + [False] * 3] * 2))
    variance = 16 / 15 * (10 * 3**2 + 6 * 5**2) / (8 * 16) ** 2
    assert accuracy_interval(correct) == pytest.approx(wilson(5 / 8, 15 / 64 / variance))
    # One seed is all right, one all wrong: only the seeds show a variance, 1/4, and t is 12.7.
    opposite = of_seeds(np.array([[True] * 6, [False] * 6]))
    assert accuracy_interval(opposite) == pytest.approx(wilson(0.5, 1.0, stats.t.ppf(0.975, 1)))
    all_right = of_seeds(np.ones((3, 4))).with_columns(pl.col("value") > 0)
    assert accuracy_interval(all_right) == pytest.approx(wilson(1.0, 12))


def test_testing_the_same_images_again_adds_no_evidence() -> None:
    once = [(0, f"i{k}", float(k < 3)) for k in range(5)]
    found = accuracy_interval(rows([(seed, unit, value) for seed in range(4) for _, unit, value in once]))
    assert found.high - found.low > wilson(0.6, 5).high - wilson(0.6, 5).low

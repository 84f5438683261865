"""Intervals compared with SciPy and with numbers computed by hand."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from report.intervals import Interval, accuracy_interval, paired_interval, paired_ratio_interval, wilson


@settings(deadline=None)  # no test must fail because the machine is busy
@given(st.integers(1, 2000), st.data())
def test_wilson_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    ours = wilson(k / n, n)
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)


def rows(values: list[tuple[int, str, float]], name: str) -> pl.DataFrame:
    return pl.DataFrame(values, schema=["seed", "image_id", name], orient="row")


def test_an_accuracy_is_the_mean_over_seeds_and_an_image_counts_once_as_evidence() -> None:
    # Seed 0: 2 of 3. Seed 1: 1 of 2. Four distinct images. Mean of 2/3 and 1/2 is 7/12.
    correct = rows([(0, "a", True), (0, "b", True), (0, "c", False), (1, "a", True), (1, "d", False)], "correct")
    assert accuracy_interval(correct) == pytest.approx(wilson(7 / 12, 4))


def test_for_one_seed_the_paired_interval_is_that_of_a_paired_mean() -> None:
    differences = np.array([1, 0, 0, -1, 1, 1, 0, 0, 0, 1, 0])
    table = rows([(0, f"i{k}", d) for k, d in enumerate(differences)], "difference")
    mean, deviation = differences.mean(), differences.std(ddof=1)
    half = stats.norm.ppf(0.975) * deviation / math.sqrt(len(differences))
    assert paired_interval(table) == pytest.approx((mean, mean - half, mean + half), abs=1e-12)


def test_the_paired_interval_by_hand_where_seeds_share_images() -> None:
    # a: +1 +1, b: 0, c: -1; N = 4, mean 1/4. Residuals d - mean m: 1.5, -.25, -1.25; squares 2.25 + .0625 + 1.5625.
    table = rows([(0, "a", 1), (1, "a", 1), (0, "b", 0), (1, "c", -1)], "difference")
    half = 1.959963984540054 * math.sqrt(3 / 2 * 3.875) / 4
    assert paired_interval(table) == pytest.approx((0.25, 0.25 - half, 0.25 + half), abs=1e-12)


def test_testing_the_same_images_again_adds_no_evidence() -> None:
    once = [(0, f"i{k}", d) for k, d in enumerate([1, 0, -1, 1, 1])]
    twice = once + [(1, image_id, d) for _, image_id, d in once]
    assert paired_interval(rows(twice, "difference")) == pytest.approx(paired_interval(rows(once, "difference")))
    correct = [(seed, image_id, d > 0) for seed, image_id, d in twice]
    assert accuracy_interval(rows(correct, "correct")) == pytest.approx(wilson(0.6, 5))


@pytest.mark.parametrize(
    ("low", "high", "sign"), [(0.1, 2.0, 1), (-2.0, -0.1, -1), (-1.0, 1.0, 0), (0.0, 0.0, 0), (0.0, 1.0, 0)]
)
def test_a_sign_needs_the_whole_interval(low: float, high: float, sign: int) -> None:
    assert Interval((low + high) / 2, low, high).sign == sign


def units(rows: list[tuple[str, float, float]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["unit", "numerator", "denominator"], orient="row")


def test_paired_units_with_equal_denominators_are_paired_differences() -> None:
    # two seeds test image a, one seed each tests b, c and d
    right = {"one": [1, 0, 1, 1, 0], "other": [0, 0, 1, 0, 1]}
    images = ["a", "a", "b", "c", "d"]
    one, other = (
        units([(name, value, 1) for name, value in zip(images, right[key], strict=True)]) for key in ("one", "other")
    )
    differences = [a - b for a, b in zip(right["one"], right["other"], strict=True)]
    expected = paired_interval(pl.DataFrame({"image_id": images, "difference": differences}))
    assert paired_ratio_interval(one, other) == pytest.approx(expected)


def test_paired_units_of_a_ratio_by_hand() -> None:
    # F1-like: R = 6/10 and 4/8; residuals (n - R d) / mean d: `one` (0.8, -0.8) / 5, `other` (1, -1) / 4
    one, other = units([("x", 3.2, 4), ("y", 2.8, 6)]), units([("y", 1, 4), ("x", 3, 4)])
    found = paired_ratio_interval(one, other)
    residuals = [(3.2 - 0.6 * 4) / 5 - (3 - 0.5 * 4) / 4, (2.8 - 0.6 * 6) / 5 - (1 - 0.5 * 4) / 4]
    half = 1.959963984540054 * (sum(r * r for r in residuals) * 2 / 1 / 4) ** 0.5
    assert found == pytest.approx((0.1, 0.1 - half, 0.1 + half))


def test_a_ratio_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        below = rng.integers(1, 6, 150)
        one, other = rng.binomial(below, 0.7), rng.binomial(below, 0.6)
        names = [str(number) for number in range(150)]
        made = [units(list(zip(names, above.tolist(), below.tolist(), strict=True))) for above in (one, other)]
        interval = paired_ratio_interval(*made)
        hits += interval.low <= 0.1 <= interval.high
    assert 0.92 < hits / 400 < 0.98


def test_units_that_cannot_be_paired_are_refused() -> None:
    one = units([("x", 1, 1), ("y", 0, 1)])
    with pytest.raises(ValueError, match="unit 'z' is in only one of the two evaluations"):
        paired_ratio_interval(one, units([("x", 1, 1), ("y", 0, 1), ("z", 1, 1)]))
    with pytest.raises(ValueError, match="1 units: an interval needs two or more units"):
        paired_ratio_interval(one.head(1), one.head(1))
    with pytest.raises(ValueError, match="denominators above 0"):
        paired_ratio_interval(one, units([("x", 0, 0), ("y", 0, 0)]))

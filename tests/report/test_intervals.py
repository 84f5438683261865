"""Intervals against SciPy and against numbers worked by hand."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from report.intervals import Interval, accuracy_interval, paired_interval, wilson


@settings(deadline=None)  # a busy machine must fail no test
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

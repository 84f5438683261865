"""The simulation draws what it says, and its ways to decide are those of SciPy and of the report."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.verdicts import (
    CANDIDATES,
    POOL,
    TESTED,
    accuracies_table,
    comparisons_table,
    of_t,
    reports_table,
    sizes_table,
    trainings,
)
from report.intervals import Variances


def test_accuracies_and_deviations_are_those_asked_for() -> None:
    draw = np.random.default_rng(0)
    correct, is_tested = trainings(draw, 200, np.array([0.8, 0.7]), np.array([0.0, 0.03]), 3)
    assert is_tested.sum(axis=2).tolist() == [[TESTED] * 3] * 200
    assert correct.shape == (200, 2, 3, POOL)
    assert correct.mean(axis=(0, 2, 3)) == pytest.approx([0.8, 0.7], abs=0.005)
    # by training; what the images and single results add is below 2 points and equal for all
    deviations = correct.mean(axis=3).std(axis=2, ddof=1) ** 2
    assert deviations.mean(axis=0)[1] - deviations.mean(axis=0)[0] == pytest.approx((0.03 * 1.24) ** 2, rel=0.15)
    # the slope of the normal's distribution at 70 % is 1.24 times that at 80 %
    assert stats.norm.pdf(stats.norm.ppf(0.7)) / stats.norm.pdf(stats.norm.ppf(0.8)) == pytest.approx(1.24, abs=0.005)
    # two trainings of one run differ in some 18 % of the images
    assert (correct[:, 0, 0] != correct[:, 0, 1]).mean() == pytest.approx(0.18, abs=0.01)


def test_fixed_test_images_are_the_same_for_all_seeds() -> None:
    _, is_tested = trainings(np.random.default_rng(0), 2, np.array([0.8]), np.array([0.02]), 4, is_fixed=True)
    assert (is_tested == is_tested[0, 0]).all()
    assert is_tested[0, 0].sum() == TESTED


def test_ways_to_decide_by_hand() -> None:
    found = Variances(mean=np.array([0.06]), seeds=np.array([4e-4]), shared=np.array([1e-4]), units=np.array([9e-4]))
    p = {name: float(p_values(found, 3)[0]) for name, p_values in CANDIDATES.items()}
    root = math.sqrt(5e-4)
    expected = [
        2 * stats.norm.sf(0.06 / 0.03),
        2 * stats.t.sf(0.06 / 0.02, 2),
        2 * stats.t.sf(0.06 / math.sqrt(4e-4 * 3 * (1 / 3 + 1 / 2)), 2),
        2 * stats.norm.sf(0.06 / root),
        2 * stats.t.sf(0.06 / root, 2 * 1.25**2),
        2 * stats.t.sf(0.06 / root, 2),
        2 * stats.t.sf(0.06 / root, 2),
    ]
    assert list(p.values()) == pytest.approx(expected, rel=1e-4)
    assert of_t(np.array([-0.06]), np.array([4e-4]), 2) == pytest.approx([expected[1]])


@pytest.mark.slow
def test_tables_have_a_cell_for_each_heading() -> None:
    draw = np.random.default_rng(0)
    for lines, rows in (
        (comparisons_table(draw, 1), 2 * len(CANDIDATES)),
        (reports_table(draw, 1), 18),
        (sizes_table(draw, 1), 12),
        (accuracies_table(draw, 1), 16),
    ):
        cells = [line.count("|") for line in lines if line]
        assert len(set(cells)) == 1
        assert len(cells) in (rows + 2, rows + 4)

"""The noise of training from all runs: its moments against simulated ones and against SciPy's distributions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from report.intervals import Estimate
from report.training_noise import TrainingNoise, _inverse_trigamma, moderated, training_noise

DIFFERENCE = Estimate(
    mean=6.0, num_seeds=3, seeds=2.0, shared=0.5, units=1e-6, degrees=2, num_runs=2
)  # fmt: skip


@given(st.floats(1e-4, 1e4))
def test_the_inverse_of_trigamma(value: float) -> None:
    assert special.polygamma(1, _inverse_trigamma(value)) == pytest.approx(value, rel=1e-6)


def test_what_all_runs_of_a_seed_have_in_common_is_no_noise() -> None:
    values = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0], [2.0, 2.0, 2.5], [8.0, 9.0, 7.0]])
    one, other = training_noise(values), training_noise(values + np.array([5.0, -3.0, 11.0]) + [[1], [2], [3], [4]])
    assert one is not None
    assert other == pytest.approx(one)


def test_the_noise_by_hand() -> None:
    # Seeds' means 2, 3; residuals -1, 1; 2, -2; -1, 1; variances 2, 8, 2, times 3/2: 3, 12, 3
    found = training_noise(np.array([[1.0, 4.0], [4.0, 1.0], [1.0, 4.0]]))
    assert found is not None
    assert found.variance == pytest.approx(6.0)
    assert found.most_degrees == 2
    # the logarithms differ less than those of chi^2 with one degree of freedom do by chance (pi^2 / 2)
    assert found.degrees == math.inf


@pytest.mark.parametrize("degrees", [4.0, 20.0])
def test_the_runs_spread_is_found_again(degrees: float) -> None:
    # variances from the prior that the method assumes: d0 s0^2 / chi^2 with d0 degrees of freedom; its mean is larger
    draw = np.random.default_rng(0)
    variances = degrees * 9.0 / draw.chisquare(degrees, 20_000)
    found = training_noise(draw.normal(size=(20_000, 4)) * np.sqrt(variances)[:, None])
    assert found is not None
    assert found.degrees == pytest.approx(degrees, rel=0.1)
    assert found.variance == pytest.approx(9.0 * degrees / (degrees - 2), rel=0.05)


def test_equal_runs_count_as_one() -> None:
    found = training_noise(np.random.default_rng(1).normal(0, 2.0, (5_000, 3)))
    assert found is not None
    assert found.variance == pytest.approx(4.0, rel=0.05)
    assert found.degrees > 50
    assert found.most_degrees == 4_999 * 2


def test_nothing_is_known_from_one_seed_from_two_runs_or_without_variation() -> None:
    draw = np.random.default_rng(2)
    assert training_noise(draw.normal(size=(9, 1))) is None
    assert training_noise(draw.normal(size=(2, 5))) is None
    assert training_noise(np.full((4, 3), 50.0) + np.arange(3)) is None


def test_a_difference_combines_its_own_variance_with_that_of_all_runs() -> None:
    # its own: 2 with 2 degrees of freedom; of all: 2 runs * 4.5 / 3 seeds = 3 with 6
    found = moderated(DIFFERENCE, TrainingNoise(4.5, 6.0, 100.0))
    assert found.seeds == pytest.approx((6 * 3 + 2 * 2) / 8)
    assert found.degrees == 8
    p = 2 * stats.t.sf(6.0 / math.sqrt(2.75 + 0.5), 8)
    assert found.p_value() == pytest.approx(p)
    assert replace(found, seeds=DIFFERENCE.seeds, degrees=DIFFERENCE.degrees) == DIFFERENCE


def test_the_degrees_of_freedom_are_at_most_those_of_all_runs() -> None:
    assert moderated(DIFFERENCE, TrainingNoise(4.5, 6.0, 5.0)).degrees == 5
    infinite = moderated(DIFFERENCE, TrainingNoise(4.5, math.inf, 40.0))
    assert (infinite.seeds, infinite.degrees) == (pytest.approx(3.0), 40.0)
    # a difference of differences has four runs
    four = moderated(replace(DIFFERENCE, num_runs=4), TrainingNoise(4.5, math.inf, 40.0))
    assert four.seeds == pytest.approx(6.0)


def test_without_noise_nothing_changes() -> None:
    assert moderated(DIFFERENCE, None) is DIFFERENCE
    single = replace(DIFFERENCE, num_seeds=1)
    assert moderated(single, TrainingNoise(4.5, 6.0, 100.0)) is single

"""The sample that decides an open claim: by hand, against drawn trainings, and that it grows with the noise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from report.intervals import Estimate, Signs, variances
from report.sample_size import MOST_SEEDS, SEEDS_WITH_IMAGES, deciding_sample, detectable, power, variance_of


def found(mean: float, seeds: float, shared: float = 0.0, units: float = 0.0, num_seeds: int = 5) -> Estimate:
    return Estimate(
        mean=mean, num_seeds=num_seeds, seeds=seeds, shared=shared, units=units, degrees=num_seeds - 1, num_runs=2
    )  # fmt: skip


def test_variance_by_hand() -> None:
    # units = 2 = (W - c) / 5 + c with c = 1, so W - c = 5; seeds = 4 = (A + 5) / 5, so A = 15
    estimate = found(1.0, seeds=4.0, shared=1.0, units=2.0)
    assert variance_of(estimate, 5) == pytest.approx(4.0 + 1.0)
    assert variance_of(estimate, 10) == pytest.approx(15 / 10 + 5 / 10 + 1)
    assert variance_of(estimate, 10, 4) == pytest.approx(15 / 10 + (5 / 10 + 1) / 4)
    # seeds = 0.5 is less than the images explain: 5 / 5; not below the variance over images alone
    assert variance_of(found(1.0, seeds=0.5, shared=1.0, units=2.0), 5) == pytest.approx(2.0)
    # units below shared happen by chance: then all of `seeds` is the trainings' luck
    assert variance_of(found(1.0, seeds=4.0, shared=1.0, units=0.5), 10, 2) == pytest.approx(4 * 5 / 10 + 1 / 2)


def test_parts_of_the_variance_scale_as_expected() -> None:
    # Trainings with luck, images of several difficulties and single results' own noise; seeds test 40 of 120 images.
    draw = np.random.default_rng(0)

    def parts(seeds: int, repeats: int) -> list[float]:
        is_tested = np.argsort(draw.random((repeats, seeds, 120)), axis=2) < 40
        values = draw.normal(0, 0.2, (repeats, seeds, 1)) + draw.normal(0, 1, (repeats, 1, 120))
        of = variances(values + draw.normal(0, 0.5, (repeats, seeds, 120)), is_tested)
        return [float(of.mean.var()), *(float(part.mean()) for part in of[1:])]

    expected_c, expected_luck = 1 / 120, 0.2**2
    w = 1.25 / 40
    few, many = parts(6, 4000), parts(18, 1500)
    assert few[1:] == pytest.approx(
        [(expected_luck + w - expected_c) / 6, expected_c, (w - expected_c) / 6 + expected_c], rel=0.05
    )
    estimate = found(0.0, *few[1:], num_seeds=6)
    assert variance_of(estimate, 18) == pytest.approx(many[1] + many[2], rel=0.05)
    # the variance of the drawn means themselves, whose relative error is sqrt(2 / 1500) = 0.037
    assert variance_of(estimate, 18) == pytest.approx(many[0], rel=0.12)


@pytest.mark.parametrize(("distance", "level", "seeds"), [(1.0, 0.05, 5), (2.5, 0.05, 12), (1.5, 0.002, 30)])
def test_power_is_that_of_scipys_noncentral_t_and_of_drawn_means(distance: float, level: float, seeds: int) -> None:
    estimate = found(distance, seeds=1.44)
    deviation = math.sqrt(1.44 * 5)
    quantile = stats.t.isf(level / 2, seeds - 1)
    expected = stats.nct.sf(quantile, seeds - 1, distance / deviation * math.sqrt(seeds))
    assert power(estimate, distance, level, seeds) == pytest.approx(expected, abs=1e-6)
    drawn = np.random.default_rng(1).normal(distance, deviation, (20_000, seeds))
    t = drawn.mean(axis=1) / drawn.std(axis=1, ddof=1) * math.sqrt(seeds)
    assert (t > quantile).mean() == pytest.approx(expected, abs=0.015)


def test_seeds_by_the_textbook() -> None:
    # Paired t test, effect of half a deviation, two-sided 5 %, power 80 %: 34 pairs (Cohen 1988; G*Power).
    assert deciding_sample(found(0.5, seeds=1 / 5), 0.05)[:2] == (34, 1)
    # a limit: its distance from the difference counts, on either side
    assert deciding_sample(found(2.5, seeds=1 / 5), 0.05, limit=3.0)[:2] == (34, 1)
    assert deciding_sample(found(-0.5, seeds=1 / 5), 0.05)[:2] == (34, 1)
    # of a moderated estimate: 10 degrees from the other runs, so fewer seeds
    moderated = Estimate(mean=0.5, num_seeds=5, seeds=1 / 5, shared=0.0, units=0.0, degrees=14, num_runs=2)
    seeds, _, smallest = deciding_sample(moderated, 0.05)
    assert seeds == 33
    assert smallest is not None
    assert stats.nct.sf(stats.t.isf(0.025, 14), 14, smallest * math.sqrt(5)) == pytest.approx(0.8, abs=1e-4)


def test_shared_images_need_more_images() -> None:
    # No number of seeds is enough if 1 / sqrt(0.25) = 2 is below the normal's 1.96 + 0.84; 2 times the images allow it:
    # 1 / sqrt(0.125) = 2.83, yet only with very many seeds; so 3 times. The variance of S seeds is 1 / S + 0.25 / 3.
    estimate = found(1.0, seeds=0.2, shared=0.25, units=0.25)
    assert power(estimate, 1.0, 0.05, 10**6) < 0.8
    assert power(estimate, 1.0, 0.05, SEEDS_WITH_IMAGES, 2) < 0.8
    seeds, times, _ = deciding_sample(estimate, 0.05)
    powers = {
        size: stats.nct.sf(stats.t.isf(0.025, size - 1), size - 1, 1 / math.sqrt(1 / size + 0.25 / 3))
        for size in range(5, SEEDS_WITH_IMAGES + 1)
    }
    assert (seeds, times) == (min(size for size, found in powers.items() if found >= 0.8), 3)


def test_what_is_out_of_reach() -> None:
    # the trainings' luck, which no image reduces
    seeds, times, smallest = deciding_sample(found(0.1, seeds=1.0), 0.05)
    assert (seeds, times) == (None, None)
    assert smallest == pytest.approx(3.75, abs=0.02)  # stats.nct.sf(2.776, 4, 3.75) = 0.80
    assert deciding_sample(found(0.0, seeds=1.0), 0.05)[:2] == (None, None)
    assert deciding_sample(found(0.0, seeds=0.0), 0.05) == (None, None, 0.0)


def test_few_images_with_different_signs_need_more_of_them() -> None:
    # 4 to 0: p = 0.125. 2 * 0.5^6 = 0.031, so 8 images (twice) suffice: the test has the power 1 if all signs agree.
    def few(above: int, below: int) -> Estimate:
        signs = Signs(above, below, 4 / 216)
        return Estimate(
            mean=4 / 216 * (above - below) / max(1, above + below), num_seeds=3, seeds=1e-9, shared=0.0, units=1e-9,
            degrees=1000, signs=signs, num_runs=2,
        )  # fmt: skip

    assert deciding_sample(few(4, 0), 0.05)[:2] == (3, 2)
    assert detectable(few(4, 0), 0.05) == pytest.approx(6 / 216)
    # at 5 % / 20 no fewer than 10 images of one sign
    assert detectable(few(4, 0), 0.05 / 20) == pytest.approx(10 / 216)
    assert deciding_sample(few(4, 0), 0.05 / 20)[:2] == (3, 3)
    # 3 to 1 and level 5 %: a power of 80 % takes more than 24 images; from 25 on the signs aren't tested
    powers = {
        number: sum(
            stats.binom.pmf(above, number, 0.75)
            for above in range(number + 1)
            if stats.binomtest(above, number).pvalue < 0.05 and above > number / 2
        )
        for number in (4, 8, 12, 16, 20, 24)
    }
    assert all(value < 0.8 for value in powers.values())
    assert deciding_sample(few(3, 1), 0.05)[:2] == (3, 7)
    assert deciding_sample(few(0, 0), 0.05) == (None, None, None)


VARIANCES = st.floats(0.001, 10)


@settings(max_examples=60)
@given(
    mean=st.floats(0.05, 20), seeds=VARIANCES, shared=VARIANCES, units=VARIANCES, level=st.floats(1e-4, 0.05),
    more=st.floats(1, 3), num_seeds=st.integers(2, 12),
)  # fmt: skip
def test_noise_needs_a_larger_sample_and_a_larger_difference_a_smaller_one(
    mean: float, seeds: float, shared: float, units: float, level: float, more: float, num_seeds: int
) -> None:
    def size(of: Estimate, at: float = level) -> tuple[float, float]:
        """Return the sample in the order in which samples are tried."""
        needed, times, _ = deciding_sample(of, at)
        return (math.inf, math.inf) if needed is None or times is None else (times, needed)

    def smallest(of: Estimate, at: float = level) -> float:
        value = detectable(of, at)
        assert value is not None
        return value

    plain = found(mean, seeds, shared, units, num_seeds)
    for noisier in (
        found(mean, seeds * more, shared, units, num_seeds),
        found(mean, seeds * more, shared * more, units * more, num_seeds),
    ):
        assert size(noisier) >= size(plain)
        assert smallest(noisier) >= smallest(plain) * (1 - 1e-5)
    assert size(plain, level / more) >= size(plain)
    assert smallest(plain, level / more) >= smallest(plain) * (1 - 1e-5)
    assert size(found(mean * more, seeds, shared, units, num_seeds)) <= size(plain)
    # the unit doesn't matter, and what is found decides while one seed less doesn't
    assert size(plain.scaled(100)) == size(plain)
    assert smallest(plain.scaled(100)) == pytest.approx(100 * smallest(plain), rel=1e-5)
    needed, times, _ = deciding_sample(plain, level)
    if needed is not None and times is not None:
        assert needed <= max(MOST_SEEDS, num_seeds) if times == 1 else needed <= max(SEEDS_WITH_IMAGES, num_seeds)
        assert power(plain, mean, level, needed, times) >= 0.8
        assert needed == num_seeds or power(plain, mean, level, needed - 1, times) < 0.8
    assert power(plain, smallest(plain), level, num_seeds) == pytest.approx(0.8, abs=1e-4)

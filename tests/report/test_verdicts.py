"""Verdicts on claims: Holm's correction by hand and by its definition, and when there is none."""

import math
from itertools import pairwise
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report.intervals import Estimate, Signs
from report.verdicts import BY_CONSTRUCTION, NOT_RUN, ONE_SEED, Claimed, holm, verdicts


def found(mean: float, deviation: float = 1.0, num_seeds: int = 5) -> Estimate:
    return Estimate(
        mean=mean, num_seeds=num_seeds, seeds=deviation**2, shared=0.0, units=1e-9, degrees=1000, num_runs=2
    )  # fmt: skip


def test_holms_correction_by_hand() -> None:
    # in order: 0.01 * 4, 0.02 * 3, 0.025 * 2 (raised to 0.06), 0.9
    assert holm([0.02, 0.9, 0.01, 0.025]) == pytest.approx([0.06, 0.9, 0.04, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_holm_rejects_step_by_step(p_values: list[float], level: float) -> None:
    # the definition: go up from the smallest and stop at the first that is not below level / (number left)
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if (len(p_values) - rank) * p_values[index] >= level:
            break
        rejected.add(index)
    corrected = holm(p_values)
    assert {index for index, p in enumerate(corrected) if p < level} == rejected
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert all(corrected[a] <= corrected[b] for a, b in pairwise(order))
    assert all(p <= of_one <= 1 for p, of_one in zip(p_values, corrected, strict=True))


def test_a_verdict_needs_a_small_p_after_the_correction() -> None:
    # 2.3 standard errors: p = 0.0217, enough alone and too little where two others are larger
    assert verdicts([Claimed(found(2.3))])[0].text == "holds"
    assert verdicts([Claimed(found(-2.3))])[0].text == "contradicted"
    of_four = verdicts([Claimed(found(2.3)), Claimed(found(0.1)), Claimed(found(-5.0)), Claimed(found(0.3))])
    assert [verdict.text for verdict in of_four] == ["open", "open", "contradicted", "open"]
    assert of_four[0].p == pytest.approx(0.0217, abs=2e-4)
    assert of_four[0].corrected == pytest.approx(3 * of_four[0].p)


@pytest.mark.parametrize(("mean", "text"), [(0.2, "holds"), (2.9, "open"), (3.3, "open"), (6.0, "contradicted")])
def test_a_limit_is_what_the_difference_is_compared_with(mean: float, text: str) -> None:
    assert verdicts([Claimed(found(mean), at_most=3.1)])[0].text == text


def test_claims_that_are_not_tested_say_why_and_do_not_count() -> None:
    claims = [
        Claimed(None),
        Claimed(found(30.0, num_seeds=1)),
        Claimed(found(30.0), is_by_construction=True),
        Claimed(None, is_by_construction=True),
        Claimed(found(2.5)),
        Claimed(found(30.0, num_seeds=1), is_by_construction=True),
    ]
    judged = verdicts(claims)
    assert [verdict.text for verdict in judged] == [
        NOT_RUN, ONE_SEED, BY_CONSTRUCTION, NOT_RUN, "holds", BY_CONSTRUCTION,
    ]  # fmt: skip
    assert judged[4].corrected == judged[4].p
    assert {(verdict.p, verdict.corrected) for verdict in judged if verdict is not judged[4]} == {(None, None)}


def test_four_images_to_none_are_no_verdict() -> None:
    signs = Signs(4, 0, 4 / 216)
    few = Estimate(
        mean=4 / 216, num_seeds=3, seeds=1e-8, shared=0.0, units=1e-8, degrees=1000, signs=signs, num_runs=2
    )  # fmt: skip
    verdict = verdicts([Claimed(few)])[0]
    assert (verdict.text, verdict.p) == ("open", pytest.approx(0.125))


def test_the_level_of_a_deciding_sample_is_that_of_the_open_claims() -> None:
    means = [9.0, -9.0, 2.2, 0.4]
    judged = verdicts([Claimed(found(mean)) for mean in means] + [Claimed(None), Claimed(found(2.2, num_seeds=1))])
    assert [verdict.text for verdict in judged][2:4] == ["open", "open"]
    assert [verdict.sample is None for verdict in judged] == [True, True, False, False, True, True]
    # 1000 degrees: practically the normal distribution; 5 seeds see 2.2 deviations of their mean
    for verdict, mean in zip(judged[2:4], means[2:4], strict=True):
        needed = 5 * ((NormalDist().inv_cdf(1 - 0.05 / 2 / 2) + NormalDist().inv_cdf(0.8)) / mean) ** 2
        sample = verdict.sample
        assert sample is not None
        assert sample.seeds == (math.ceil(needed) if needed < 100 else None)
        assert sample.detectable == pytest.approx(mean * math.sqrt(needed / 5), rel=0.005)
    # no open claim is decided by the present sample, and so none needs fewer seeds than that
    assert judged[2].sample is not None
    assert (judged[2].sample.seeds or 0) > 5

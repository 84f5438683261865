"""Verdicts on claims: each from a paired difference over several seeds, corrected for the number of claims."""

from collections.abc import Sequence
from typing import NamedTuple

from report.intervals import Estimate
from report.sample_size import Sample, deciding_sample

LEVEL = 0.05
NOT_RUN, ONE_SEED, BY_CONSTRUCTION = "not run", "one seed: no verdict", "by construction"
BY_SIGN = {1: "holds", 0: "open", -1: "contradicted"}


class Claimed(NamedTuple):
    """A claim that a difference is above 0, or not above a limit.

    Attributes:
        estimate: the difference; None: a compared run is missing.
        at_most: the limit; None: the claim is that the difference is above 0.
        is_by_construction: whether the claim holds whatever is trained, so that it needs no test.
    """

    estimate: Estimate | None
    at_most: float | None = None
    is_by_construction: bool = False

    @property
    def is_tested(self) -> bool:
        """Whether the claim gets a p-value: its difference exists, over several seeds, and could be otherwise."""
        return self.estimate is not None and self.estimate.num_seeds > 1 and not self.is_by_construction


class Verdict(NamedTuple):
    """A claim's verdict.

    Attributes:
        text: ``holds`` or ``contradicted`` if the p-value is below 0.05 after the correction, else ``open``; or why the
            claim isn't tested: `NOT_RUN`, `ONE_SEED`, `BY_CONSTRUCTION`.
        p: the two-sided p-value by itself; None if the claim isn't tested.
        corrected: the same after Holm's correction over all tested claims.
        sample: what would decide an open claim; None for every other.
    """

    text: str
    p: float | None = None
    corrected: float | None = None
    sample: Sample | None = None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's correction: rejecting those below 0.05 rejects a true one in at most 5 % of reports.

    The k-th smallest of m is multiplied by m - k + 1, is at least the ones before it, and at most 1. The p-values may
    depend on each other.

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def verdicts(claims: Sequence[Claimed]) -> list[Verdict]:
    """Return the verdicts of a report's claims, in their order.

    The sample that would decide an open claim is that for the level 0.05 / (number of open claims). This is the level
    that Holm's method applies to an open claim whose p becomes the smallest of them, if the decided claims stay decided
    and the other open ones open. It is the strictest that an open claim can meet: if others get decided, it rises.
    """
    p_values = [
        claim.estimate.p_value(claim.at_most or 0.0)
        for claim in claims
        if claim.estimate is not None and claim.is_tested
    ]
    holms = holm(p_values)
    num_open = sum(corrected >= LEVEL for corrected in holms)
    found = iter(zip(p_values, holms, strict=True))
    return [_judge(claim, *next(found), num_open) if claim.is_tested else _untested(claim) for claim in claims]


def _untested(claim: Claimed) -> Verdict:
    if claim.estimate is None:
        return Verdict(NOT_RUN)
    return Verdict(BY_CONSTRUCTION if claim.is_by_construction else ONE_SEED)


def _judge(claim: Claimed, p: float, corrected: float, num_open: int) -> Verdict:
    assert claim.estimate is not None
    if corrected >= LEVEL:
        sample = deciding_sample(claim.estimate, LEVEL / num_open, claim.at_most or 0.0)
        return Verdict(BY_SIGN[0], p, corrected, sample)
    gain = claim.estimate.mean if claim.at_most is None else claim.at_most - claim.estimate.mean
    return Verdict(BY_SIGN[(gain > 0) - (gain < 0)], p, corrected)

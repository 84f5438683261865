"""The claims of the tag recommendation system: each is about a measure of two declared runs or baselines."""

from collections.abc import Sequence
from typing import NamedTuple

from report.claims import Claim
from systems.tagging.config import BASELINES, read_run

DIRECT = "A6_direct=history"
NO_LOSS = 1.0  # points that shuffled histories may be above the cold start, for the claim that they are no use


class Measured(NamedTuple):
    """A run or a baseline, and under which condition it is measured: "" or a prefix of metrics, as in ``cold_``."""

    name: str
    condition: str = ""

    @property
    def label(self) -> str:
        """The run and the condition in words."""
        words = {"cold_": ", empty histories", "shuffled_": ", others' histories"}
        return self.name + words.get(self.condition, "")


def claims_of(runs: Sequence[str], baselines: Sequence[str], best: str | None) -> list[Claim[Measured]]:
    """Return the claims about the declared runs; one whose runs are not all declared is left out.

    Args:
        runs: the runs' texts.
        baselines: the declared baselines.
        best: the baseline with the best precision; None: there is none.
    """
    cold, others = Measured("A6", "cold_"), Measured("A6", "shuffled_")
    found = [
        _above("1", "A2", "A1"),
        _above("2", "A6", "A2"),
        _above("3", "A6", "A5"),
        _above("4", "A6", "A3"),
        Claim("5", "A6 > A4, the same with empty histories", Measured("A6"), cold),
        Claim("5", "A4 > A1", cold, Measured("A1")),
        Claim("5", "A4 > A2 (YFCC100M only)", cold, Measured("A2")),
        _above("6", "A6", "A6_skips=none"),
        Claim("9", f"others' histories are at most {NO_LOSS:g} point above empty ones", others, cold, NO_LOSS),
        Claim("9", "own histories > others'", Measured("A6"), others),
        _above("leak", "A6", "A6_history=whole"),
        _above("general", "A6", "A6_theta=0"),
        _above("10", "A6", "own"),
        _above("shuffled", "A6", "A6_history=shuffled"),
        _above("direct", DIRECT, "A6"),
        _above("thinned", "A6_history=thinned", "A6"),
    ]
    deltas = [text for text in runs if read_run(text).options and text.startswith("A6_delta=")]
    says = "{} > A6 (a threshold from 1 on is the squared error)"
    found += [Claim("6", says.format(text), Measured(text), Measured("A6")) for text in deltas]
    if best is not None:
        says = "{} > {}, the best recommender without a network"
        pairs = [(run, best) for run in ("A6", DIRECT) if (run, best) != ("A6", "own")]  # that one is claim 10
        found += [Claim("best", says.format(run, best), Measured(run), Measured(best)) for run, best in pairs]
    known = {*runs, *(name for name in baselines if name in BASELINES)}
    return [claim for claim in found if {claim.better.name, claim.worse.name} <= known]


def _above(number: str, better: str, worse: str) -> Claim[Measured]:
    return Claim(number, f"{better} > {worse}", Measured(better), Measured(worse))

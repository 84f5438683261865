"""The claims of the siamese system: each is about the accuracies of two phases of declared runs."""

from collections.abc import Sequence
from typing import NamedTuple

from report.claims import Claim
from systems.siamese.config import CONTROL, FROZEN, SIAMESE, SOFTMAX, read_run

HEADINGS = {SOFTMAX: "softmax", CONTROL: "softmax, as many steps", SIAMESE: "siamese", FROZEN: "frozen ConvNet"}
NOISY = {"given-cleaned": "given", "given-denoised": "given", "clicks-denoised": "clicks"}  # and the filtered labels
TOGETHER = "both-denoised"
NO_GAIN = 1.0  # points that shuffled pairs may gain at most, for the claim that they don't help
NEAR_TRUTH = 3.0  # points that the truth may be above the log: 0.05 of an accuracy of 60 %


class Trained(NamedTuple):
    """A phase of a run, by its text."""

    run: str
    phase: str

    @property
    def label(self) -> str:
        """The phase and the run in words."""
        return f"{HEADINGS[self.phase]}, {self.run}"


def claims_of(runs: Sequence[str]) -> list[Claim[Trained]]:
    """Return the claims about the declared runs; one whose runs are not all declared is left out."""
    found = []
    for filtered, noisy in NOISY.items():
        naive = Trained(noisy, SOFTMAX)
        found += [
            Claim("3", f"{filtered}: siamese > naive softmax", Trained(filtered, SIAMESE), Trained(filtered, SOFTMAX)),
            Claim("4", f"siamese on {filtered} > naive softmax on {noisy}", Trained(filtered, SIAMESE), naive),
        ]
    for run in runs:
        found.append(
            Claim("5", f"{run}: siamese > softmax of as many steps", Trained(run, SIAMESE), Trained(run, CONTROL))
        )
        base, _, pairs = run.rpartition("_pairs=")
        if pairs == "shuffled":
            says = f"{base}: shuffled pairs gain at most {NO_GAIN:g} point over as many steps of softmax"
            found.append(Claim("6", says, Trained(run, SIAMESE), Trained(base, CONTROL), NO_GAIN))
        elif pairs == "confusable":
            says = f"{base}: confusable pairs > random pairs"
            found.append(Claim("7", says, Trained(run, SIAMESE), Trained(base, SIAMESE)))
    found += _claims_of_labels(SOFTMAX, "")
    found += [claim for claim in _claims_of_labels(SIAMESE, "") if claim.number == "log"]
    for options in dict.fromkeys(run.removeprefix(point.labels) for run in runs if (point := read_run(run)).frozen):
        found += _claims_of_labels(FROZEN, options)
    return [claim for claim in found if {claim.better.run, claim.worse.run} <= set(runs)]


def _claims_of_labels(phase: str, options: str) -> list[Claim[Trained]]:
    """Return the claims that one kind of labels is better than another, in one phase with the same options."""
    kind = HEADINGS[phase] + options.removeprefix("_frozen").replace("_", ", ")

    def claim(number: str, better: str, worse: str, says: str = "", at_most: float | None = None) -> Claim[Trained]:
        one, other = (Trained(f"{labels}{options}", phase) for labels in (better, worse))
        return Claim(number, f"{kind}: {says or f'{better} > {worse}'}", one, other, at_most)

    return [
        *(claim("1", filtered, noisy) for filtered, noisy in NOISY.items()),
        *(claim("2", "given-cleaned", f"given-{alone}") for alone in ("most-clicked", "most-probable", "drawn")),
        claim("log", "clicks-denoised", "given", "the log alone, denoised > the given labels"),
        *(claim("both", TOGETHER, alone) for alone in ("given-denoised", "clicks-denoised")),
        claim(
            "log",
            "truth",
            "clicks-denoised",
            f"the truth is at most {NEAR_TRUTH:g} points above the log alone, denoised",
            NEAR_TRUTH,
        ),
    ]

"""The claims about image annotation: each is about a measure of two annotators of declared runs."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from report.claims import Claim
from systems.annotation.config import (
    BASE,
    CHAIN,
    CNN,
    FUSED,
    JOINT,
    LABELS,
    QUANTITY,
    QUANTITY_VISUAL,
    RECURRENT,
    read_run,
)

NO_GAIN = 1.0  # points of H-F1 that shuffled tags may gain at most, for the claim that the gain is gone
BASELINES = "baselines"  # run names of the comparison methods begin with it


class Annotator(NamedTuple):
    """A measure of a run, as its metric's name."""

    run: str
    metric: str


def h_f1(run: str, phase: str, rule: str) -> Annotator:
    """Return the H-F1 of a phase with a rule."""
    return Annotator(run, f"h_f1_{phase}_{rule}")


def claims_of(runs: Sequence[str], thresholds: Sequence[float]) -> list[Claim[Annotator]]:
    """Return the claims about the declared runs; one whose runs are not all declared is left out.

    Args:
        runs: texts, and the names of comparison methods.
        thresholds: of the rule threshold=p.
    """
    found = [claim for run in runs if not run.startswith(BASELINES) for claim in _within(run)]
    full, top = h_f1(BASE, LABELS, "predicted"), h_f1(BASE, FUSED, "top")
    found += [
        Claim("3", f"MS-CNN > {name}", top, h_f1(f"{BASE}_fusion={kind}", FUSED, "top"))
        for kind, name in (("average", "average pooling"), ("maximum", "max pooling"))
    ]
    starts = [BASE, *(f"{BASE}_first={first}" for first in (2, 3, 4, 5))]
    found += [
        Claim("4", f"stages from {number} > from {number + 1}", h_f1(one, FUSED, "top"), h_f1(other, FUSED, "top"))
        for number, (one, other) in enumerate(pairwise(starts), start=1)
    ]
    vectors, classes = f"{BASE}_tags=vectors", f"{BASE}_quantity=classes"
    found += [
        Claim("5", "perceptron > word vectors", h_f1(BASE, LABELS, "top"), h_f1(vectors, LABELS, "top")),
        Claim(
            "8",
            "regression > classes of numbers, without tags",
            h_f1(BASE, FUSED, "predicted"),
            h_f1(classes, FUSED, "predicted"),
        ),
    ]
    found += [
        Claim("7", f"predicted number > {says}, without tags", h_f1(BASE, FUSED, "predicted"), h_f1(BASE, FUSED, rule))
        for says, rule in [
            *((f"threshold {p:g}", f"threshold={p:g}") for p in thresholds),
            ("tuned thresholds (not in the paper)", "tuned"),
        ]
    ]
    found += [
        Claim("10", f"all parts > {name}", full, h_f1(f"{BASE}_loss={kind}", CNN, "top"))
        for kind, name in (
            ("softmax", "softmax"),
            ("warp", "WARP"),
            ("asymmetric", "asymmetric loss (not in the paper)"),
        )
    ]
    found += [
        Claim("10", f"all parts > CNN-RNN{says}", full, h_f1(RECURRENT, CHAIN, rule))
        for rule, says in (("top", ""), ("beam", ", paths that end by themselves"))
    ]
    found += [
        Claim("10", f"all parts > {name}", full, h_f1(f"{BASELINES}/{BASE}", kind, "top"))
        for kind, name in (("logistic", "logistic regression"), ("neighbours", "TagNeighbour"))
    ]
    declared = set(runs)
    return [claim for claim in found if {claim.better.run, claim.worse.run} <= declared]


def _within(run: str) -> list[Claim[Annotator]]:
    """Return the claims about the annotators of one run."""
    point = read_run(run)
    if dict(point.changes).get("tags") == "shuffled":
        return [
            Claim("11", f"tags of other images gain at most {NO_GAIN:g} point over none, {name}", one, other, NO_GAIN)
            for name, one, other in (
                ("top", h_f1(run, LABELS, "top"), h_f1(run, FUSED, "top")),
                ("predicted number", h_f1(run, LABELS, "predicted"), h_f1(run, FUSED, "predicted")),
            )
        ]
    if run != BASE and not point.joint:
        return []
    found = [
        Claim("1", "predicted number > top, with tags", h_f1(run, LABELS, "predicted"), h_f1(run, LABELS, "top")),
        Claim("1", "predicted number > top, without tags", h_f1(run, FUSED, "predicted"), h_f1(run, FUSED, "top")),
        Claim("2", "tags help, predicted number", h_f1(run, LABELS, "predicted"), h_f1(run, FUSED, "predicted")),
        Claim("2", "tags help, top", h_f1(run, LABELS, "top"), h_f1(run, FUSED, "top")),
        Claim("3", "MS-CNN > CNN", h_f1(run, FUSED, "top"), h_f1(run, CNN, "top")),
        Claim(
            "6",
            "tags lower the squared error of the number",
            Annotator(run, f"quantity_mse_{QUANTITY_VISUAL}"),
            Annotator(run, f"quantity_mse_{QUANTITY}"),
        ),
    ]
    if point.joint:
        found = [Claim("9", "end to end > staged", h_f1(run, JOINT, "predicted"), h_f1(run, LABELS, "predicted"))]
    return found

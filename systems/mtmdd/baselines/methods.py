"""The comparison methods of Table VIII, and what a user would try first, as data.

A method that learns by other steps than the family of MTMDD-VM has a command of its own, which its recipe names. These
names are texts, so nothing here imports a method's code: only that method's trainings depend on it.
docs/baselines.md describes what each method follows of its paper.
"""

from typing import get_args

from systems.mtmdd.config import Domain
from systems.mtmdd.methods import METHODS, SOURCE_VISUAL, Method, PhasePlan, both_at_once, two_steps

DOMAINS: tuple[Domain, ...] = get_args(Domain)
HERE = __name__.rpartition(".")[0]


def together() -> tuple[PhasePlan, ...]:
    """Return the phase of DAN and DANN: one recogniser learns the images of both domains, all with the same weight."""
    return (PhasePlan(name="joint", recognise=("source", "target"), features="visual", shared_head=True, mu=1.0),)


def fused() -> tuple[PhasePlan, ...]:
    """Return the phases of SF: a click predictor, recognisers by phi and by v^, and their fusion, for each domain."""
    predict = PhasePlan(name="predict", clicks="count+position")
    visual = [PhasePlan(name=f"{d}_visual", recognise=(d,), features="visual") for d in DOMAINS]
    click = [
        PhasePlan(
            name=f"{d}_click", recognise=(d,), features="click", start="predict", frozen=("backbone", "embedding")
        )
        for d in DOMAINS
    ]
    fusion = [
        PhasePlan(
            name=domain,
            recognise=(domain,),
            features="visual+click",
            start={"backbone": f"{domain}_visual", "predictor": f"{domain}_click"},
            frozen=("backbone", "predictor"),
            fitted=True,
        )
        for domain in DOMAINS
    ]
    return (predict, *visual, *click, *fusion)


def on_frozen_convnets(starts: dict[Domain, str]) -> tuple[PhasePlan, ...]:
    """Return a fitted recogniser for each domain, on a ConvNet that keeps its start weights."""
    return tuple(
        PhasePlan(name=d, recognise=(d,), features="visual", start=start, frozen=("backbone",), fitted=True)
        for d, start in starts.items()
    )


SOURCE_THEN_TARGET = (
    SOURCE_VISUAL,
    PhasePlan(name="target", recognise=("target",), features="visual", start="source"),
)

BASELINES: dict[str, Method] = {
    "DAN": Method(
        about="both domains together, with multi-kernel MMD between their features",
        phases=together(),
        train=f"{HERE}.dan",
    ),
    "DANN": Method(
        about="both domains together, against a domain classifier behind a gradient reversal",
        phases=together(),
        train=f"{HERE}.dann",
    ),
    "RACNN": Method(
        about="recurrent attention at three scales, on the source, then on the target",
        phases=SOURCE_THEN_TARGET,
        train=f"{HERE}.racnn",
        evaluate=f"{HERE}.racnn_evaluate",
    ),
    "SCDA": Method(
        about="VGGsrc's ConvNets, selected descriptors of their last map, linear SVM",
        phases=(
            PhasePlan(name="source_convnet", recognise=("source",), features="visual"),
            PhasePlan(name="target_convnet", recognise=("target",), features="visual", start="source_convnet"),
            *on_frozen_convnets({"source": "source_convnet", "target": "target_convnet"}),
        ),
        train=f"{HERE}.scda",
        evaluate=f"{HERE}.scda_evaluate",
    ),
    "SF": Method(
        about="fusion of the scores of a visual and of a click recogniser",
        phases=fused(),
        train=f"{HERE}.sf",
        evaluate=f"{HERE}.sf_evaluate",
    ),
    "VSE++": Method(
        about="TDL whose click predictor learns by the hardest negatives of a batch",
        phases=two_steps("own"),
        train=f"{HERE}.vse",
    ),
    "MDD-VM": Method(
        about="MTMDD-VM with the click loss alone on the source (lambda = 1)", phases=both_at_once(False), lambda_=1.0
    ),
    "MDD-VM-star": Method(
        about="MDD-VM*: MTMDD-VM* with the click loss alone on the source (lambda = 1)",
        phases=both_at_once(True),
        lambda_=1.0,
    ),
    "linear_probe": Method(
        about="logistic regression on the start weights' features, C by validation",
        phases=on_frozen_convnets(dict.fromkeys(DOMAINS, "backbone")),
        train=f"{HERE}.linear_probe",
    ),
}

COMPARED: dict[str, Method] = {**METHODS, **BASELINES}

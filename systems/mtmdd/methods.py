"""The compared methods as data (Table VIII): each a list of phases. The trainer knows none of them.

Weights follow from what a phase has, with lambda, tau and mu of the `objective` section:

- click loss (eq. 12): (1 - tau) count + tau position, or the count loss alone (eq. 2)
- source domain with both tasks (eq. 13): (1 - lambda) recognition + lambda click loss; with one task: that one
- target domain beside the source (eq. 15): mu recognition; alone (eq. 4): recognition

The released definition halves the click losses and averages each domain apart. Both are factors of these weights: a
step has as many images of one domain as of the other, so two means are twice the mean of all.
"""

from dataclasses import dataclass
from typing import Literal

from base.params import validate_section
from systems.mtmdd.config import Domain, Features, LossTerm, ObjectiveParams, Phase


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """A phase, its weights still open.

    Attributes:
        name: of its weights file.
        recognise: the domains whose categories are learned.
        features: what the recogniser sees.
        clicks: the click loss on the source: none, count only, or count and position.
        start: backbone, or an earlier phase.
        frozen: parts that keep their start weights.
        shared_head: one recogniser for both domains.
    """

    name: str
    recognise: tuple[Domain, ...] = ()
    features: Features | None = None
    clicks: Literal["none", "count", "count+position"] = "none"
    start: str = "backbone"
    frozen: tuple[Literal["backbone", "embedding"], ...] = ()
    shared_head: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the paper.

    Attributes:
        about: what it is, in a line.
        phases: in the order they are trained.
        linear_embedding: the word embedding is E of eq. 2, whatever `network.embedding` says.
    """

    about: str
    phases: tuple[PhasePlan, ...]
    linear_embedding: bool = False


SOURCE_VISUAL = PhasePlan(name="source", recognise=("source",), features="visual")


def two_steps(clicks: Literal["count", "count+position"], multitask: bool) -> tuple[PhasePlan, ...]:
    """Return the phases of TDL (section III-B): a click predictor from the source, then a recogniser.

    The recogniser's phase trains the whole network but for the word embedding: what predicts clicks in eq. 5 is the E*
    of eq. 2. Where the first phase recognises too (MTTDL) it gives the source's recogniser; else one is trained as the
    target's is.
    """
    predict = PhasePlan(
        name="predict",
        recognise=("source",) if multitask else (),
        features="visual+click" if multitask else None,
        clicks=clicks,
    )
    domains: tuple[Domain, ...] = ("target",) if multitask else ("source", "target")
    recognise = tuple(
        PhasePlan(name=domain, recognise=(domain,), features="visual+click", start="predict", frozen=("embedding",))
        for domain in domains
    )
    return (predict, *recognise)


def both_at_once(shared_head: bool) -> tuple[PhasePlan, ...]:
    """Return the one phase of MTMDD-VM (section III-C): both domains, both tasks."""
    return (
        PhasePlan(
            name="joint",
            recognise=("source", "target"),
            features="visual+click",
            clicks="count+position",
            shared_head=shared_head,
        ),
    )


METHODS: dict[str, Method] = {
    "VGGimg": Method(
        about="start weights, fine-tuned on the target; beside it the same on the source, for its Acc-S",
        phases=(SOURCE_VISUAL, PhasePlan(name="target", recognise=("target",), features="visual")),
    ),
    "VGGsrc": Method(
        about="start weights, fine-tuned on the source, then on the target",
        phases=(SOURCE_VISUAL, PhasePlan(name="target", recognise=("target",), features="visual", start="source")),
    ),
    "TDL7": Method(
        about="TDL [7]: linear embedding and count loss; click predictor first, then recogniser",
        phases=two_steps("count", multitask=False),
        linear_embedding=True,
    ),
    "TDL": Method(
        about="the same with the nonlinear embedding and the position loss",
        phases=two_steps("count+position", multitask=False),
    ),
    "MTTDL": Method(
        about="TDL whose first phase also recognises the source (eq. 14, with the click loss of eq. 12)",
        phases=two_steps("count+position", multitask=True),
    ),
    "MTMDD-VM": Method(about="both domains and both tasks at once, separate heads", phases=both_at_once(False)),
    "MTMDD-VM-star": Method(about="MTMDD-VM*: the same with one head for both domains", phases=both_at_once(True)),
}


def check_names(names: list[str]) -> list[str]:
    """Check method names, as a pydantic validator.

    Raises:
        ValueError: unknown, or listed twice.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown:
        raise ValueError(f"unknown methods {unknown}; known: {', '.join(METHODS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a method is listed twice: {names}")
    return names


def weigh(plan: PhasePlan, objective: ObjectiveParams) -> Phase:
    """Return a phase with its weights.

    A term of weight 0 (tau = 0, say) is left out. So are the terms' parameters then, and the recogniser's input where
    nothing is recognised any more (lambda = 1 in MTTDL's first phase, which is then TDL's).

    Where lambda = 1 leaves a domain beside one that is recognised (MDD-VM and MDD-VM* of Table VII), it keeps its
    recogniser, unlearned: a separate head stays as initialised, a shared one is the other domain's. Its N follows its
    own images all the same.

    Raises:
        UserError: the weights leave the phase without what it needs, as mu = 0 leaves a shared head one domain.
    """
    share = objective.lambda_ if plan.clicks != "none" and "source" in plan.recognise else None
    tau = objective.tau if plan.clicks == "count+position" else 0.0
    clicks = 0.0 if plan.clicks == "none" else 1.0 if share is None else share
    both = plan.clicks != "none" or "source" in plan.recognise
    mu = (objective.mu_shared_head if plan.shared_head else objective.mu_separate_heads) if both else 1.0
    weights: list[tuple[Domain, Literal["recognition", "count", "position"], float]] = [
        ("source", "recognition", (1.0 if share is None else 1 - share) * ("source" in plan.recognise)),
        ("source", "count", clicks * (1 - tau)),
        ("source", "position", clicks * tau),
        ("target", "recognition", mu * ("target" in plan.recognise)),
    ]
    weights = [term for term in weights if term[2] > 0]
    num_means = len({domain for domain, _, _ in weights}) if objective.mean_over == "domain" else 1
    half = 0.5 if objective.halved_click_losses else 1.0
    losses = [
        LossTerm(
            domain=domain, kind=kind, weight=round(weight * num_means * (1.0 if kind == "recognition" else half), 12)
        )
        for domain, kind, weight in weights
    ]
    learned = [domain for domain, kind, _ in weights if kind == "recognition"]
    there = {domain for domain, _, _ in weights}
    unlearned = [domain for domain in plan.recognise if learned and domain in there and domain not in learned]
    content = {
        "name": plan.name,
        "losses": losses,
        "start": plan.start,
        "frozen": list(plan.frozen),
        "features": plan.features if learned else None,
        "shared_head": plan.shared_head,
        "unlearned": unlearned or None,
    }
    where = f"objective with lambda = {objective.lambda_}, tau = {objective.tau}, mu = {mu}"
    return validate_section(Phase, f"phase {plan.name}", content, where)

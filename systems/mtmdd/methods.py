"""The compared methods as data (Table VIII): each is a list of phases, and the trainer doesn't depend on them.

The weights of a phase's losses follow from its tasks and domains, with lambda, tau and mu of the `objective` section:

- click loss (eq. 12): (1 - tau) count + tau position, or the count loss alone (eq. 2)
- source domain with both tasks (eq. 13): (1 - lambda) recognition + lambda click loss; with one task: its loss alone
- target domain together with the source (eq. 15): mu recognition; alone (eq. 4): recognition

The released definition halves the click losses and averages each domain separately. Both become factors of these
weights: a step has equally many images of both domains, so the sum of two means is twice the mean over all images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from base.console import UserError
from base.params import validate_section
from systems.mtmdd.config import Domain, Features, LossTerm, ObjectiveParams, Part, Phase, SecondStep

Clicks = Literal["none", "count", "count+position", "multitask", "own"]


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """A phase whose loss weights are not set yet.

    Attributes:
        name: name of its weights file.
        recognise: the domains whose categories are learned.
        features: the recogniser's input.
        clicks: the click loss on the source: none, count only, count and position, (multitask) with the position loss
            only if `objective.multitask_position`, or (own) a loss that the method's command defines.
        start: backbone, an earlier phase, or for each part the earlier phase it comes from (`Phase.start`).
        frozen: parts that keep their start weights.
        shared_head: one recogniser for both domains.
        mu: weight of the target's recognition; None: `objective.mu_shared_head` or `.mu_separate_heads`.
        unlabelled: domains among `recognise` whose images are seen without labels: the head is the other domain's.
        fitted: the recogniser is computed by the method's command, without gradient steps.
    """

    name: str
    recognise: tuple[Domain, ...] = ()
    features: Features | None = None
    clicks: Clicks = "none"
    start: str | Mapping[Part, str] = "backbone"
    frozen: tuple[Part, ...] = ()
    shared_head: bool = False
    mu: float | None = None
    unlabelled: tuple[Domain, ...] = ()
    fitted: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of the paper, or one that it is compared with.

    Attributes:
        about: description in one line.
        phases: in the order of training.
        linear_embedding: the word embedding is E of eq. 2, whatever `network.embedding.kind` is.
        lambda_: lambda of eq. 13; None: `objective.lambda`.
        train, evaluate: the modules that train and evaluate it; None: `systems.mtmdd.train` and `.evaluate`.
    """

    about: str
    phases: tuple[PhasePlan, ...]
    linear_embedding: bool = False
    lambda_: float | None = None
    train: str | None = None
    evaluate: str | None = None


SOURCE_VISUAL = PhasePlan(name="source", recognise=("source",), features="visual")


def two_steps(clicks: Clicks) -> tuple[PhasePlan, ...]:
    """Return the phases of TDL (section III-B): a click predictor trained on the source, then recognisers.

    A recogniser's phase has two ConvNets. Eq. 5 predicts clicks by E* and theta1* of eq. 2, so the first step's ConvNet
    and word embedding stay as they are; phi comes from a ConvNet that is trained from the start weights, because
    section IV-C integrates the predicted click features with the "original visual features". If the first phase also
    recognises (multitask: MTTDL, which replaces the loss of eq. 2 only), its recogniser is the source's. Otherwise the
    source's recogniser is trained in the same way as the target's.
    """
    multitask = clicks == "multitask"
    predict = PhasePlan(
        name="predict",
        recognise=("source",) if multitask else (),
        features="visual+click" if multitask else None,
        clicks=clicks,
    )
    domains: tuple[Domain, ...] = ("target",) if multitask else ("source", "target")
    recognise = tuple(
        PhasePlan(
            name=domain,
            recognise=(domain,),
            features="visual+click",
            start={"predictor": "predict"},
            frozen=("predictor",),
        )
        for domain in domains
    )
    return (predict, *recognise)


def with_second_step(plan: PhasePlan, kind: SecondStep | None) -> PhasePlan:
    """Return a phase as `network.second_step` asks for; one without a predictor beside a trained ConvNet stays."""
    if plan.fitted or "predictor" not in plan.frozen or not isinstance(plan.start, Mapping):
        return plan
    predict = plan.start["predictor"]
    if kind == "one ConvNet":
        return replace(plan, start=predict, frozen=("embedding",))
    if kind == "two ConvNets from one start":
        return replace(plan, start={"backbone": predict, "predictor": predict})
    return plan


def both_at_once(shared_head: bool) -> tuple[PhasePlan, ...]:
    """Return the single phase of MTMDD-VM (section III-C), with both domains and both tasks."""
    return (
        PhasePlan(
            name="joint",
            recognise=("source", "target"),
            features="visual+click",
            clicks="count+position",
            shared_head=shared_head,
        ),
    )


def without_target_labels(name: str, method: Method, lambda_: float) -> Method:
    """Return a method as it learns if no target image has a label.

    Phases on the target alone are left out; the source's recogniser then recognises the target, too. A network of both
    domains with one head still sees the target's images: N follows them, and DAN and DANN compare the domains, as in
    their papers, whose targets have no labels.

    Args:
        name: of the method, for errors.
        method: the method.
        lambda_: lambda of eq. 13; at 1 a phase with a click loss learns no categories of the source.

    Raises:
        UserError: the target has a head of its own, which then learns nothing; or nothing is left that learns
            categories.
    """
    phases = []
    for phase in method.phases:
        if phase.recognise == ("source", "target"):
            if not phase.shared_head:
                raise UserError(
                    f"{name} has a head for the target alone, which learns nothing without its labels; use one with a"
                    " head for both domains, such as MTMDD-VM-star"
                )
            phases.append(replace(phase, unlabelled=("target",)))
        elif "target" not in phase.recognise:
            phases.append(phase)
    if not any(phase.recognise and (phase.clicks == "none" or lambda_ < 1) for phase in phases):
        raise UserError(f"{name} learns categories from the target's labels alone, and can't do without them")
    return replace(method, phases=tuple(phases))


METHODS: dict[str, Method] = {
    "VGGimg": Method(
        about="start weights, fine-tuned on the target; for Acc-S also fine-tuned on the source alone",
        phases=(SOURCE_VISUAL, PhasePlan(name="target", recognise=("target",), features="visual")),
    ),
    "VGGsrc": Method(
        about="start weights, fine-tuned on the source, then on the target",
        phases=(SOURCE_VISUAL, PhasePlan(name="target", recognise=("target",), features="visual", start="source")),
    ),
    "TDL7": Method(
        about="TDL [7]: linear embedding and count loss; click predictor first, then recogniser",
        phases=two_steps("count"),
        linear_embedding=True,
    ),
    "TDL": Method(
        about="the same with the nonlinear embedding and the position loss",
        phases=two_steps("count+position"),
    ),
    "MTTDL": Method(
        about="TDL whose first phase also recognises the source (eq. 14)",
        phases=two_steps("multitask"),
    ),
    "MTMDD-VM": Method(about="both domains and both tasks at once, separate heads", phases=both_at_once(False)),
    "MTMDD-VM-star": Method(about="MTMDD-VM*: the same with one head for both domains", phases=both_at_once(True)),
}


def check_names(names: list[str], known: Mapping[str, Method] = METHODS) -> list[str]:
    """Check method names; with two arguments, whether they are among the known ones.

    Raises:
        ValueError: a name is unknown or listed twice.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown methods {unknown}; known methods: {', '.join(known)}")
    if len(set(names)) < len(names):
        raise ValueError(f"a method is listed twice: {names}")
    return names


def weigh(plan: PhasePlan, objective: ObjectiveParams) -> Phase:
    """Return a phase with its loss weights.

    A term of weight 0 (for example with tau = 0) is left out, and so are its parameters. Without any recognition term
    the phase has no `features` (lambda = 1 in MTTDL's first phase, which is then TDL's).

    If lambda = 1 removes the source's recognition while the target is recognised (MDD-VM and MDD-VM* of Table VII), the
    source keeps a recogniser, unlearned: a separate head stays as initialised, a shared head learns from the target
    alone. The source's N still follows the source's images.

    Raises:
        UserError: the weights remove something that the phase needs; for example, mu = 0 leaves a shared head with one
            domain.
    """
    share = objective.lambda_ if plan.clicks != "none" and "source" in plan.recognise else None
    has_position = plan.clicks == "count+position" or (plan.clicks == "multitask" and objective.multitask_position)
    tau = objective.tau if has_position else 0.0
    clicks = 0.0 if plan.clicks == "none" else 1.0 if share is None else share
    both = plan.clicks != "none" or "source" in plan.recognise
    of_objective = objective.mu_shared_head if plan.shared_head else objective.mu_separate_heads
    mu = (of_objective if plan.mu is None else plan.mu) if both else 1.0
    weights: list[tuple[Domain, Literal["recognition", "count", "position", "own"], float]] = [
        ("source", "recognition", (1.0 if share is None else 1 - share) * ("source" in plan.recognise)),
        ("source", "count", clicks * (1 - tau) * (plan.clicks != "own")),
        ("source", "own", clicks * (plan.clicks == "own")),
        ("source", "position", clicks * tau),
        ("target", "recognition", mu * ("target" in plan.recognise and "target" not in plan.unlabelled)),
    ]
    weights = [term for term in weights if term[2] > 0]
    with_loss = {domain for domain, _, _ in weights}
    # the objective is a mean over all images of a step; those without labels have no loss and don't count
    num_means = (
        len(with_loss)
        if objective.mean_over == "domain"
        else len(with_loss.union(plan.unlabelled)) / max(len(with_loss), 1)
    )
    half = {"count": 0.5, "position": 0.5} if objective.halved_click_losses else {}
    losses = [
        LossTerm(domain=domain, kind=kind, weight=round(weight * num_means * half.get(kind, 1.0), 12))
        for domain, kind, weight in weights
    ]
    learned = [domain for domain, kind, _ in weights if kind == "recognition"]
    present = with_loss.union(plan.unlabelled)
    unlearned = [domain for domain in plan.recognise if learned and domain in present and domain not in learned]
    content = {
        "name": plan.name,
        "losses": losses,
        "start": plan.start if isinstance(plan.start, str) else dict(plan.start),
        "frozen": list(plan.frozen),
        "features": plan.features if learned else None,
        "shared_head": plan.shared_head,
        "unlearned": unlearned or None,
        "unlabelled": list(plan.unlabelled) or None,
        "epoch_domain": "target" if "target" in plan.unlabelled else None,  # as many steps as with labels
        "fitted": plan.fitted or None,
    }
    where = f"objective with lambda = {objective.lambda_}, tau = {objective.tau}, mu = {mu}"
    return validate_section(Phase, f"phase {plan.name}", content, where)

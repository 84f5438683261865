"""The parameters, the runs, each written as a text, and the recipe that a training reads.

| text | run |
|---|---|
| ``DCKT`` | the paper's model: `DCKT_Full` of its Table 3 |
| ``before`` | the target network alone, before any transfer: `Model_t(0)` |
| ``media``, ``correlation`` | one level of the transfer: `Transfer_1`, `Transfer_2` |
| ``no_mmd`` | control: the same training with nothing between the two networks |
| ``all``, ``random`` | all target pairs in each iteration, or as many as the rule chose, drawn without it |
| ``no_shared`` | without the source's categories that the target has, too |
| ``texts_shuffled`` | control: the source's texts belong to other images |
| ``fine_tuned`` | the target network alone, but started from the source's weights: the plain way to transfer |
| ``alpha=0.4`` | another alpha of eq. 13 |
| ``rule=released``, ``estimator=quadruples`` | as the released code selects pairs, or estimates the MMD |
| ``CCA``, ``two-tower``, ... | a comparison method, trained on the target alone: `BASELINES` |

Each may end in ``_pairs=10``: at most so many training pairs of each target category.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from base.console import UserError
from base.params import Params, load_recipe
from model.training.params import ScheduleParams, TrainParams

SOURCE, TARGET, TRANSFER = "source", "target", "transfer"  # phases; the first two are also the domains
DOMAINS = (SOURCE, TARGET)
FULL, BEFORE, FINE_TUNED = "DCKT", "before", "fine_tuned"
Selection = Literal["progressive", "all", "random"]
SourcePairs = Literal["all", "no_shared", "texts_shuffled"]
Start = Literal["new", "source"]
Rule = Literal["paper", "released"]
Estimator = Literal["all pairs", "quadruples"]
BASELINES = ("CCA", "KCCA", "CFA", "JRL", "Corr-AE", "Deep-SM", "ACMR", "two-tower")
PLAIN = (
    FULL, BEFORE, "media", "correlation", "no_mmd", "all", "random", "no_shared", "texts_shuffled", FINE_TUNED,
)  # fmt: skip
CHANGES = {"alpha": float, "rule": str, "estimator": str}  # parameters that a run may change, with their types
PAIRS = re.compile(r"(.+)_pairs=([1-9]\d*)")


class NetworkParams(Params):
    """The network of a domain, section 3 of the paper; both domains have the same sizes and share no weight."""

    hidden: int = Field(description="units of fc6, fc7 (of each medium), fc8 and fc9; the paper's: 4096", ge=2)
    normalise: Literal["texts", "both"] = Field(
        description="the media whose input features are standardised by batch statistics; texts: as released; both: "
        "image features of any scale"
    )
    dropout: float = Field(description="share of the hidden units dropped; 0: as released", ge=0, lt=1)


class ObjectiveParams(Params):
    """The weights of the losses, eq. 1 to 10; the paper gives none, presets have those of its released code."""

    media: float = Field(description="of the MMD at fc6 and fc7 of each medium", ge=0)
    fc8: float = Field(description="of the MMD at fc8, images and texts together", ge=0)
    fc9: float = Field(description="of the MMD at fc9", ge=0)
    pairs: float = Field(description="of the squared distance of a pair's two media, at fc6 and fc7", ge=0)
    source: float = Field(description="of the source's cross-entropy during the transfer; pre-training has 1", ge=0)
    target: float = Field(description="of the target's cross-entropy", gt=0)
    estimator: Estimator = Field(description="of the MMD; quadruples: as released")


class PhasesParams(TrainParams):
    """How all phases are trained; `epochs` is for the source's pre-training."""

    target_epochs: int = Field(description="of the target's pre-training: passes over its training pairs", ge=1)
    bias_rate: float = Field(description="times learning_rate: the rate of biases; 2: as released", gt=0)

    def common(self) -> dict[str, Any]:
        """Return the parameters that the trainer knows, by name."""
        return self.model_dump(exclude={"target_epochs", "bias_rate"})


class TransferParams(Params):
    """The progressive transfer, section 4 of the paper."""

    iterations: int = Field(description="MI; the paper's: 10", ge=1)
    source_passes: int = Field(description="Ep, passes over the source in an iteration; the paper's: 1", ge=1)
    alpha: float = Field(description="largest probability of a target pair to be chosen; the paper's: 0.2", gt=0, le=1)
    rule: Rule = Field(description="eq. 13; or released: the natural logarithm of unscaled AP")
    rate: float = Field(description="times train.learning_rate: the peak rate of the transfer", gt=0)
    schedule: ScheduleParams

    def trained_as(self, phases: PhasesParams) -> TrainParams:
        """Return the training parameters of the transfer, whose epochs are its iterations."""
        changed = {
            "epochs": self.iterations,
            "learning_rate": phases.learning_rate * self.rate,
            "schedule": self.schedule.model_dump(),
            "early_stopping": None,
        }
        return TrainParams.model_validate({**phases.common(), **changed})


@dataclass(frozen=True)
class Point:
    """A run: its beginning, and what differs from the parameters.

    Attributes:
        base: one of `PLAIN` or `BASELINES`.
        pairs: training pairs of each target category at most; None: all.
        changes: of `CHANGES`, at most one.
    """

    base: str
    pairs: int | None = None
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The run's text."""
        changed = "".join(f"{name}={value}" for name, value in self.changes)
        return (changed or self.base) + ("" if self.pairs is None else f"_pairs={self.pairs}")

    @property
    def is_baseline(self) -> bool:
        """Whether the run is a comparison method."""
        return self.base in BASELINES


def read_run(text: str) -> Point:
    """Return the run that a text names.

    Raises:
        ValueError: it names none, or not in the usual form; the message describes the expected form.
    """
    found = PAIRS.fullmatch(text)
    beginning, pairs = (found[1], int(found[2])) if found else (text, None)
    if beginning in PLAIN + BASELINES:
        return Point(beginning, pairs)
    name, _, value = beginning.partition("=")
    if name not in CHANGES:
        known = ", ".join((*PLAIN, *(f"{change}=.." for change in CHANGES), *BASELINES))
        raise ValueError(f"{text!r}: expected one of {known}, and perhaps _pairs=10 after it")
    try:
        point = Point(FULL, pairs, ((name, CHANGES[name](value)),))
    except ValueError:
        raise ValueError(f"{text!r}: {name}: expected a number") from None
    if point.name != text:
        raise ValueError(f"{text!r}: write {point.name!r}")
    return point


class RunsParams(Params):
    """What is trained."""

    networks: list[str] = Field(description="DCKT and its studies, one training per seed each; systems/dckt/config.py")
    baselines: list[str] = Field(description="comparison methods, all in one stage; systems/dckt/config.py")

    @field_validator("networks", "baselines")
    @classmethod
    def _are_runs(cls, runs: list[str], about: ValidationInfo) -> list[str]:
        for text in runs:
            if read_run(text).is_baseline != (about.field_name == "baselines"):
                raise ValueError(f"{text!r}: {', '.join(BASELINES)} are listed in dckt.runs.baselines, others not")
        if len(set(runs)) < len(runs):
            raise ValueError(f"a run is listed twice: {runs}")
        return runs

    @property
    def every(self) -> list[str]:
        """All runs."""
        return [*self.networks, *self.baselines]


class Recipe(Params):
    """Everything that a training depends on besides data and seed."""

    run: str
    pairs: int | None
    network: NetworkParams
    objective: ObjectiveParams
    train: PhasesParams
    transfer: TransferParams | None  # None: the run has no transfer
    selection: Selection
    source: SourcePairs
    start: Start  # of the target's pre-training: new weights, or those of the source's network, except fc10


def recipe_of(
    point: Point, network: NetworkParams, objective: ObjectiveParams, train: PhasesParams, transfer: TransferParams
) -> Recipe:
    """Return the recipe of a run that is no comparison method.

    Raises:
        UserError: a changed value is out of its range.
    """
    weights, selected = objective.model_dump(), transfer.model_dump()
    if point.base == "media":
        weights |= {"fc8": 0.0, "fc9": 0.0}
    elif point.base == "correlation":
        weights |= {"media": 0.0}
    elif point.base == "no_mmd":
        weights |= {"media": 0.0, "fc8": 0.0, "fc9": 0.0}
    for name, value in point.changes:
        (weights if name in weights else selected)[name] = value
    content = {
        "run": point.name,
        "pairs": point.pairs,
        "network": network.model_dump(),
        "objective": weights,
        "train": train.model_dump(),
        "transfer": None if point.base in (BEFORE, FINE_TUNED) else selected,
        "selection": point.base if point.base in get_args(Selection) else "progressive",
        "source": point.base if point.base in get_args(SourcePairs)[1:] else "all",
        "start": "source" if point.base == FINE_TUNED else "new",
    }
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UserError(f"dckt.runs: {point.name!r}: {problems}") from None


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: the file doesn't exist, is not a regular file, or is not a recipe.
    """
    return load_recipe(Recipe, path, "systems.dckt.recipes")

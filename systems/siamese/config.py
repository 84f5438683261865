"""The parameters, the runs, each written as a text, and the recipe that a training reads.

| text | run |
|---|---|
| ``given`` | the data set's own labels |
| ``given-cleaned`` | the same, without the images that `cleaning:clean` drops (by clicks and probability: Table II) |
| ``given-most-clicked``, ``given-most-probable``, ``given-drawn`` | as many of them, chosen in another way: labels.py |
| ``clicks`` | labels from clicks: the best category of `label_from_clicks` |
| ``given-denoised``, ``clicks-denoised`` | the labels that `systems.cleaning.denoise` keeps, some under another name |
| ``both-denoised`` | the same of given labels and clicks, judged together |
| ``truth`` | an upper bound: the true categories of the key `siamese.plan.truth` |
| ``clicks_frozen`` | a frozen ConvNet with a small head instead of the trainings; listed in `siamese.plan.frozen` |
| ``clicks-denoised_soft`` | trained on the probabilities of all categories that denoising leaves possible |
| ``clicks_targets=3`` | and three target images of each category; ``targets=all``: all but the test images |
| ``clicks_pair_weight=0.5``, ``clicks_margin=1.5`` | another lambda or m of the pair loss |
| ``clicks_loss=triplet`` | a baseline: the triplet loss in place of the contrastive one |
| ``clicks_pairs=confusable`` | half of a step's categories are neighbours in the confusion matrix |
| ``clicks_pairs=shuffled`` | control: pairs are positive or negative at random |

The options have this order. Each run but the frozen ones has the phase `softmax` and, from its weights, `siamese`. A
run without changed pairs also has the phase `control` between them: the same steps with a pair weight of 0.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from base.console import UserError
from base.params import Params, load_recipe
from model.classifier_params import ClassifierParams, TrainParams

Labels = Literal[
    "given",
    "given-cleaned",
    "given-most-clicked",
    "given-most-probable",
    "given-drawn",
    "given-denoised",
    "clicks",
    "clicks-denoised",
    "both-denoised",
    "truth",
]
PairLoss = Literal["contrastive", "triplet"]
Pairs = Literal["random", "confusable", "shuffled"]
LABELS: tuple[Labels, ...] = get_args(Labels)
PAIRS: tuple[Pairs, ...] = get_args(Pairs)
DENOISED = tuple(labels for labels in LABELS if labels.endswith("-denoised"))
SOFTMAX, CONTROL, SIAMESE = PHASES = ("softmax", "control", "siamese")
FROZEN = "frozen"  # the phase of a run with a frozen ConvNet, and the folder of their evaluations
LEFT_OUT = "left out"  # `split` of target images that are neither tested nor trained on
OPTION = re.compile(r"_(?=(?:frozen|soft)(?:_|$)|(?:targets|pair_weight|margin|loss|pairs)=)")
TEXTS = ("loss", "pairs")  # changes whose values are no numbers


@dataclass(frozen=True)
class Point:
    """A run: where the source's labels come from, and what differs from the parameters.

    Attributes:
        labels: the source's labels.
        frozen: whether the ConvNet is frozen and only a small head is trained.
        soft: whether the labels are probabilities of several categories.
        targets: labelled target images of each category in the training; None: all but the test images.
        changes: of `FineTuningParams`, by name, in the text's order.
    """

    labels: Labels
    targets: int | None = 0
    frozen: bool = False
    soft: bool = False
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The run's text."""
        options = [name for name in ("frozen", "soft") if getattr(self, name)]
        if self.targets != 0:
            options.append(f"targets={'all' if self.targets is None else self.targets}")
        return "_".join([self.labels, *options, *(f"{name}={value}" for name, value in self.changes)])


def read_run(text: str) -> Point:
    """Return the run that a text names.

    Raises:
        ValueError: it names none, or not in the usual form; the message describes the expected form.
    """
    beginning, *options = OPTION.split(text)
    labels = next((name for name in LABELS if name == beginning), None)
    if labels is None:
        raise ValueError(f"{text!r}: expected labels ({', '.join(LABELS)}), with options such as _targets=3")
    targets: int | None = 0
    changes: dict[str, Any] = {}
    for option in options:
        name, _, value = option.partition("=")
        try:
            if name == "targets":
                targets = None if value == "all" else int(value)
            elif value:
                changes[name] = value if name in TEXTS else float(value)
        except ValueError:
            raise ValueError(f"{text!r}: {option!r}: expected a number") from None
    point = Point(labels, targets, "frozen" in options, "soft" in options, tuple(changes.items()))
    if point.name != text or (targets is not None and targets < 0):
        raise ValueError(
            f"{text!r}: expected each option once, in the order frozen, soft, targets, numbers as in {point.name!r}"
        )
    if point.soft and labels not in DENOISED:
        raise ValueError(f"{text!r}: only denoised labels can be soft, expected one of {', '.join(DENOISED)}")
    if point.frozen and changes:
        raise ValueError(f"{text!r}: a frozen ConvNet has no fine-tuning; expected no option but soft and targets")
    return point


class PlanParams(Params):
    """What is trained."""

    data_set: str = Field(description="one of data_sets")
    truth: str | None = Field(
        description="a key of the source's true categories, for the labels `truth` alone: lines of image id, tab, "
        "category; null: none"
    )
    denoised: list[Literal["given", "clicks", "both"]] = Field(
        description="labels that `systems.cleaning.denoise` judges; both: given ones and clicks, together"
    )
    runs: list[str] = Field(description="the trainings, one per seed each; docs: systems/siamese/config.py")
    frozen: list[str] = Field(description="the runs with a frozen ConvNet; all take seconds")

    @field_validator("runs", "frozen")
    @classmethod
    def _are_runs(cls, runs: list[str], info: ValidationInfo) -> list[str]:
        for text in runs:
            if read_run(text).frozen != (info.field_name == FROZEN):
                raise ValueError(f"{text!r}: runs with the option frozen are listed in siamese.plan.frozen, others not")
        if len(set(runs)) < len(runs):
            raise ValueError(f"a run is listed twice: {runs}")
        return runs

    @model_validator(mode="after")
    def _labels_where_needed(self) -> "PlanParams":
        used = {point.labels for point in self.every_point}
        needed = {labels.removesuffix("-denoised") for labels in used & set(DENOISED)}
        if missing := sorted(needed - set(self.denoised)):
            raise ValueError(f"runs need denoised labels: add {', '.join(missing)} to denoised, now {self.denoised}")
        if "truth" in used and self.truth is None:
            raise ValueError("runs need the true categories: name a key in truth, now null")
        return self

    @property
    def points(self) -> list[Point]:
        """The trained runs."""
        return [read_run(text) for text in self.runs]

    @property
    def every_point(self) -> list[Point]:
        """The trained runs, and those with a frozen ConvNet."""
        return [*self.points, *(read_run(text) for text in self.frozen)]


class FineTuningParams(Params):
    """The siamese phase, and its control."""

    epochs: int = Field(description="of about as many images as a pass over the training images", ge=1)
    rate: float = Field(description="times train.learning_rate: the ConvNet's peak rate", gt=0)
    categories: int = Field(description="categories of a step, P; even", ge=4, multiple_of=2)
    images: int = Field(description="images of each of them, Q", ge=2)
    margin: float = Field(
        description="m: negative pairs farther apart cost nothing; triplet: negatives whose squared distance is larger "
        "by it",
        gt=0, le=2,
    )  # fmt: skip
    pair_weight: float = Field(description="lambda: weight of the pair loss against the cross-entropy", ge=0)
    loss: PairLoss = Field(description="of pairs; or of triplets, a baseline")
    pairs: Pairs = Field(
        description="random categories; confusable: half of a step's are neighbours in the confusion matrix on the "
        "source's validation images; shuffled: positive and negative at random, a control"
    )

    @property
    def categories_per_draw(self) -> int:
        """A draw is a category, or a category with one of its neighbours."""
        return 2 if self.pairs == "confusable" else 1

    def trained_as(self, train: TrainParams) -> TrainParams:
        """Return the training parameters of the phase; its batches are draws of categories.

        Args:
            train: of the phase `softmax`.
        """
        changed = {
            "epochs": self.epochs,
            "batch_size": self.categories // self.categories_per_draw,
            "learning_rate": train.learning_rate * self.rate,
        }
        return TrainParams.model_validate({**train.model_dump(), **changed})


class Recipe(Params):
    """Everything that a training depends on besides data and seed."""

    run: str
    labels: Labels
    soft: bool
    targets: int | None
    network: ClassifierParams
    train: TrainParams
    fine_tuning: FineTuningParams
    control: bool


def recipe_of(point: Point, network: ClassifierParams, train: TrainParams, fine_tuning: FineTuningParams) -> Recipe:
    """Return the recipe of a run.

    Raises:
        UserError: a changed value is out of its range, or the steps are too small for `train.accumulation`.
    """
    try:
        changed = FineTuningParams.model_validate({**fine_tuning.model_dump(), **dict(point.changes)})
        changed.trained_as(train)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UserError(f"siamese.plan.runs: {point.name!r}: {problems}") from None
    return Recipe(
        run=point.name,
        labels=point.labels,
        soft=point.soft,
        targets=point.targets,
        network=network,
        train=train,
        fine_tuning=changed,
        control=not point.changes,
    )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: the file doesn't exist, is not a regular file, or is not a recipe.
    """
    return load_recipe(Recipe, path, "systems.siamese.recipes")

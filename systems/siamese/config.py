"""The parameters, the runs, each written as a text, and the recipe that a training reads.

| text | run |
|---|---|
| ``given`` | the data set's own labels |
| ``given-cleaned`` | the same, without the images that `cleaning:clean` drops (Table II) |
| ``clicks`` | labels from clicks: the best category of `label_from_clicks` |
| ``given-denoised``, ``clicks-denoised`` | the labels that `systems.cleaning.denoise` keeps, some under another name |
| ``clicks_targets=3`` | and three target images of each category; ``targets=all``: all but the test images |
| ``clicks_pair_weight=0.5``, ``clicks_margin=1.5`` | another lambda or m of the pair loss |
| ``clicks_pairs=confusable`` | half of a step's categories are neighbours in the confusion matrix |
| ``clicks_pairs=shuffled`` | control: pairs are positive or negative at random |

Each run has the phase `softmax` and, from its weights, `siamese`. A run without changed pairs also has the phase
`control` between them: the same steps with a pair weight of 0.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from base.console import UserError
from base.inputs import check_file
from base.params import Params
from model.classifier_params import ClassifierParams, TrainParams

Labels = Literal["given", "given-cleaned", "given-denoised", "clicks", "clicks-denoised"]
Pairs = Literal["random", "confusable", "shuffled"]
LABELS: tuple[Labels, ...] = get_args(Labels)
PAIRS: tuple[Pairs, ...] = get_args(Pairs)
SOFTMAX, CONTROL, SIAMESE = PHASES = ("softmax", "control", "siamese")
OPTION = re.compile(r"_(?=(?:targets|pair_weight|margin|pairs)=)")


@dataclass(frozen=True)
class Point:
    """A run: where the source's labels come from, and what differs from the parameters.

    Attributes:
        labels: the source's labels.
        targets: labelled target images of each category in the training; None: all but the test images.
        changes: of `FineTuningParams`, by name, in the text's order.
    """

    labels: Labels
    targets: int | None = 0
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The run's text."""
        targets = [] if self.targets == 0 else [f"targets={'all' if self.targets is None else self.targets}"]
        return "_".join([self.labels, *targets, *(f"{name}={value}" for name, value in self.changes)])


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
            else:
                changes[name] = value if name == "pairs" else float(value)
        except ValueError:
            raise ValueError(f"{text!r}: {option!r}: expected a number") from None
    point = Point(labels, targets, tuple(changes.items()))
    if point.name != text or (targets is not None and targets < 0):
        raise ValueError(f"{text!r}: expected each option once, targets first, numbers as in {point.name!r}")
    return point


class PlanParams(Params):
    """What is trained."""

    data_set: str = Field(description="one of data_sets")
    denoised: list[Literal["given", "clicks"]] = Field(description="labels that `systems.cleaning.denoise` judges")
    runs: list[str] = Field(description="the trainings, one per seed each; docs: systems/siamese/config.py")

    @field_validator("runs")
    @classmethod
    def _are_runs(cls, runs: list[str]) -> list[str]:
        for text in runs:
            read_run(text)
        if len(set(runs)) < len(runs):
            raise ValueError(f"a run is listed twice: {runs}")
        return runs

    @model_validator(mode="after")
    def _denoised_where_needed(self) -> "PlanParams":
        needed = {point.labels.removesuffix("-denoised") for point in self.points if "-denoised" in point.labels}
        if missing := sorted(needed - set(self.denoised)):
            raise ValueError(f"runs need denoised labels: add {', '.join(missing)} to denoised, now {self.denoised}")
        return self

    @property
    def points(self) -> list[Point]:
        """The runs."""
        return [read_run(text) for text in self.runs]


class FineTuningParams(Params):
    """The siamese phase, and its control."""

    epochs: int = Field(description="of about as many images as a pass over the training images", ge=1)
    rate: float = Field(description="times train.learning_rate: the ConvNet's peak rate", gt=0)
    categories: int = Field(description="categories of a step, P; even", ge=4, multiple_of=2)
    images: int = Field(description="images of each of them, Q", ge=2)
    margin: float = Field(description="m: negative pairs farther apart cost nothing", gt=0, le=2)
    pair_weight: float = Field(description="lambda: weight of the pair loss against the cross-entropy", ge=0)
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
    check_file(path)
    try:
        return Recipe.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such recipe; run python -m systems.siamese.recipes") from None
    except ValidationError as error:
        raise UserError(f"{path}: not a recipe: {error}; run python -m systems.siamese.recipes") from None

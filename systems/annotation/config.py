"""The parameters, the runs, each written as a text, and the recipe that a training reads.

| text | run |
|---|---|
| ``MS-CNN`` | the paper's network: all phases, so that it has every row of the component tables |
| ``MS-CNN_fusion=average``, ``=maximum`` | stages pooled and concatenated; max pooling for 3 x 3 convolution |
| ``MS-CNN_first=3`` | only the stages from the third on are fused |
| ``MS-CNN_loss=softmax``, ``=warp``, ``=asymmetric`` | another loss of label sets, for CNN and MS-CNN |
| ``MS-CNN_tags=vectors`` | word vectors of tags, summed, instead of the perceptron |
| ``MS-CNN_tags=shuffled`` | control: every image has the tags of another one |
| ``MS-CNN_quantity=classes`` | numbers of labels as classes instead of a regression |
| ``MS-CNN_joint`` | and the end-to-end variant, from the phases before |
| ``CNN-RNN`` | a comparison method: the plain CNN, and labels one after another; it has no options |

The options have this order. A run has these phases; each is trained apart, and what came before is frozen:

| phase | trains | with |
|---|---|---|
| ``cnn`` | ConvNet (unless frozen) and label layer on the mean of its last map | label loss |
| ``fused`` | fusion blocks and label layer on f_v | label loss |
| ``tags`` | tag perceptron and label layer on f_t | label loss |
| ``labels`` | label layer on [f_v, f_t] | label loss |
| ``quantity_visual``, ``quantity`` | number of labels, on f_v and on [f_v, f_t] | squared error |
| ``joint`` | everything but the ConvNet, with both heads on [f_v, f_t] | the sum of both losses |
| ``chain`` | LSTM over the image's labels, on the mean of CNN's last map | -log of their probability |

`CNN-RNN` has the phases `cnn` and `chain`. Runs that change the fusion, its first stage or the loss have the first two
alone.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from base.console import UserError
from base.params import Params, load_recipe
from model.classifier_params import TrainParams
from model.nets.params import BackboneParams

Fusion = Literal["blocks", "average", "maximum"]
Tags = Literal["perceptron", "vectors", "shuffled"]
Quantity = Literal["regression", "classes"]
Loss = Literal["binary", "softmax", "warp", "asymmetric"]
CNN, FUSED, TAGS, LABELS = "cnn", "fused", "tags", "labels"
QUANTITY_VISUAL, QUANTITY, JOINT, CHAIN = "quantity_visual", "quantity", "joint", "chain"
PHASES = (CNN, FUSED, TAGS, LABELS, QUANTITY_VISUAL, QUANTITY, JOINT)
BASE, RECURRENT = "MS-CNN", "CNN-RNN"
CHOICES: dict[str, tuple[str, ...]] = {
    "fusion": get_args(Fusion),
    "tags": get_args(Tags),
    "quantity": get_args(Quantity),
    "loss": get_args(Loss),
}
USUAL = {"fusion": "blocks", "first": 1, "tags": "perceptron", "quantity": "regression", "loss": "binary"}
VISUAL = ("fusion", "first", "loss")  # changes that concern the first two phases
OPTION = re.compile(r"_(?=joint$|(?:fusion|first|tags|quantity|loss)=)")


@dataclass(frozen=True)
class Point:
    """A run.

    Attributes:
        changes: what differs from `USUAL`, by name, in the text's order.
        joint: whether the end-to-end variant is trained, too.
        recurrent: whether it is `CNN-RNN`, which has no changes.
    """

    changes: tuple[tuple[str, Any], ...] = ()
    joint: bool = False
    recurrent: bool = False

    @property
    def name(self) -> str:
        """The run's text."""
        if self.recurrent:
            return RECURRENT
        return "_".join(
            [BASE, *(f"{name}={value}" for name, value in self.changes), *(["joint"] if self.joint else [])]
        )

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases that are trained, in order."""
        if self.recurrent:
            return (CNN, CHAIN)
        if any(name in VISUAL for name, _ in self.changes):
            return (CNN, FUSED)
        return PHASES if self.joint else PHASES[:-1]


def read_run(text: str) -> Point:
    """Return the run that a text names.

    Raises:
        ValueError: it names none, or not in the usual form; the message describes the expected form.
    """
    if text == RECURRENT:
        return Point(recurrent=True)
    beginning, *options = OPTION.split(text)
    joint = bool(options) and options[-1] == "joint"
    changes: dict[str, Any] = {}
    for option in options[: len(options) - joint]:
        name, _, value = option.partition("=")
        if name == "first" and value.isdecimal():
            changes[name] = int(value)
        elif value in CHOICES.get(name, ()):
            changes[name] = value
        else:
            known = "a number" if name == "first" else ", ".join(CHOICES.get(name, ()))
            raise ValueError(f"{text!r}: {option!r}: expected {name}={known}")
    ordered = tuple((name, changes[name]) for name in USUAL if name in changes)
    point = Point(ordered, joint)
    if beginning != BASE or point.name != text or any(USUAL[name] == value for name, value in ordered):
        options_text = ", ".join(f"_{name}=" for name in USUAL)
        raise ValueError(
            f"{text!r}: expected {RECURRENT}, or {BASE}, with options such as _first=3, each once and other than "
            f"usual, in the order {options_text}, _joint"
        )
    if joint and point.phases != PHASES:
        raise ValueError(f"{text!r}: the end-to-end variant needs all phases, so no {', '.join(VISUAL)} may be changed")
    return point


class PlanParams(Params):
    """What is prepared and trained."""

    sets: list[str] = Field(description="data sets to prepare: data/raw/<name>, a folder or a link; [] for none")
    data_set: str = Field(description="the one of them that the runs work on")
    runs: list[str] = Field(description="the trainings, one per seed each; docs: systems/annotation/config.py")
    baselines: list[str] = Field(
        description="runs on whose CNN features TagNeighbour and a logistic regression are measured, too"
    )

    @field_validator("runs")
    @classmethod
    def _are_runs(cls, runs: list[str]) -> list[str]:
        for text in runs:
            read_run(text)
        if len(set(runs)) < len(runs):
            raise ValueError(f"a run is listed twice: {runs}")
        return runs

    @model_validator(mode="after")
    def _names_are_listed(self) -> "PlanParams":
        if missing := sorted(set(self.baselines) - set(self.runs)):
            raise ValueError(f"baselines: {', '.join(missing)} is not among the runs {self.runs}")
        if self.runs and self.data_set not in self.sets:
            raise ValueError(f"data_set {self.data_set!r} is not among the sets {self.sets}")
        return self

    @property
    def points(self) -> list[Point]:
        """The runs."""
        return [read_run(text) for text in self.runs]


class ChainParams(Params):
    """The recurrent network of `CNN-RNN`."""

    embedding: int = Field(description="length of a label's embedding; the reference: 64", ge=1)
    hidden: int = Field(description="units of the LSTM; the reference: 512", ge=1)
    beam: int = Field(description="beginnings of paths that the search keeps in every step", ge=1)


class NetworkParams(BackboneParams):
    """The network."""

    frozen: bool = Field(
        description="whether the ConvNet keeps its start weights, so that cnn trains the label layer only"
    )
    kept_maps: bool = Field(
        description="whether fused learns from the middle crops' maps, computed once and kept in memory (twice during "
        "that), instead of random crops; 0.3 MB an image for MobileNetV2 at 97 pixels"
    )
    tag_units: int = Field(description="units of each layer of the tag perceptron; the paper: 2048", ge=1)
    quantity_dropout: float = Field(
        description="share of the hidden units dropped that predict the quantity", ge=0, lt=1
    )
    word_vectors: str | None = Field(
        description="file of word vectors for tags=vectors: lines of word, numbers, separated by spaces; null: none"
    )
    chain: ChainParams = Field(description="of the run CNN-RNN")


class StageParams(Params):
    """A phase after the first."""

    epochs: int = Field(description="passes over the training images, at most", ge=1)
    learning_rate: float = Field(description="peak rate of all that is trained", gt=0)


class StagesParams(Params):
    """The phases after `cnn`, which `annotation.train` describes."""

    fused: StageParams = Field(description="fusion blocks")
    tags: StageParams = Field(description="tag perceptron")
    labels: StageParams = Field(description="label layer on both features")
    quantity: StageParams = Field(description="number of labels, both phases")
    joint: StageParams = Field(description="end to end")
    chain: StageParams = Field(description="labels one after another, of the run CNN-RNN")

    def trained_as(self, phase: str, train: TrainParams) -> TrainParams:
        """Return the training parameters of a phase.

        Args:
            phase: its name.
            train: of the phase `cnn`.
        """
        if phase == CNN:
            return train
        mine: StageParams = getattr(self, QUANTITY if phase == QUANTITY_VISUAL else phase)
        return TrainParams.model_validate({**train.model_dump(), **mine.model_dump()})


class Recipe(Params):
    """Everything that a training depends on besides data and seed."""

    run: str
    phases: list[str]
    fusion: Fusion
    first: int
    tags: Tags
    quantity: Quantity
    loss: Loss
    top: int = Field(ge=1)
    network: NetworkParams
    train: TrainParams
    stages: StagesParams


def recipe_of(point: Point, top: int, network: NetworkParams, train: TrainParams, stages: StagesParams) -> Recipe:
    """Return the recipe of a run.

    Raises:
        UserError: the run needs word vectors, and the parameters name none.
    """
    changed: dict[str, Any] = USUAL | dict(point.changes)
    if changed["tags"] == "vectors" and network.word_vectors is None:
        raise UserError(
            f"annotation.plan.runs: {point.name!r} needs word vectors: name annotation.network.word_vectors"
        )
    return Recipe(
        run=point.name, phases=list(point.phases), top=top, network=network, train=train, stages=stages, **changed
    )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: the file doesn't exist, is not a regular file, or is not a recipe.
    """
    return load_recipe(Recipe, path, "systems.annotation.recipes")

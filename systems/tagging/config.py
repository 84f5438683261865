"""The parameters, the runs, each written as a text, and the recipe that a training reads.

| text | run (Tables VII to IX) |
|---|---|
| ``A1`` | the image alone |
| ``A2`` | and the user's history, trained jointly |
| ``A3`` | and the adversary on general tags; the auto-encoder of histories is trained first and then kept as it is |
| ``A5`` | as A6 with the adversary on personal tags |
| ``A6`` | the whole model, trained jointly |
| ``A6_layers=code`` | the layers of the released code |
| ``A6_history=whole`` | a training image's own tags are in its history, as in the paper: a leak |
| ``A6_history=shuffled`` | control: everybody has the history of another user, in training and tests |
| ``A6_history=thinned`` | as by default, and in training each other post's tags are also left out at random |
| ``A6_direct=history`` | personal tags also get what the history itself says of each tag: `network.DirectHistory` |
| ``A6_skips=none`` | no skips in the auto-encoder |
| ``A6_adversary=saturating`` | the adversarial loss of eq. 3 as it stands |
| ``A6_delta=0.1`` | another threshold of the Huber loss |
| ``A6_theta=0``, ``A6_gamma=2`` | another weight of the adversarial loss, of the reconstruction |

Options come in this order. A4 is no training: every evaluation also measures with empty histories.
"""

import re
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from base.console import UserError
from base.params import Params, load_recipe
from model.nets.params import BackboneParams
from model.training import params as training

Method = Literal["A1", "A2", "A3", "A5", "A6"]
HistoryMode = Literal["none", "leave-one-out", "whole", "shuffled", "thinned"]
Adversary = Literal["none", "general", "personal"]
Baseline = Literal["most_used", "own", "interpolated", "user_groups", "fast_tag", "warp", "factorisation"]
METHODS: tuple[Method, ...] = get_args(Method)
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
OF_PICTURES = ("fast_tag", "warp")  # baselines that need pictures
OPTIONS = {
    "layers": ("code",),
    "history": ("whole", "shuffled", "thinned"),
    "direct": ("history",),
    "skips": ("none",),
    "adversary": ("saturating",),
    "delta": float,
    "theta": float,
    "gamma": float,
}
OPTION = re.compile(rf"_(?=(?:{'|'.join(OPTIONS)})=)")
PREFERENCE, JOINT = "preference", "joint"  # phases; the first is that of A3 alone
NO_HISTORY = {"history", "direct", "skips", "delta", "gamma"}  # options of runs with a history


class Point(NamedTuple):
    """A run: a row of Tables VII and VIII, and what differs from the parameters, in the text's order."""

    method: Method
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The run's text."""
        texts = [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in self.options]
        return "_".join([self.method, *texts])


def read_run(text: str) -> Point:
    """Return the run that a text names.

    Raises:
        ValueError: it names none, or not in the usual form; the message describes the expected form.
    """
    beginning, *options = OPTION.split(text)
    method = next((name for name in METHODS if name == beginning), None)
    if method is None:
        raise ValueError(f"{text!r}: expected a method ({', '.join(METHODS)}), with options such as _history=whole")
    found: list[tuple[str, Any]] = []
    for option in options:
        name, _, value = option.partition("=")
        allowed = OPTIONS[name]
        if isinstance(allowed, tuple):
            if value not in allowed:
                raise ValueError(f"{text!r}: {option!r}: expected {name}={' or '.join(allowed)}")
            found.append((name, value))
            continue
        try:
            found.append((name, float(value)))
        except ValueError:
            raise ValueError(f"{text!r}: {option!r}: expected a number") from None
    point = Point(method, tuple(found))
    order = [list(OPTIONS).index(name) for name, _ in found]
    if point.name != text or order != sorted(set(order)):
        raise ValueError(
            f"{text!r}: expected each option once, in the order {', '.join(OPTIONS)}, as in {point.name!r}"
        )
    names = {name for name, _ in found}
    if method == "A1" and names & NO_HISTORY:
        raise ValueError(f"{text!r}: A1 has no history, so {', '.join(sorted(names & NO_HISTORY))} changes nothing")
    if method in ("A1", "A2") and names & {"adversary", "theta"}:
        raise ValueError(f"{text!r}: {method} has no adversary")
    return point


class PlanParams(Params):
    """What is trained."""

    data_set: str = Field(description="one of data_sets")
    logged: list[str] = Field(
        description="[data_set] if it has a log in tag_logs, else []: without a log nothing is embedded or measured",
        max_length=1,
    )
    runs: list[str] = Field(description="the trainings, one per seed each; docs: systems/tagging/config.py")
    baselines: list[Baseline] = Field(description="recommenders that train no network")
    examples: list[str] = Field(description="runs of which the report shows one picture with two users; first seed")

    @field_validator("runs")
    @classmethod
    def _are_runs(cls, runs: list[str]) -> list[str]:
        for text in runs:
            read_run(text)
        if len(set(runs)) < len(runs):
            raise ValueError(f"a run is listed twice: {runs}")
        return runs

    @model_validator(mode="after")
    def _log_where_needed(self) -> "PlanParams":
        if unknown := [run for run in self.examples if run not in self.runs]:
            raise ValueError(f"examples has {unknown[0]!r}, which runs lacks; it has {self.runs}")
        if self.logged not in ([], [self.data_set]):
            raise ValueError(f"logged = {self.logged}: expected [] or [{self.data_set}]")
        if (self.runs or self.baselines) and not self.logged:
            raise ValueError(
                f"runs and baselines need a tag log: name it in tag_logs, and set logged to [{self.data_set}]"
            )
        return self

    @property
    def points(self) -> list[Point]:
        """The runs."""
        return [read_run(text) for text in self.runs]


class NetworkParams(BackboneParams):
    """The networks; layers that the paper gives are lists of widths."""

    input: Literal["images", "features"] = Field(
        description="images: the ConvNet is trained; features: frozen ones of every image are read (cleaning.embed), "
        "and a trained layer stands for the ConvNet"
    )
    adapter: int = Field(description="width of that layer, with features as input", ge=1)
    encoder: list[int] = Field(description="U_E: widths; the last is the code's", min_length=1)
    decoder: list[int] = Field(description="U_D: widths before the layer of tags", min_length=1)
    skips: list[int] = Field(description="widths at which encoder and decoder are joined; []: none")
    code: Literal["relu", "tanh"] = Field(description="activation of the code")
    channels: int = Field(description="of the convolutions of C and G, which the paper leaves open", ge=1)
    hidden: int = Field(description="of the fully connected layer of C, which the paper leaves open", ge=1)
    discriminator: list[int] = Field(description="D: widths before its logit", min_length=1)
    slope: float = Field(description="of D's activation below 0; 0: ReLU", ge=0, lt=1)
    layers: Literal["paper", "code"] = Field(description="the paper's layers, or those of the released code")
    direct: Literal["none", "history"] = Field(
        description="history: the history's own shares of tags are added to the personal logits; none: the paper's"
    )

    @property
    def pixels(self) -> int | None:
        """The shorter side of the pictures that the network sees, before cropping; None: it sees features."""
        return self.resize if self.input == "images" else None

    @field_validator("encoder", "decoder", "skips", "discriminator")
    @classmethod
    def _are_widths(cls, widths: list[int]) -> list[int]:
        if any(width < 1 for width in widths):
            raise ValueError("each width must be at least 1")
        return widths

    @model_validator(mode="after")
    def _skips_join(self) -> "NetworkParams":
        if not set(self.skips) <= set(self.encoder) & set(self.decoder):
            raise ValueError(f"skips {self.skips}: each must be a width of both encoder and decoder")
        return self


class LossParams(Params):
    """The weights of the losses (eq. 5), and their numbers."""

    personal: float = Field(description="alpha: weight of L_p, the cross-entropy of personal tags", ge=0)
    general: float = Field(description="beta: weight of L_g, the cross-entropy of general tags", ge=0)
    gamma: float = Field(description="weight of L_r, the Huber loss of the reconstructed history", ge=0)
    theta: float = Field(description="weight of L_adv, the adversarial loss", ge=0)
    delta: float = Field(description="threshold of the Huber loss; from 1 on it is half the squared error", gt=0)
    saturates: bool = Field(description="L_adv: true: log(1 - D), eq. 3; false: -log D, as the released code")
    kept: float = Field(description="eta of eq. 7: a label of 1 becomes eta plus noise", gt=0, le=1)
    spread: float = Field(description="iota of eq. 7: the noise is uniform in [0, iota)", ge=0, le=1)


class TrainParams(training.TrainParams):
    """Training parameters, with the optimiser."""

    optimiser: Literal["adadelta", "sgd"] = Field(description="adadelta: momentum is not used")


class Recipe(Params):
    """Everything that a training depends on besides data and seed."""

    run: str
    history: HistoryMode
    adversary: Adversary
    joint: bool
    network: NetworkParams
    loss: LossParams
    train: TrainParams


def recipe_of(point: Point, network: NetworkParams, loss: LossParams, train: TrainParams) -> Recipe:
    """Return the recipe of a run.

    Raises:
        UserError: a changed value is out of its range.
    """
    options = dict(point.options)
    history: Any = "none" if point.method == "A1" else options.pop("history", "leave-one-out")
    adversary: Any = {"A1": "none", "A2": "none", "A5": "personal"}.get(point.method, "general")
    of_network, of_loss = network.model_dump(), loss.model_dump()
    of_network |= {name: options.pop(name) for name in ("layers", "direct") if name in options}
    if history == "none":
        of_network["direct"] = "none"
    if options.pop("skips", None):
        of_network["skips"] = []
    if options.pop("adversary", None):
        of_loss["saturates"] = True
    try:
        return Recipe(
            run=point.name,
            history=history,
            adversary=adversary,
            joint=point.method != "A3",
            network=NetworkParams.model_validate(of_network),
            loss=LossParams.model_validate({**of_loss, **options}),
            train=train,
        )
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UserError(f"tagging.plan.runs: {point.name!r}: {problems}") from None


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UserError: the file doesn't exist, is not a regular file, or is not a recipe.
    """
    return load_recipe(Recipe, path, "systems.tagging.recipes")

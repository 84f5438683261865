"""The component studies: what a recipe is at each of their points (Fig. 9 and 12, Tables III to VII).

A point is written ``study=value``, as in ``tau=0.4``, ``features=V+C_E`` or ``lambda=shared-0.8``. What a point does
not vary and the paper does not state is as the parameter file has it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from base.console import UserError
from base.params import validate_section
from systems.mtmdd.config import EmbeddingKind, EmbeddingParams, NetworkParams, ObjectiveParams
from systems.mtmdd.methods import METHODS, Method

HEADS = {"separate": "MTMDD-VM", "shared": "MTMDD-VM-star"}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What decides about a recipe, besides how it is trained.

    Attributes:
        name: of the method.
        method: its phases; a study may have changed them.
        network, objective: the sections of the parameter file; a study may have changed them.
    """

    name: str
    method: Method
    network: NetworkParams
    objective: ObjectiveParams

    @classmethod
    def of(cls, name: str, network: NetworkParams, objective: ObjectiveParams) -> "Setup":
        """Return a method as it is."""
        return cls(name=name, method=METHODS[name], network=network, objective=objective)

    def click_only(self) -> "Setup":
        """Return a method of two steps whose recognisers see v^ alone, the case phi = v^ of eq. 5.

        The whole predictor h of eq. 3 stays as the first step has left it: were the ConvNet trained on through the word
        embedding, what it gives would be no prediction of clicks any more.
        """
        phases = tuple(
            replace(phase, features="click", frozen=("backbone", "embedding")) if phase.start == "predict" else phase
            for phase in self.method.phases
        )
        return replace(self, method=replace(self.method, phases=phases))

    def weighted(self, point: str, **values: float) -> "Setup":
        """Return the same with other values in the section ``objective``."""
        content = self.objective.model_dump(by_alias=True) | values
        return replace(self, objective=validate_section(ObjectiveParams, "objective", content, point))

    def embedded(self, point: str, kind: EmbeddingKind | str | None = None, **sizes: int) -> "Setup":
        """Return the same with another word embedding: a kind that uses what is there, or other sizes."""
        if self.network.embedding is None:
            raise UserError(f"{point}: network.embedding is missing")
        content: dict[str, Any] = self.network.embedding.model_dump() | ({"kind": kind} if kind else {}) | sizes
        embedding = validate_section(EmbeddingParams, "network.embedding", content, point)
        return replace(self, network=self.network.model_copy(update={"embedding": embedding}))


@dataclass(frozen=True, kw_only=True)
class Study:
    """A component study.

    Attributes:
        reference: where the paper has it.
        values: what a value may look like: a regular expression.
        example: such a value.
        paper: the values in the paper's table.
        own: the values that the parameter file itself is at.
        vary: from point, value and the method TDL with the parameter file's sections to the point's setup.
        numeric: the values are numbers, within their series.
    """

    reference: str
    values: str
    example: str
    paper: tuple[str, ...]
    own: Callable[[NetworkParams, ObjectiveParams], tuple[str, ...]]
    vary: Callable[[str, str, Setup], Setup]
    numeric: bool = True


def split_value(value: str) -> tuple[str, str]:
    """Return a value's series and its place there, as in shared, 0.4; or 3 (side of the kernels), 1024.

    The series is empty where the study has just one.
    """
    parts = re.fullmatch(r"(separate|shared)-(.+)|([0-9]+)x([0-9]+)", value)
    return (parts[1] or parts[3], parts[2] or parts[4]) if parts else ("", value)


def _kernels(point: str, value: str, tdl: Setup) -> Setup:
    size, number = map(int, value.split("x"))
    return tdl.click_only().weighted(point, tau=0.0).embedded(point, kernel_size=size, kernels=number)


def _embedding(point: str, value: str, tdl: Setup) -> Setup:
    return tdl.click_only().weighted(point, tau=0.0).embedded(point, kind=value)


def _bandwidth(point: str, value: str, tdl: Setup) -> Setup:
    # "With fixed tau = 0.1 and T = 0.1", which is not the T = 0.16 that the paper then settles on.
    return tdl.click_only().weighted(point, tau=0.1, threshold=0.1, bandwidth=float(value))


def _tau(point: str, value: str, tdl: Setup) -> Setup:
    return tdl.click_only().weighted(point, tau=float(value))


def _features(point: str, value: str, tdl: Setup) -> Setup:
    if value == "V":
        return Setup.of("VGGimg", tdl.network, tdl.objective)
    setup = Setup.of("TDL7", tdl.network, tdl.objective) if value.endswith("7") else tdl
    if value.endswith("C_E"):
        setup = setup.weighted(point, tau=0.0)
    return setup if value.startswith("V+") else setup.click_only()


def _lambda(point: str, value: str, tdl: Setup) -> Setup:
    # "wherein mu is set to be 1"
    heads, _, number = value.partition("-")  # not split: 1e-05
    setup = Setup.of(HEADS[heads], tdl.network, tdl.objective)
    return setup.weighted(point, mu_separate_heads=1.0, mu_shared_head=1.0, **{"lambda": float(number)})


def _mu(point: str, value: str, tdl: Setup) -> Setup:
    heads, _, number = value.partition("-")  # not split: 1e-05
    setup = Setup.of(HEADS[heads], tdl.network, tdl.objective)
    return setup.weighted(point, mu_separate_heads=float(number), mu_shared_head=float(number))


def _own_kernels(network: NetworkParams, objective: ObjectiveParams) -> tuple[str, ...]:
    embedding = network.embedding
    has_convolution = embedding is not None and embedding.has_convolution
    return (f"{embedding.kernel_size}x{embedding.kernels}",) if embedding is not None and has_convolution else ()


NUMBER = r"[0-9][0-9.e-]*"
LAMBDAS = ("0.8", "0.6", "0.4", "0.2", "0", "1")
STUDIES: dict[str, Study] = {
    "kernels": Study(
        reference="Fig. 9",
        values=r"[1-9][0-9]*x[1-9][0-9]*",
        example="3x1024",
        paper=(),
        own=_own_kernels,
        vary=_kernels,
    ),
    "embedding": Study(
        reference="Table III",
        values=r"FC|biFC|CONV\+FC|CONV\+biFC",
        example="CONV+FC",
        paper=("FC", "biFC", "CONV+FC", "CONV+biFC"),
        own=lambda network, objective: (),
        vary=_embedding,
        numeric=False,
    ),
    "bandwidth": Study(
        reference="Table IV",
        values=NUMBER,
        example="0.01",
        paper=("10", "1", "0.1", "0.01", "0.001", "0.0001"),
        own=lambda network, objective: (f"{objective.bandwidth:g}",),
        vary=_bandwidth,
    ),
    "tau": Study(
        reference="Table V",
        values=NUMBER,
        example="0.4",
        paper=("0", "0.05", "0.1", "0.15", "0.2", "0.4", "1"),
        own=lambda network, objective: (f"{objective.tau:g}",),
        vary=_tau,
    ),
    "features": Study(
        reference="Table VI",
        values=r"V|(V\+)?C(7|_E)?",
        example="V+C_E",
        paper=("V", "C7", "C_E", "C", "V+C7", "V+C_E", "V+C"),
        own=lambda network, objective: (),
        vary=_features,
        numeric=False,
    ),
    "lambda": Study(
        reference="Table VII",
        values=rf"(separate|shared)-{NUMBER}",
        example="shared-0.4",
        paper=tuple(f"{heads}-{value}" for heads in HEADS for value in LAMBDAS),
        own=lambda network, objective: tuple(f"{heads}-{objective.lambda_:g}" for heads in HEADS),
        vary=_lambda,
    ),
    "mu": Study(
        reference="Fig. 12",
        values=rf"(separate|shared)-{NUMBER}",
        example="shared-0.9",
        paper=(),
        own=lambda network, objective: (
            f"separate-{objective.mu_separate_heads:g}",
            f"shared-{objective.mu_shared_head:g}",
        ),
        vary=_mu,
    ),
}


def check_points(points: list[str]) -> list[str]:
    """Check points, as a pydantic validator.

    Raises:
        ValueError: one is none; as :func:`check_point` says.
    """
    for point in points:
        check_point(point)
    return points


def check_point(point: str) -> None:
    """Check that a point is written as its study's points are.

    Raises:
        ValueError: no such study, no such value, or a number that is not in its shortest form.
    """
    name, _, value = point.partition("=")
    if name not in STUDIES:
        raise ValueError(f"{point!r}: study=value expected, with a study of {', '.join(STUDIES)}")
    study = STUDIES[name]
    if not re.fullmatch(study.values, value):
        raise ValueError(f"{point!r}: {name}={study.example} would be a point ({study.values})")
    if study.numeric:
        number = split_value(value)[1]
        try:
            shortest = f"{float(number):g}"
        except ValueError:
            raise ValueError(f"{point!r}: {number!r} is no number") from None
        if number != shortest:
            raise ValueError(f"{point!r}: write {point.removesuffix(number)}{shortest}, as the tables do")


def point_setup(point: str, network: NetworkParams, objective: ObjectiveParams) -> Setup:
    """Return what decides about a point's recipe.

    Args:
        point: as `check_point` takes it.
        network, objective: the sections of the parameter file.

    Raises:
        UserError: a value is out of its range, or network.embedding lacks what the value needs.
    """
    name, _, value = point.partition("=")
    return STUDIES[name].vary(f"mtmdd.runs: {point}", value, Setup.of("TDL", network, objective))


def candidates(name: str, points: list[str], network: NetworkParams, objective: ObjectiveParams) -> list[str]:
    """Return the points of a study that its table may have: the paper's, the listed ones, the parameter file's own.

    Returns:
        Points, each once: numbers ascending for each kind of heads or size, else in the paper's order.
    """
    study = STUDIES[name]
    listed = (point.partition("=")[2] for point in points if point.startswith(f"{name}="))
    values = list(dict.fromkeys((*study.paper, *listed, *study.own(network, objective))))
    if study.numeric:
        values.sort(key=_place)
    return [f"{name}={value}" for value in values]


def _place(value: str) -> tuple[float, str, float]:
    series, place = split_value(value)
    return float(series) if series.isdigit() else 0.0, series, float(place)

"""The component studies, and the recipe of each of their points (Fig. 9 and 12, Tables III to VII, and two of our own).

A point is written ``study=value``: for example ``tau=0.4``, ``features=V+C_E`` or ``lambda=shared-0.8``. A parameter
that the point does not vary and the paper does not state has the value of the parameter file.
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
    """The parts of a recipe that a study can change; the parameters of the training are not among them.

    Attributes:
        name: name of the method.
        method: the method with its phases.
        network, objective: sections of the parameter file.
    """

    name: str
    method: Method
    network: NetworkParams
    objective: ObjectiveParams

    @classmethod
    def of(cls, name: str, network: NetworkParams, objective: ObjectiveParams) -> "Setup":
        """Return the unchanged setup of a method."""
        return cls(name=name, method=METHODS[name], network=network, objective=objective)

    def click_only(self) -> "Setup":
        """Return the setup of a method of two steps with recognisers on v^ alone, the case phi = v^ of eq. 5.

        The second step has no ConvNet but the predictor's, and the whole predictor h of eq. 3 is frozen: if the ConvNet
        was trained further through the word embedding, the output would no longer be a prediction of clicks.
        """
        phases = tuple(
            replace(phase, features="click", start="predict", frozen=("backbone", "embedding"))
            if "predictor" in phase.frozen
            else phase
            for phase in self.method.phases
        )
        return replace(self, method=replace(self.method, phases=phases))

    def weighted(self, point: str, **values: float) -> "Setup":
        """Return the setup with other values in the section ``objective``."""
        content = self.objective.model_dump(by_alias=True) | values
        return replace(self, objective=validate_section(ObjectiveParams, "objective", content, point))

    def embedded(self, point: str, kind: EmbeddingKind | str | None = None, **sizes: int) -> "Setup":
        """Return the setup with another kind of word embedding, or with other sizes of it."""
        if self.network.embedding is None:
            raise UserError(f"{point}: network.embedding is missing; add it to the parameter file")
        content: dict[str, Any] = self.network.embedding.model_dump() | ({"kind": kind} if kind else {}) | sizes
        embedding = validate_section(EmbeddingParams, "network.embedding", content, point)
        return replace(self, network=self.network.model_copy(update={"embedding": embedding}))


@dataclass(frozen=True, kw_only=True)
class Study:
    """A component study.

    Attributes:
        reference: table or figure of the paper, or "beyond the paper".
        values: regular expression of a value.
        example: an example of a value.
        paper: the values in the paper's table.
        own: returns the values that the parameter file itself has.
        vary: returns the point's setup from the point, the value, and TDL's setup.
        numeric: the values are numbers, possibly in several series.
    """

    reference: str
    values: str
    example: str
    paper: tuple[str, ...]
    own: Callable[[NetworkParams, ObjectiveParams], tuple[str, ...]]
    vary: Callable[[str, str, Setup], Setup]
    numeric: bool = True


def split_value(value: str) -> tuple[str, str]:
    """Return a value's series and the value in it: ("shared", "0.4") of shared-0.4, ("3", "1024") of 3x1024.

    The series is empty if the study has only one.
    """
    parts = re.fullmatch(r"(separate|shared)-(.+)|([0-9]+)x([0-9]+)", value)
    return (parts[1] or parts[3], parts[2] or parts[4]) if parts else ("", value)


def _kernels(point: str, value: str, tdl: Setup) -> Setup:
    size, number = map(int, value.split("x"))
    return tdl.click_only().weighted(point, tau=0.0).embedded(point, kernel_size=size, kernels=number)


def _embedding(point: str, value: str, tdl: Setup) -> Setup:
    return tdl.click_only().weighted(point, tau=0.0).embedded(point, kind=value)


def _bandwidth(point: str, value: str, tdl: Setup) -> Setup:
    # the paper: "With fixed tau = 0.1 and T = 0.1"; its final T is 0.16
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


def _by_heads(*names: str, **fixed: float) -> Callable[[str, str, Setup], Setup]:
    """Return a `Study.vary` for values such as shared-0.4: the joint method with these heads, and a varied objective.

    Args:
        names: the parameters of section ``objective`` that get the value's number.
        fixed: others that all points have, with their numbers.
    """

    def vary(point: str, value: str, tdl: Setup) -> Setup:
        heads, _, number = value.partition("-")  # partition, not split, because of numbers such as 1e-05
        setup = Setup.of(HEADS[heads], tdl.network, tdl.objective)
        return setup.weighted(point, **dict.fromkeys(names, float(number)), **fixed)

    return vary


def _own_kernels(network: NetworkParams, objective: ObjectiveParams) -> tuple[str, ...]:
    embedding = network.embedding
    has_convolution = embedding is not None and embedding.has_convolution
    return (f"{embedding.kernel_size}x{embedding.kernels}",) if embedding is not None and has_convolution else ()


NUMBER = r"[0-9][0-9.e-]*"
HEADS_AND_NUMBER = rf"(separate|shared)-{NUMBER}"
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
        values=HEADS_AND_NUMBER,
        example="shared-0.4",
        paper=tuple(f"{heads}-{value}" for heads in HEADS for value in LAMBDAS),
        own=lambda network, objective: tuple(f"{heads}-{objective.lambda_:g}" for heads in HEADS),
        vary=_by_heads("lambda", mu_separate_heads=1.0, mu_shared_head=1.0),  # "wherein mu is set to be 1"
    ),
    "mu": Study(
        reference="Fig. 12",
        values=HEADS_AND_NUMBER,
        example="shared-0.9",
        paper=(),
        own=lambda network, objective: (
            f"separate-{objective.mu_separate_heads:g}",
            f"shared-{objective.mu_shared_head:g}",
        ),
        vary=_by_heads("mu_separate_heads", "mu_shared_head"),
    ),
    "click_gradient": Study(
        reference="beyond the paper",
        values=HEADS_AND_NUMBER,
        example="shared-10",
        paper=(),
        own=lambda network, objective: tuple(f"{heads}-{objective.click_gradient:g}" for heads in HEADS),
        vary=_by_heads("click_gradient"),
    ),
    "recogniser_gradient": Study(
        reference="beyond the paper",
        values=HEADS_AND_NUMBER,
        example="shared-0.1",
        paper=(),
        own=lambda network, objective: tuple(f"{heads}-{objective.recogniser_gradient:g}" for heads in HEADS),
        vary=_by_heads("recogniser_gradient"),
    ),
}


def check_points(points: list[str]) -> list[str]:
    """Check points, as a pydantic validator.

    Raises:
        ValueError: one of them is not a point, see :func:`check_point`.
    """
    for point in points:
        check_point(point)
    return points


def check_point(point: str) -> None:
    """Check that a point has the form of its study's points.

    Raises:
        ValueError: the study or the value is unknown, or a number is not in its shortest form.
    """
    name, _, value = point.partition("=")
    if name not in STUDIES:
        raise ValueError(f"{point!r}: expected study=value with one of the studies {', '.join(STUDIES)}")
    study = STUDIES[name]
    if not re.fullmatch(study.values, value):
        raise ValueError(f"{point!r}: not a value of {name}; an example is {name}={study.example} ({study.values})")
    if study.numeric:
        number = split_value(value)[1]
        try:
            shortest = f"{float(number):g}"
        except ValueError:
            raise ValueError(f"{point!r}: {number!r} is not a number") from None
        if number != shortest:
            raise ValueError(f"{point!r}: use the shortest form, {point.removesuffix(number)}{shortest}")


def point_setup(point: str, network: NetworkParams, objective: ObjectiveParams) -> Setup:
    """Return the setup of a point.

    Args:
        point: a point that `check_point` accepts.
        network, objective: the sections of the parameter file.

    Raises:
        UserError: a value is out of its range, or network.embedding lacks what the value needs.
    """
    name, _, value = point.partition("=")
    return STUDIES[name].vary(f"mtmdd.runs: {point}", value, Setup.of("TDL", network, objective))


def candidates(name: str, points: list[str], network: NetworkParams, objective: ObjectiveParams) -> list[str]:
    """Return the points that a study's table can have: the paper's, the listed ones, the parameter file's own.

    Returns:
        Distinct points: numbers ascending in each series, other values in the paper's order.
    """
    study = STUDIES[name]
    listed = (point.partition("=")[2] for point in points if point.startswith(f"{name}="))
    values = list(dict.fromkeys((*study.paper, *listed, *study.own(network, objective))))
    if study.numeric:
        values.sort(key=_sort_key)
    return [f"{name}={value}" for value in values]


def _sort_key(value: str) -> tuple[float, str, float]:
    series, number = split_value(value)
    return float(series) if series.isdigit() else 0.0, series, float(number)

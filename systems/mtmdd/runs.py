"""The runs that the parameter file declares, each written as a text; every run has one training per seed.

| text | run |
|---|---|
| ``TDL`` | a method (Table VIII) |
| ``tau=0.4``, ``lambda=shared-0.8`` | a point of a component study (`systems.mtmdd.studies`) |
| ``out_of_class=TDL-6`` | a method whose source keeps six categories (Fig. 13) |
| ``one_shot=TDL-source-0.4`` | a method whose source keeps 0.4 of its training images (Fig. 14) |
| ``unlabelled=TDL`` | a method whose target images have no labels |
| ``equal_images=TDL-24`` | a method with the images that the joint network sees in 24 epochs (`.budgets`) |
| ``cross_object=TDL-toy_birds`` | a method with another data set's source (Table IX; section ``cross_object``) |

With fewer categories, images or labels a point of a component study may stand for the method, as a control:
``one_shot=lambda=shared-0-target-0.05`` is the joint network without the click losses.

The text names the run's recipe, model folder, evaluation and stages.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from base.params import DEFAULT_PATH, Params, ParamsError, load_section, read_params
from systems.mtmdd.baselines.methods import COMPARED
from systems.mtmdd.config import DOMAINS
from systems.mtmdd.methods import check_names
from systems.mtmdd.studies import STUDIES, check_point

Study = Literal["methods", "components", "out_of_class", "one_shot", "unlabelled", "equal_images", "cross_object"]
LISTED = (
    *STUDIES,
    "out_of_class",
    "one_shot",
    "unlabelled",
    "equal_images",
)  # studies whose points are listed among the runs
SYSTEM = "mtmdd"  # the key of its sections in the parameter file


@dataclass(frozen=True)
class Point:
    """A method at one point of a study, with a training per seed.

    Attributes:
        study: the study.
        method: the method's name in the recipes; in a component study, or where a point of one stands for the method,
            that point (``tau=0.4``).
        value: source categories (out of class), share of the training images (one-shot), epochs of the joint network
            (equal images), or None.
        domain: one-shot only: the domain with fewer training images.
        source: cross-object only: the data set that provides the source.
    """

    study: Study
    method: str
    value: float | int | None = None
    domain: str | None = None
    source: str | None = None

    @property
    def name(self) -> str:
        """Return the run's text."""
        values = [str(value) for value in (self.domain, self.value, self.source) if value is not None]
        return "-".join(
            [self.method if self.study in ("methods", "components") else f"{self.study}={self.method}", *values]
        )

    @property
    def whole(self) -> "Point":
        """Return the point with all categories and images."""
        return Point("methods" if self.method in COMPARED else "components", self.method)


def _is_trained(method: str) -> bool:
    """Return whether a text names a method or a point of a component study."""
    if method in COMPARED:
        return True
    try:
        check_point(method)
    except ValueError:
        return False
    return True


def read_run(text: str) -> Point:
    """Return the point that a run's text names.

    Raises:
        ValueError: it names none; the message describes the expected form.
    """
    if text in COMPARED:
        return Point("methods", text)
    study, _, value = text.partition("=")
    if study in STUDIES:
        check_point(text)
        return Point("components", text)
    if study == "out_of_class":
        found = re.fullmatch(r"(.+)-([1-9][0-9]*)", value)
        if found and _is_trained(found[1]):
            return Point("out_of_class", found[1], int(found[2]))
        raise ValueError(f"{text!r}: expected out_of_class=METHOD-CATEGORIES, for example out_of_class=TDL-6")
    if study == "one_shot":
        found = re.fullmatch(rf"(.+)-({'|'.join(DOMAINS)})-(0\.[0-9]*[1-9])", value)
        if found and _is_trained(found[1]) and str(float(found[3])) == found[3]:
            return Point("one_shot", found[1], float(found[3]), found[2])
        raise ValueError(
            f"{text!r}: expected one_shot=METHOD-DOMAIN-SHARE, for example one_shot=TDL-source-0.4, with a share from "
            "0.0001 to below 1"
        )
    if study == "unlabelled":
        if _is_trained(value):
            return Point("unlabelled", value)
        raise ValueError(f"{text!r}: expected unlabelled=METHOD, for example unlabelled=TDL")
    if study == "equal_images":
        found = re.fullmatch(r"(.+)-([1-9][0-9]*)", value)
        if found and found[1] in COMPARED:
            return Point("equal_images", found[1], int(found[2]))
        raise ValueError(f"{text!r}: expected equal_images=METHOD-EPOCHS, for example equal_images=TDL-24")
    if study == "cross_object":
        raise ValueError(f"{text!r}: not a run; list its method and its source in the section {SYSTEM}.cross_object")
    raise ValueError(
        f"{text!r}: expected a method ({', '.join(COMPARED)}), or study=value with one of the studies "
        f"{', '.join(LISTED)}"
    )


class CrossObjectParams(Params):
    """Table IX: another data set's source, of another kind of object, replaces the own one."""

    methods: list[str] = Field(description="methods with a head for each domain; empty: the study is left out")
    sources: list[str] = Field(description="names of data sets, as in data_sets; each is in data/sets/<name>")

    @field_validator("methods")
    @classmethod
    def _separate_heads(cls, methods: list[str]) -> list[str]:
        check_names(methods, COMPARED)
        shared = [name for name in methods if any(phase.shared_head for phase in COMPARED[name].phases)]
        if shared:
            raise ValueError(
                f"{shared}: one head for both domains is impossible if they have no category in common; "
                "list methods with separate heads, such as MTMDD-VM"
            )
        return methods

    @field_validator("sources")
    @classmethod
    def _names(cls, sources: list[str]) -> list[str]:
        if any(not re.fullmatch(r"[\w-]+", name) for name in sources) or len(set(sources)) < len(sources):
            raise ValueError(f"expected distinct names of letters, digits, _ and -, found {sources}")
        return sources

    def points(self) -> list[Point]:
        """Return the study's points."""
        return [Point("cross_object", method, source=source) for method in self.methods for source in self.sources]


def read_runs(texts: object, where: str) -> list[Point]:
    """Return the points of a list of runs, in its order.

    Args:
        texts: the value in the parameter file.
        where: the file, for errors.

    Raises:
        ParamsError: the value is not a list of texts, or a text names no run or is listed twice; the message has all of
            these texts.
    """
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ParamsError(f"{where}: {SYSTEM}.runs = {texts!r}: expected a list of texts, for example [TDL, tau=0.4]")
    points, problems = [], []
    for index, text in enumerate(texts):
        try:
            points.append(read_run(text))
        except ValueError as error:
            problems.append(f"{where}: {SYSTEM}.runs[{index}]: {error}")
        if text in texts[:index]:
            problems.append(f"{where}: {SYSTEM}.runs[{index}]: {text!r} is listed twice")
    if problems:
        raise ParamsError("\n".join(problems))
    return points


def load_points(path: Path = DEFAULT_PATH) -> list[Point]:
    """Return all points that a parameter file declares: its runs, and the cross-object study.

    Raises:
        ParamsError: as in :func:`read_runs`, or `mtmdd.runs` is missing.
    """
    system = read_params(path).get(SYSTEM)
    texts = system.get("runs") if isinstance(system, dict) else None
    if texts is None:
        raise ParamsError(f"{path}: {SYSTEM}.runs is missing; list the trainings, for example [TDL, tau=0.4]")
    return read_runs(texts, str(path)) + load_section(CrossObjectParams, f"{SYSTEM}.cross_object", path).points()

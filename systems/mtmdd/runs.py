"""Runs as texts: which trainings the parameter file asks for, one per seed.

| text | is |
|---|---|
| ``TDL`` | a method (Table VIII) |
| ``tau=0.4``, ``lambda=shared-0.8`` | a point of a component study (`systems.mtmdd.studies`) |
| ``out_of_class=TDL-6`` | a method whose source keeps six categories (Fig. 13) |
| ``one_shot=TDL-source-0.4`` | a method whose source keeps 0.4 of its training images (Fig. 14) |
| ``cross_object=TDL-toy_birds`` | a method with another data set's source (Table IX; section ``cross_object``) |

The text is the name of the run's recipe, model folder and evaluation, and of its stages.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from base.params import DEFAULT_PATH, Params, ParamsError, load_section, read_params
from systems.mtmdd.config import DOMAINS
from systems.mtmdd.methods import METHODS, check_names
from systems.mtmdd.studies import STUDIES, check_point

Study = Literal["methods", "components", "out_of_class", "one_shot", "cross_object"]
LISTED = (*STUDIES, "out_of_class", "one_shot")  # studies whose points are listed among the runs
SYSTEM = "mtmdd"  # the key of its sections in the parameter file


@dataclass(frozen=True)
class Point:
    """A method at one point of a study; it has a run per seed.

    Attributes:
        study: what it belongs to.
        method: as in the recipes; of a component study, its point, as in ``tau=0.4``.
        value: source categories (out of class), share of the training images (one-shot), or null (whole data).
        domain: one-shot only: whose training images are cut.
        source: cross-object only: the data set whose source it is.
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


def read_run(text: str) -> Point:
    """Return the point that a run's text names.

    Raises:
        ValueError: it names none; the message says what it could look like.
    """
    if text in METHODS:
        return Point("methods", text)
    study, _, value = text.partition("=")
    if study in STUDIES:
        check_point(text)
        return Point("components", text)
    if study == "out_of_class":
        found = re.fullmatch(r"(.+)-([1-9][0-9]*)", value)
        if found and found[1] in METHODS:
            return Point("out_of_class", found[1], int(found[2]))
        raise ValueError(f"{text!r}: out_of_class=METHOD-CATEGORIES expected, as in out_of_class=TDL-6")
    if study == "one_shot":
        found = re.fullmatch(rf"(.+)-({'|'.join(DOMAINS)})-(0\.[0-9]*[1-9])", value)
        if found and found[1] in METHODS and str(float(found[3])) == found[3]:
            return Point("one_shot", found[1], float(found[3]), found[2])
        raise ValueError(
            f"{text!r}: one_shot=METHOD-DOMAIN-SHARE expected, as in one_shot=TDL-source-0.4; a share is from 0.0001 "
            "to below 1"
        )
    if study == "cross_object":
        raise ValueError(f"{text!r}: list its method and its source in the section {SYSTEM}.cross_object")
    raise ValueError(
        f"{text!r}: a method ({', '.join(METHODS)}), or study=value with a study of {', '.join(LISTED)}, expected"
    )


class CrossObjectParams(Params):
    """Table IX: another data set's source, of another kind of object, takes the place of the own one."""

    methods: list[str] = Field(description="with a head for each domain; empty: the study is left out")
    sources: list[str] = Field(description="names of data sets, as in data_sets; each is in data/sets/<name>")

    _known = field_validator("methods")(check_names)

    @field_validator("methods")
    @classmethod
    def _separate_heads(cls, methods: list[str]) -> list[str]:
        shared = [name for name in methods if any(phase.shared_head for phase in METHODS[name].phases)]
        if shared:
            raise ValueError(
                f"{shared}: one head for both domains can't be where they have no category in common; "
                "take a method with separate heads, as MTMDD-VM"
            )
        return methods

    @field_validator("sources")
    @classmethod
    def _names(cls, sources: list[str]) -> list[str]:
        if any(not re.fullmatch(r"[\w-]+", name) for name in sources) or len(set(sources)) < len(sources):
            raise ValueError(f"distinct names of letters, digits, _ and - expected, found {sources}")
        return sources

    def points(self) -> list[Point]:
        """Return the study's points."""
        return [Point("cross_object", method, source=source) for method in self.methods for source in self.sources]


def read_runs(texts: object, where: str) -> list[Point]:
    """Return the points of a list of runs, in its order.

    Args:
        texts: what the parameter file has.
        where: the file, for errors.

    Raises:
        ParamsError: no list of texts, a text that names no run, or one listed twice; each is named.
    """
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ParamsError(f"{where}: {SYSTEM}.runs = {texts!r}: a list of texts expected, as in [TDL, tau=0.4]")
    points, problems = [], []
    for place, text in enumerate(texts):
        try:
            points.append(read_run(text))
        except ValueError as error:
            problems.append(f"{where}: {SYSTEM}.runs[{place}]: {error}")
        if text in texts[:place]:
            problems.append(f"{where}: {SYSTEM}.runs[{place}]: {text!r} is listed twice")
    if problems:
        raise ParamsError("\n".join(problems))
    return points


def load_points(path: Path = DEFAULT_PATH) -> list[Point]:
    """Return all points that a parameter file declares: its runs, and the cross-object study.

    Raises:
        ParamsError: as :func:`read_runs`.
    """
    system = read_params(path).get(SYSTEM)
    texts = system.get("runs") if isinstance(system, dict) else None
    if texts is None:
        raise ParamsError(f"{path}: {SYSTEM}.runs is missing: which trainings there are, as in [TDL, tau=0.4]")
    return read_runs(texts, str(path)) + load_section(CrossObjectParams, f"{SYSTEM}.cross_object", path).points()

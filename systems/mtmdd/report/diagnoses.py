"""The report's section about click predictors: the declared ones, and the results of `systems.mtmdd.diagnose`."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import ConfigDict

from base.console import UserError
from base.params import Params
from report.pages import Column, Table, number
from systems.mtmdd.published import RATIOS
from systems.mtmdd.report.references import LABELS
from systems.mtmdd.runs import Point

PICTURES = ("gradients", "click_features")
PREDICTORS = {"model": "the model", "without_position": "the same without the position loss", **LABELS}
INPUTS = {
    "true_percent": "v",
    "predicted_percent": "v^",
    "predicted_without_position_percent": "v^ without the position loss",
    "normal_percent": "standard normal",
}


class Diagnosed(Params):
    """Methods and points of the section ``diagnose``; the whole class, in `systems.mtmdd.diagnose`, needs torch."""

    model_config = ConfigDict(extra="ignore")

    methods: list[str]
    points: list[str]

    def find(self, points: Collection[Point]) -> tuple[list[Point], list[Point]]:
        """Return the diagnosed methods, and the component points whose ratios were measured, as declared points.

        Raises:
            UserError: a method or a component point is not among the declared points.
        """
        methods = [Point("methods", name) for name in self.methods]
        components = [Point("components", name) for name in self.points]
        for listed, point in [("methods", one) for one in methods] + [("points", one) for one in components]:
            if point not in points:
                raise UserError(
                    f"mtmdd.diagnose.{listed}: {point.method} is not among mtmdd.runs; list it there, or remove it here"
                )
        return methods, components


class Diagnosis(NamedTuple):
    """The diagnosis of a method's click predictor.

    Attributes:
        method: its name in the recipes.
        folder: the folder that the stage wrote.
        content: content of diagnostics.json.
        inputs: content of sigmoid_inputs.csv.
        pictures: PNG bytes by name.
    """

    method: str
    folder: str
    content: dict[str, Any]
    inputs: pl.DataFrame
    pictures: dict[str, bytes]


def read_diagnoses(evaluations: Path, points: Sequence[Point]) -> list[Diagnosis]:
    """Read the diagnoses of some methods' click predictors.

    Raises:
        UserError: a method's diagnostics are missing.
    """
    found = []
    for point in points:
        folder = evaluations / point.name / "diagnostics"
        try:
            content = json.loads((folder / "diagnostics.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{folder}/diagnostics.json: no such file; run `dvc repro`, or remove {point.method} from"
                " mtmdd.diagnose.methods"
            ) from None
        pictures = {name: (folder / f"{name}.png").read_bytes() for name in PICTURES}
        inputs = pl.read_csv(folder / "sigmoid_inputs.csv")
        found.append(Diagnosis(point.method, folder.as_posix(), content, inputs, pictures))
    return found


def errors_texts(content: dict[str, Any]) -> Table:
    """Return RMSE-S of the model and of simple predictors, the largest error first."""
    errors = {name: value for name, value in content["rmse_source"].items() if value is not None}
    rows = [
        [PREDICTORS[name], number(errors[name], 3)] for name in sorted(errors, key=errors.__getitem__, reverse=True)
    ]
    return Table([Column("predictor", number=False), Column("RMSE-S, validation")], rows)


def gradients_texts(content: dict[str, Any]) -> Table:
    """Return the gradient ratios at the requested shares of the steps."""
    columns = {
        "step": [f"{row['step']:,} ({row['share']:.0%})" for row in content["gradient_ratios"]],
        **{
            heading: [number(row[name], 2) for row in content["gradient_ratios"]]
            for heading, name in (
                ("position / count", "position_over_count"),
                ("recognition / click", "recognition_over_click"),
                ("cosine", "recognition_click_cosine"),
            )
        },
    }
    return Table([Column(heading) for heading in columns], list(zip(*columns.values(), strict=True)))


def inputs_texts(inputs: pl.DataFrame) -> Table:
    """Return the shares of the position function's inputs in [0, B], ours and the paper's."""
    ours, theirs = "ours, on this data", "published"
    shown = {name: heading for name, heading in INPUTS.items() if name in inputs.columns}
    columns = [Column("B"), *(Column(f"{heading}, %", group=ours) for heading in shown.values())]
    rows = [
        [
            f"{row['bandwidth']:g}",
            *(number(row[name], 2) for name in shown),
            number(RATIOS["bandwidth"].get(f"{row['bandwidth']:g}"), 2),
        ]
        for row in inputs.iter_rows(named=True)
    ]
    return Table([*columns, Column("Ratio, %", group=theirs)], rows)

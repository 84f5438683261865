"""The evaluations that a report covers: all those that the parameters declare, and no others."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from base import schemas
from base.artifacts import read_json
from base.console import UserError
from report.training_noise import TrainingNoise, training_noise
from systems.mtmdd.runs import Point


@dataclass(frozen=True)
class Runs:
    """The results of the declared runs.

    Attributes:
        points: the declared points.
        seeds: the declared seeds.
        metrics: content of ``metrics.json`` by point and seed.
        images: one row per point, seed and test image: `point` (index into `points`), `seed`, `domain`, `image_id`,
            `correct` and `click_error` (null if no clicks are predicted).
        studies: by study and value, the point that has the value's recipe.
        ratios: the results of `systems.mtmdd.click_ratios`, by point.
    """

    points: list[Point]
    seeds: list[int]
    metrics: dict[tuple[Point, int], dict[str, Any]]
    images: pl.DataFrame
    studies: Mapping[str, Mapping[str, Point]] = field(default_factory=dict)
    ratios: Mapping[Point, dict[str, Any]] = field(default_factory=dict)

    def of(self, point: Point, domain: str) -> pl.DataFrame:
        """Return a point's results on a domain's test images: `seed`, `unit` (image id), `value` (is it recognised)."""
        return self._values(point, domain, "correct")

    def click_errors(self, point: Point) -> pl.DataFrame:
        """Return a point's squared errors of clicks: `seed`, `unit`, `value`; no row if it predicts no clicks."""
        return self._values(point, "source", "click_error").drop_nulls()

    def _values(self, point: Point, domain: str, column: str) -> pl.DataFrame:
        rows = self.images.filter(pl.col("point") == self.points.index(point), pl.col("domain") == domain)
        return rows.select("seed", pl.col("image_id").alias("unit"), pl.col(column).alias("value"))

    @cached_property
    def noise(self) -> TrainingNoise | None:
        """The noise of training in target accuracy, percentage points, from all runs that recognise the target."""
        values = [[self.metrics[point, seed]["accuracy_target"] for seed in self.seeds] for point in self.points]
        known = [of_point for of_point in values if None not in of_point]
        return training_noise(np.array(known, np.float64)) if known else None

    def find(self, name: str) -> Point | None:
        """Return the point of a method (``TDL``) or of a study's value (``tau=0.4``); None if it was not run.

        ``cross_object=TDL`` names the method with the first of the other sources.
        """
        study, is_value, value = name.partition("=")
        if study == "cross_object":
            return next((point for point in self.points if (point.study, point.method) == (study, value)), None)
        if is_value:
            return self.studies.get(study, {}).get(value)
        point = Point("methods", name)
        return point if point in self.points else None


def read_studies(path: Path, points: Sequence[Point]) -> dict[str, dict[str, Point]]:
    """Read the declared point of each value of a component study, from the file that `systems.mtmdd.recipes` writes.

    Raises:
        UserError: the file is missing, or it names a recipe that is not one of the points.
    """
    content = read_json(path)
    by_name = {point.name: point for point in points}
    unknown = [name for values in content.values() for name in values.values() if name not in by_name]
    if unknown:
        raise UserError(
            f"{path}: {unknown[0]} is not among the runs in the parameter file; run python -m systems.mtmdd.recipes"
            " again"
        )
    return {study: {value: by_name[name] for value, name in values.items()} for study, values in content.items()}


def read_runs(
    evaluations: Path,
    points: Sequence[Point],
    seeds: Sequence[int],
    studies: Mapping[str, Mapping[str, Point]] = MappingProxyType({}),
    measured: Collection[Point] = (),
) -> Runs:
    """Read the metrics and predictions of every declared run.

    Args:
        evaluations: the folder of all evaluations.
        points, seeds: the declared points and seeds.
        studies: by study and value, the point that has the value's recipe.
        measured: points whose ratios of click losses (`systems.mtmdd.click_ratios`) are declared, too.

    Raises:
        UserError: files of runs are missing (the message lists them), or the accuracy or RMSE-S in a run's metrics.json
            is not that of its predictions.
    """
    runs = [(point, seed, evaluations / point.name / f"seed-{seed}") for point in points for seed in seeds]
    missing = [
        str(folder / name)
        for _, _, folder in runs
        for name in ("metrics.json", "predictions.parquet")
        if not (folder / name).is_file()
    ]
    ratios = {point: evaluations / point.name / "ratios.json" for point in measured}
    missing += [str(path) for path in ratios.values() if not path.is_file()]
    if missing:
        listed = "\n".join(f"  {name}" for name in missing[:10]) + ("\n  ..." if len(missing) > 10 else "")
        raise UserError(
            f"{len(missing)} files of evaluations that the parameters declare are missing:\n{listed}\nrun `dvc repro`, "
            "or remove their methods, seeds or points from the parameter file"
        )
    metrics, frames = {}, []
    for point, seed, folder in runs:
        metrics[point, seed] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        predictions = pl.DataFrame(pq.read_table(folder / "predictions.parquet").cast(schemas.PREDICTIONS))
        rows = predictions.select(
            pl.lit(points.index(point)).alias("point"),
            pl.lit(seed).alias("seed"),
            "domain",
            "image_id",
            (pl.col("category") == pl.col("predicted")).alias("correct"),
            pl.col("click_error").cast(pl.Float64),
        )
        check_metrics(metrics[point, seed], rows, folder)
        frames.append(rows)
    measures = {point: json.loads(path.read_text(encoding="utf-8")) for point, path in ratios.items()}
    return Runs(list(points), list(seeds), metrics, pl.concat(frames), studies, measures)


def check_metrics(metrics: dict[str, Any], rows: pl.DataFrame, folder: Path) -> None:
    """Check that an evaluation's accuracies and RMSE-S agree with its predictions.

    Raises:
        UserError: they differ by more than rounding.
    """
    counted: dict[str, float | None] = {}
    for domain in ("source", "target"):
        mine = rows.filter(pl.col("domain") == domain)["correct"]
        counted[f"accuracy_{domain}"] = 100 * float(mine.sum()) / len(mine) if len(mine) else None
    errors = rows["click_error"].drop_nulls().to_list()
    if counted["accuracy_source"] is not None:  # without source rows there are no errors
        counted["rmse_source"] = math.sqrt(math.fsum(errors) / len(errors)) if errors else None
    for name, value in counted.items():
        stated, tolerance = metrics[name], 1e-5 if name == "rmse_source" else 0.01
        if (stated is None) != (value is None) or (
            stated is not None and value is not None and abs(stated - value) > tolerance
        ):
            raise UserError(
                f"{folder}: metrics.json has {name} = {stated}, predictions.parquet gives {value}; "
                "run the stage `mtmdd:evaluate` again"
            )

"""The evaluations that a report is about: those that the parameters declare, all of them and no others."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import polars as pl
import pyarrow.parquet as pq

from pipelines import schemas
from pipelines.console import UserError

Study = Literal["methods", "components", "out_of_class", "one_shot"]


@dataclass(frozen=True)
class Point:
    """A method at one point of a study; it has a run per seed.

    Attributes:
        study: the stage family.
        method: as in the recipes; of a component study, its point, as in ``tau=0.4``.
        value: source categories (out of class), share of the training images (one-shot), or null (whole data).
        domain: one-shot only: whose training images are cut.
    """

    study: Study
    method: str
    value: float | int | None = None
    domain: str | None = None

    @property
    def folder(self) -> Path:
        """Where its seeds' folders are, below ``data/evaluations``."""
        name = {
            "methods": None,
            "components": None,
            "out_of_class": f"{self.value}",
            "one_shot": f"{self.domain}-{self.value}",
        }[self.study]
        return Path(self.study) / self.method / (name or "")


def declared_points(
    methods: Sequence[str],
    components: Sequence[str],
    out_of_class: tuple[Sequence[str], Sequence[int]],
    one_shot: tuple[Sequence[str], Sequence[str], Sequence[float]],
) -> list[Point]:
    """Return every point that the parameters declare, in their order.

    Args:
        methods: names of the methods study.
        components: points of the component studies that are trained for themselves.
        out_of_class: methods and numbers of source categories.
        one_shot: methods, domains and shares.
    """
    points = [Point("methods", method) for method in methods]
    points += [Point("components", point) for point in components]
    points += [Point("out_of_class", method, n) for method in out_of_class[0] for n in out_of_class[1]]
    return points + [
        Point("one_shot", method, share, domain)
        for method in one_shot[0]
        for domain in one_shot[1]
        for share in one_shot[2]
    ]


@dataclass(frozen=True)
class Runs:
    """What was read of the declared runs.

    Attributes:
        points: the declared points.
        seeds: the declared seeds.
        metrics: ``metrics.json`` by point and seed.
        correct: one row per point, seed and test image: `point` (index into `points`), `seed`, `domain`, `image_id`
            and `correct`.
        studies: the point that each value of a component study has, by study.
    """

    points: list[Point]
    seeds: list[int]
    metrics: dict[tuple[Point, int], dict[str, Any]]
    correct: pl.DataFrame
    studies: Mapping[str, Mapping[str, Point]] = field(default_factory=dict)

    def of(self, point: Point, domain: str) -> pl.DataFrame:
        """Return a point's rows of a domain's test images: `seed`, `image_id`, `correct`."""
        rows = self.correct.filter(pl.col("point") == self.points.index(point), pl.col("domain") == domain)
        return rows.select("seed", "image_id", "correct")

    def find(self, name: str) -> Point | None:
        """Return the point of a method, as in ``TDL``, or of a study's value, as in ``tau=0.4``; None if not run."""
        study, is_value, value = name.partition("=")
        if is_value:
            return self.studies.get(study, {}).get(value)
        point = Point("methods", name)
        return point if point in self.points else None


def read_studies(path: Path, points: Sequence[Point]) -> dict[str, dict[str, Point]]:
    """Read which declared point each value of a component study has, from the file of `model.recipes`.

    Raises:
        UserError: no such file, or it names a recipe that is none of the points.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run python -m model.recipes") from None
    by_folder = {point.folder.as_posix(): point for point in points}
    unknown = [folder for values in content.values() for folder in values.values() if folder not in by_folder]
    if unknown:
        raise UserError(f"{path}: the parameters declare no {unknown[0]}; run python -m model.recipes again")
    return {study: {value: by_folder[folder] for value, folder in values.items()} for study, values in content.items()}


def read_runs(
    evaluations: Path,
    points: Sequence[Point],
    seeds: Sequence[int],
    studies: Mapping[str, Mapping[str, Point]] = MappingProxyType({}),
) -> Runs:
    """Read the metrics and predictions of every declared run.

    Raises:
        UserError: runs are missing (all are named), or a run's accuracy is not that of its predictions.
    """
    runs = [(point, seed, evaluations / point.folder / f"seed-{seed}") for point in points for seed in seeds]
    missing = [
        str(folder / name)
        for _, _, folder in runs
        for name in ("metrics.json", "predictions.parquet")
        if not (folder / name).is_file()
    ]
    if missing:
        listed = "\n".join(f"  {name}" for name in missing[:10]) + ("\n  ..." if len(missing) > 10 else "")
        raise UserError(
            f"{len(missing)} evaluations that the parameters declare are missing:\n{listed}\nrun `dvc repro`, or take "
            "their methods, seeds or points out of the parameter file"
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
        )
        check_accuracy(metrics[point, seed], rows, folder)
        frames.append(rows)
    return Runs(list(points), list(seeds), metrics, pl.concat(frames), studies)


def check_accuracy(metrics: dict[str, Any], rows: pl.DataFrame, folder: Path) -> None:
    """Compare the accuracies that an evaluation states with its own predictions.

    Raises:
        UserError: they differ by more than rounding.
    """
    for domain in ("source", "target"):
        stated = metrics[f"accuracy_{domain}"]
        mine = rows.filter(pl.col("domain") == domain)["correct"]
        counted = 100 * float(mine.sum()) / len(mine) if len(mine) else None
        if (stated is None) != (counted is None) or (
            stated is not None and counted is not None and abs(stated - counted) > 0.01
        ):
            raise UserError(
                f"{folder}: metrics.json has accuracy_{domain} = {stated}, predictions.parquet gives {counted}; "
                "run the evaluation again"
            )

"""Reads the evaluations of the declared runs, and compares runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from base.artifacts import read_json
from model.measures.evaluations import read_evaluations
from report.intervals import Estimate, Interval, estimate, paired, unit_values
from report.training_noise import TrainingNoise, moderated, training_noise
from systems.dckt.config import TARGET, TRANSFER, Point, read_run
from systems.dckt.evaluate import BOTH


@dataclass(frozen=True)
class Results:
    """The evaluations of the declared runs.

    Attributes:
        runs: the runs' texts, the networks first.
        seeds: the declared seeds.
        alpha: alpha of the runs that don't change it.
        units: `base.schemas.UNITS` of all evaluations, with the columns `run` and `seed`.
        metrics: the content of ``metrics.json`` by run and seed.
    """

    runs: list[str]
    seeds: list[int]
    alpha: float
    units: pl.DataFrame
    metrics: Mapping[tuple[str, int], dict[str, Any]]

    @property
    def points(self) -> list[Point]:
        """The runs."""
        return [read_run(run) for run in self.runs]

    @property
    def levels(self) -> list[int | None]:
        """The limits of target training pairs that runs have; all pairs first, then from many to few."""
        return sorted({point.pairs for point in self.points}, key=lambda pairs: (pairs is not None, -(pairs or 0)))

    def of(self, run: str, metric: str = BOTH) -> pl.DataFrame:
        """Return the units of a metric."""
        return self.units.filter(run=run, metric=metric)

    def interval(self, run: str, metric: str = BOTH) -> Interval:
        """Return the mean of a metric over seeds with its 95 % interval, percent."""
        return Interval(*(100 * value for value in estimate(unit_values(self.of(run, metric))).interval()))

    def noise(self) -> TrainingNoise | None:
        """Return the noise of training in the mean MAP, points, from all runs."""
        values = [[100 * self.metrics[run, seed][BOTH] for seed in self.seeds] for run in self.runs]
        return training_noise(np.array(values, np.float64))

    def difference(self, one: str, other: str, noise: TrainingNoise | None) -> Estimate | None:
        """Return the difference of two runs' mean MAP in points, paired by seed and query; None if one wasn't run."""
        if not {one, other} <= set(self.runs):
            return None
        return moderated(paired(self.of(one), self.of(other)).scaled(100), noise)

    def iterations(self, run: str) -> pl.DataFrame:
        """Return a run's validation MAP (percent) and number of chosen target pairs by seed and iteration.

        Iteration 0 is the target network before the transfer. A run without transfer has no row.
        """
        rows = []
        for seed in self.seeds:
            metrics = self.metrics[run, seed]
            if metrics.get("validation_map"):
                start = next(phase["value"] for phase in metrics["chosen"] if phase["phase"] == TARGET)
                chosen = [None, *metrics["chosen_pairs"]]
                for iteration, value in enumerate([start, *metrics["validation_map"]]):
                    rows.append((run, seed, iteration, value, chosen[iteration]))
        schema = {"run": pl.String, "seed": pl.Int64, "iteration": pl.Int64, "map": pl.Float64, "chosen": pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def chosen_iteration(self, run: str) -> float | None:
        """Return the mean over seeds of the iteration that the validation chose; None without transfer."""
        chosen = [self.metrics[run, seed]["chosen"] for seed in self.seeds]
        found = [phase["epoch"] for phases in chosen for phase in phases if phase["phase"] == TRANSFER]
        return float(np.mean(found)) if found else None


def read_results(evaluations: Path) -> Results:
    """Read the plan and the evaluations of all its runs and seeds.

    Raises:
        FileNotFoundError: there is no plan.
        UserError: an evaluation is missing, or its metrics are not those of its units.
    """
    plan = read_json(evaluations / "runs.json")
    runs, seeds = [*plan["networks"], *plan["baselines"]], list(plan["seeds"])
    found = read_evaluations({run: evaluations / run for run in runs}, seeds, f"{evaluations}/runs.json")
    return Results(runs, seeds, float(plan["alpha"]), *found)


def with_pairs(names: Sequence[str], pairs: int | None) -> dict[str, str]:
    """Return the text of each run with a limit of target training pairs, by the text without it."""
    return {name: name if pairs is None else f"{name}_pairs={pairs}" for name in names}

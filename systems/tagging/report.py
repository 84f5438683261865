"""The system's part of the report: recommended tags by run and baseline, claims with verdicts, histories that grow.

    python -m systems.tagging.report --results data/tagging/results --output data/tagging/report

In: the evaluations of the declared runs and baselines.
Out: ``part.json``, which `report.index` puts on the page; ``results.csv``, each measure with its 95 % interval;
``claims.csv``; ``precision.png``, ``evolving.png`` and the examples of runs. No user is named.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from pydantic import Field

from base.artifacts import whole_directory
from base.console import UserError, stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from model.measures.evaluations import read_evaluations
from report import pages
from report.claims import claims_texts, judged_table, sample_note
from report.intervals import Estimate, estimate, paired, unit_values
from report.plots import METHODS, picture
from report.sections import not_run, part_of, write_part
from report.spreadsheets import write_csv
from report.training_noise import TrainingNoise, moderated, training_noise
from systems.tagging.claims import Measured, claims_of
from systems.tagging.config import PlanParams
from systems.tagging.evaluate import EvaluateParams
from systems.tagging.published import NUS_WIDE, YFCC100M

SYSTEM, TITLE = "tagging", "Personal tag recommendation"
TEMPLATE = Path(__file__).with_name("report.html.jinja")
COLD = "cold_"
SETS = {
    "per_category_precision": "C-P",
    "per_category_recall": "C-R",
    "per_category_f1": "C-F1",
    "overall_precision": "O-P",
    "overall_recall": "O-R",
    "overall_f1": "O-F1",
    "coverage": "coverage",
}


class ReportParams(Params):
    """The report's texts about the data."""

    data_set: str = Field(description="the data set's name, such as 'toy (drawn)'", min_length=1)
    note: str = Field(description="what a reader must know about the data before reading its numbers", min_length=1)


@dataclass(frozen=True)
class Results:
    """The evaluations of the declared runs and baselines.

    Attributes:
        runs: the runs' texts.
        baselines: names.
        seeds: the declared seeds.
        units: `base.schemas.UNITS` of all evaluations, with the columns `run` and `seed`.
        metrics: content of ``metrics.json`` by run (or baseline) and seed.
    """

    runs: list[str]
    baselines: list[str]
    seeds: list[int]
    units: pl.DataFrame
    metrics: Mapping[tuple[str, int], dict[str, Any]]

    def of(self, measured: Measured, metric: str) -> pl.DataFrame:
        """Return the units of a metric; no row if it was not measured."""
        return self.units.filter(run=measured.name, metric=f"{measured.condition}{metric}")

    def mean(self, measured: Measured, metric: str) -> float | None:
        """Return the mean of a metric over seeds, percent; None if it was not measured."""
        found = [self.metrics[measured.name, seed].get(f"{measured.condition}{metric}") for seed in self.seeds]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if len(known) == len(found) else None

    def measured(self) -> list[Measured]:
        """Return all runs, the cold start of those that have one, and the baselines."""
        found = []
        for run in self.runs:
            found += [Measured(run)]
            is_cold = pl.col("metric").str.starts_with(COLD) & (pl.col("run") == run)
            found += [Measured(run, COLD)] if self.units.filter(is_cold).height else []
        return [*found, *(Measured(name) for name in self.baselines)]


def read_results(evaluations: Path, plan: PlanParams, seeds: Sequence[int]) -> Results:
    """Read the evaluations of all runs, baselines and seeds.

    Raises:
        UserError: an evaluation is missing, or its metrics are not those of its units.
    """
    folders = {run: evaluations / run for run in plan.runs}
    folders |= {name: evaluations / "baselines" / name for name in plan.baselines}
    found = read_evaluations(folders, seeds, "the parameter file", scale=100, tolerance=1e-3)
    return Results(list(plan.runs), list(plan.baselines), list(seeds), *found)


def best_baseline(results: Results, metric: str) -> str | None:
    """Return the baseline with the highest metric, of equal ones the first; None if there is none."""
    values = {name: results.mean(Measured(name), metric) or 0.0 for name in results.baselines}
    return max(values, key=values.__getitem__) if values else None


def noise_of(results: Results, metric: str) -> TrainingNoise | None:
    """Return the noise of training in a metric, percentage points, from all runs."""
    values = [[results.metrics[run, seed][metric] for seed in results.seeds] for run in results.runs]
    return training_noise(np.array(values, np.float64).reshape(len(results.runs), len(results.seeds)))


def difference(
    results: Results, one: Measured, other: Measured, metric: str, noise: TrainingNoise | None
) -> Estimate | None:
    """Return the difference of a metric in points; None if one was not measured, or for fewer than two posts."""
    units, others = results.of(one, metric), results.of(other, metric)
    if units["unit"].n_unique() < 2 or others.is_empty():
        return None
    return moderated(paired(units, others).scaled(100), noise)


def claims_table(results: Results, metric: str) -> pl.DataFrame:
    """Return the claims with our difference in points, its 95 % interval, p before and after Holm, and a verdict."""
    noise = noise_of(results, metric)
    claims = claims_of(results.runs, results.baselines, best_baseline(results, metric))
    found = [difference(results, claim.better, claim.worse, metric, noise) for claim in claims]
    return judged_table(claims, found)


def results_table(results: Results) -> pl.DataFrame:
    """Return every measure of every run and baseline: mean over seeds and 95 % interval, percent."""
    rows = []
    for name in [*results.runs, *results.baselines]:
        of_run = results.units.filter(run=name)
        for metric in of_run["metric"].unique(maintain_order=True):
            units = of_run.filter(metric=metric)
            sums = units.group_by("seed").agg(pl.col("denominator").sum())["denominator"]
            known: Sequence[float | None] = (None, None, None)
            if (sums > 0).all() and len(sums) == len(results.seeds) and units["unit"].n_unique() > 1:
                known = [round(100 * value, 4) for value in estimate(unit_values(units)).interval()]
            rows.append((name, metric, *known))
    numbers = dict.fromkeys(["mean", "low", "high"], pl.Float64)
    return pl.DataFrame(rows, schema={"run": pl.String, "metric": pl.String, **numbers}, orient="row")


def at_k_texts(results: Results, params: EvaluateParams) -> pages.Table:
    """Return precision, recall and accuracy at each k, with the paper's precision on both of its data sets."""
    columns = [pages.Column("run", number=False, name=True)]
    for measure in ("precision", "recall", "accuracy"):
        columns += [pages.Column(f"{k}", group=f"{measure} at") for k in params.at]
    columns += [
        pages.Column(f"{name}, P {k}", group="published") for name in ("YFCC100M", "NUS-WIDE") for k in params.at
    ]
    rows = []
    for one in results.measured():
        row = [one.label]
        for measure in ("precision", "recall", "accuracy"):
            row += [pages.number(results.mean(one, f"{measure}{k}")) for k in params.at]
        paper = "A4" if one == Measured("A6", COLD) else (one.name if not one.condition else "")
        for table in (YFCC100M, NUS_WIDE):
            known = table.get(paper)
            row += [pages.number(None if known is None else known.at("precision", k), 0) for k in params.at]
        rows.append(row)
    return pages.Table(columns, rows)


def sets_texts(results: Results) -> pages.Table:
    """Return C-P to O-F1 and the coverage."""
    columns = [pages.Column("run", number=False, name=True), *map(pages.Column, SETS.values())]
    named = [Measured(name) for name in [*results.runs, *results.baselines]]
    return pages.Table(
        columns, [[one.label, *(pages.number(results.mean(one, metric)) for metric in SETS)] for one in named]
    )


def lengths_texts(results: Results, params: EvaluateParams) -> pages.Table:
    """Return the precision by length of the history."""
    prefix = f"precision{params.lengths_at}_history_"
    groups = sorted(
        {name.removeprefix(prefix) for name in results.units["metric"].unique() if name.startswith(prefix)},
        key=lambda text: int(text.split("-")[0].rstrip("+")),
    )
    columns = [pages.Column("run", number=False, name=True)]
    columns += [pages.Column(text, group="tags in the history") for text in groups]
    named = [Measured(name) for name in [*results.runs, *results.baselines]]
    rows = [[one.label, *(pages.number(results.mean(one, f"{prefix}{text}")) for text in groups)] for one in named]
    return pages.Table(columns, rows)


def at_k(metric: str) -> str:
    """Return a metric's name for people: ``precision5`` as ``precision at 5``."""
    name = metric.rstrip("0123456789")
    return f"{name} at {metric.removeprefix(name)}"


def draw_precision(figure: Figure, results: Results, metric: str) -> None:
    """Draw a bar for each run and baseline."""
    axes = figure.add_subplot()
    named = results.measured()[::-1]
    values = [results.mean(one, metric) or 0.0 for one in named]
    colours = [METHODS[0] if one.name in results.runs else METHODS[1] for one in named]
    axes.barh([one.label.replace("_", " ") for one in named], values, color=colours)
    axes.set_xlabel(f"{at_k(metric)}, %")
    axes.set_title("Recommended tags that the user gave")


def evolving_shares(results: Results) -> list[float]:
    """Return the shares of histories with which runs were measured, percent, ascending."""
    names = [name for name in results.units["metric"].unique() if name.startswith("evolving_")]
    return sorted({float(name.split("_")[1]) for name in names})


def draw_evolving(figure: Figure, results: Results, metric: str) -> None:
    """Draw a line for each run: precision by the share of the history that is known (Table XII)."""
    axes = figure.add_subplot()
    shares = evolving_shares(results)
    with_history = [run for run in results.runs if results.mean(Measured(run, COLD), metric) is not None]
    for run, colour in zip(with_history, METHODS * len(with_history), strict=False):
        conditions = [COLD, *(f"evolving_{share:g}_" for share in shares)]
        values = [results.mean(Measured(run, condition), metric) for condition in conditions]
        axes.plot(
            [0.0, *shares], [np.nan if value is None else value for value in values], "o-", color=colour, label=run
        )
    axes.set_xlabel("of the user's earlier posts, %")
    axes.set_ylabel(f"{at_k(metric)}, %")
    axes.set_title("A history that grows")
    axes.legend()


def read_examples(folder: Path, runs: Sequence[str]) -> dict[str, bytes]:
    """Return the picture of each example, as PNG, by its name in the report.

    Raises:
        UserError: one is missing.
    """
    found = {}
    for run in runs:
        path = folder / run / "example.png"
        if not path.is_file():
            raise UserError(f"{path}: no such file, but tagging.plan.examples lists the run; run `dvc repro`")
        found[f"example_{run}"] = path.read_bytes()
    return found


def write_report(
    folder: Path,
    results: Results,
    params: ReportParams,
    measured: EvaluateParams,
    examples: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """Write all files of the report into a folder; `examples` has pictures from `read_examples`."""
    metric = f"precision{measured.lengths_at}"
    claims = claims_table(results, metric)
    write_csv(results_table(results), folder / "results.csv")
    write_csv(claims, folder / "claims.csv")
    height = 1 + 0.3 * len(results.measured())
    pictures = {"precision": picture(lambda figure: draw_precision(figure, results, metric), 7, height)}
    if results.runs and evolving_shares(results):
        pictures["evolving"] = picture(lambda figure: draw_evolving(figure, results, metric), 6, 3.5)
    pictures |= examples
    for name, content in pictures.items():
        (folder / f"{name}.png").write_bytes(content)
    best = best_baseline(results, metric)
    posts = [of["posts"] for of in results.metrics.values()]
    part = part_of(
        SYSTEM,
        f"{TITLE}: {params.data_set}",
        [("tagging_tags", "Recommended tags"), ("tagging_claims", "Claims"), ("tagging_histories", "Histories")],
        TEMPLATE,
        pictures,
        note=params.note,
        seeds=", ".join(map(str, results.seeds)),
        k=measured.lengths_at,
        category_k=measured.category_at,
        tested=max(of["tested"] for of in posts),
        without=max(of["tested without a tag"] for of in posts),
        best=None if best is None else (best, pages.number(results.mean(Measured(best), metric))),
        tags=at_k_texts(results, measured),
        sets=sets_texts(results),
        claims=claims_texts(claims, tested="test posts") if len(claims) else None,
        deciding=sample_note(claims, tested="test posts"),
        lengths=lengths_texts(results, measured),
        examples={name: name.removeprefix("example_") for name in examples},
    )
    write_part(part, folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder of recipes and evaluations")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("report tagging") as closing:
        plan = load_section(PlanParams, "tagging.plan", arguments.params)
        params = load_section(ReportParams, "tagging.report", arguments.params)
        measured = load_section(EvaluateParams, "tagging.evaluate", arguments.params)
        seeds = read_seeds(arguments.params)
        with whole_directory(arguments.output) as folder:
            if plan.runs or plan.baselines:
                results = read_results(arguments.results / "evaluations", plan, seeds)
                examples = read_examples(arguments.results / "examples", plan.examples)
                write_report(folder, results, params, measured, examples)
            else:
                reason = "the parameter file lists no run (tagging.plan: runs, baselines)."
                write_part(not_run(SYSTEM, TITLE, reason), folder)
        closing.counts["runs and baselines reported"] = len(plan.runs) + len(plan.baselines)
        closing.wrote[str(arguments.output)] = "the tag recommendation system's part of the report"
        closing.next_command = "dvc repro report"


if __name__ == "__main__":
    main()

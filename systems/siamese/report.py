"""The system's part of the report: accuracies by labels and phase, claims with verdicts, and the names' reliability.

    python -m systems.siamese.report --system data/siamese --words data/sets/toy/click_labels/words.parquet \\
        --output data/siamese/report

In: the evaluations of the declared runs, how reliable the names are (``labels/denoised-*/categories.parquet``), and the
words of names with what the log says of them.
Out: ``part.json``, which `report.index` puts on the page; ``results.csv``, each run's metrics by phase with 95 %
intervals; ``claims.csv``; ``names.csv``.

No published figure is at hand, so there is no column for the paper's.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from base.artifacts import read_tables, whole_directory
from base.console import stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from model.measures.evaluations import read_evaluations
from report import pages
from report.claims import claims_texts, judged_table, sample_note
from report.intervals import Estimate, accuracy_interval, estimate, paired, unit_values
from report.sections import not_run, part_of, write_part
from report.spreadsheets import write_csv
from report.training_noise import TrainingNoise, moderated, training_noise
from systems.siamese.claims import HEADINGS, Trained, claims_of
from systems.siamese.config import FROZEN, PHASES, PlanParams, Point, read_run

SYSTEM, TITLE = "siamese", "Siamese fine-tuning on click-log images"
TEMPLATE = Path(__file__).with_name("report.html.jinja")
MEASURES = {
    "accuracy": "Acc",
    "category_accuracy": "mean per category",
    "top5": "top-5",
    "nearest_mean": "nearest mean of g",
    "pair_auc": "pair AUC",
}
NO_CELLS = [pages.NOTHING, pages.NOTHING]


class ReportParams(Params):
    """The report's texts about the data."""

    data_set: str = Field(description="the data set's name, such as 'toy (drawn)'", min_length=1)
    note: str = Field(description="what a reader must know about the data before reading its numbers", min_length=1)
    names: int = Field(description="number of words of names to list", ge=1)


@dataclass(frozen=True)
class Results:
    """The evaluations of the declared runs.

    Attributes:
        runs: the runs' texts.
        seeds: the declared seeds.
        units: `base.schemas.UNITS` of all evaluations, with the columns `run` and `seed`.
        metrics: content of ``metrics.json`` by run and seed.
    """

    runs: list[str]
    seeds: list[int]
    units: pl.DataFrame
    metrics: Mapping[tuple[str, int], dict[str, Any]]

    def of(self, trained: Trained, measure: str = "accuracy") -> pl.DataFrame:
        """Return the units of a measure; no row if the phase wasn't trained."""
        return self.units.filter(run=trained.run, metric=f"{measure}_{trained.phase}")

    def trained(self) -> list[Trained]:
        """Return all phases of all runs."""
        every = [Trained(run, phase) for run in self.runs for phase in (*PHASES, FROZEN)]
        return [one for one in every if len(self.of(one))]


def read_results(evaluations: Path, runs: Sequence[str], seeds: Sequence[int]) -> Results:
    """Read the evaluations of all runs and seeds.

    Raises:
        UserError: an evaluation is missing, or its metrics are not those of its units.
    """
    folders = {run: (evaluations / FROZEN if read_run(run).frozen else evaluations) / run for run in runs}
    found = read_evaluations(folders, seeds, "the parameter file", scale=100, tolerance=1e-3)
    return Results(list(runs), list(seeds), *found)


def start_of(run: str) -> Point:
    """Return what a run's weights before the fine-tuning depend on: runs that differ in the fine-tuning share them."""
    return replace(read_run(run), changes=())


def noise_of(results: Results, phase: str) -> TrainingNoise | None:
    """Return the noise of training in a phase's accuracy, percentage points, from all runs that have the phase.

    Of runs that start from the same weights only the first counts: the others are no further trainings.
    """
    metrics, name = results.metrics, f"accuracy_{phase}"
    starts = {start_of(one.run): one.run for one in reversed(results.trained()) if one.phase == phase}
    values = [[metrics[run, seed][name] for seed in results.seeds] for run in starts.values()]
    return training_noise(np.array(values, np.float64))


def difference(
    results: Results, one: Trained, other: Trained, noise: Mapping[str, TrainingNoise | None]
) -> Estimate | None:
    """Return the difference of two accuracies in points, on the test images that both were tested on.

    Two phases that start from the same weights differ far less from seed to seed than two trainings do: what the runs
    together say of the noise is used for two trainings alone.

    Args:
        results: the evaluations.
        one, other: what is compared.
        noise: of training, by phase; that of `other`'s phase is used.

    Returns:
        None if one of them wasn't trained, or they have fewer than two test images in common.
    """
    units, others = results.of(one), results.of(other)
    keys = ["seed", "unit"]
    common, others = units.join(others, on=keys, how="semi"), others.join(units, on=keys, how="semi")
    if common["unit"].n_unique() < 2 or common["seed"].n_unique() < len(results.seeds):
        return None
    found = paired(common, others).scaled(100)
    return found if start_of(one.run) == start_of(other.run) else moderated(found, noise[other.phase])


def claims_table(results: Results) -> pl.DataFrame:
    """Return the claims with our difference in points, its 95 % interval, p before and after Holm, and a verdict."""
    claims = [
        claim for claim in claims_of(results.runs) if len(results.of(claim.better)) and len(results.of(claim.worse))
    ]
    noise = {phase: noise_of(results, phase) for phase in sorted({claim.worse.phase for claim in claims})}
    found = [difference(results, claim.better, claim.worse, noise) for claim in claims]
    return judged_table(claims, found).sort("claim", maintain_order=True)


def results_table(results: Results) -> pl.DataFrame:
    """Return every measure of every phase of every run: mean over seeds and 95 % interval, percent."""
    rows = []
    for one in results.trained():
        for measure in MEASURES:
            units = results.of(one, measure)
            sums = units.group_by("seed").agg(pl.col("denominator").sum())["denominator"]
            known: Sequence[float | None] = (None, None, None)
            if len(units) and (sums > 0).all() and units["unit"].n_unique() > 1:
                values = unit_values(units)
                is_share = measure in ("accuracy", "top5", "nearest_mean")
                found = accuracy_interval(values) if is_share else estimate(values).interval()
                known = [round(100 * value, 4) for value in found]
            rows.append((one.run, one.phase, measure, *known))
    return pl.DataFrame(
        rows,
        schema=["run", "phase", "measure", "mean", "low", "high"],
        schema_overrides=dict.fromkeys(["mean", "low", "high"], pl.Float64),
        orient="row",
    )


def accuracies_texts(table: pl.DataFrame, runs: Sequence[str]) -> pages.Table:
    """Return the table of accuracies: a row per run, a pair of columns per phase."""
    columns = [pages.Column("labels of the source", number=False, name=True)]
    for phase in PHASES:
        columns += [pages.Column("Acc, %", group=HEADINGS[phase]), pages.Column("95 %", group=HEADINGS[phase])]
    cells = _accuracies(table)
    rows = [[run, *(text for phase in PHASES for text in cells.get((run, phase), NO_CELLS))] for run in runs]
    return pages.Table(columns, rows)


def _accuracies(table: pl.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Return the cells of each phase of each run: accuracy and its interval."""
    rows = table.filter(measure="accuracy").drop("measure").iter_rows()
    return {(run, phase): [pages.number(mean), pages.interval(*ends)] for run, phase, mean, *ends in rows}


def frozen_texts(table: pl.DataFrame, points: Sequence[Point]) -> pages.Table:
    """Return the table of runs with a frozen ConvNet: a row per labels, a pair of columns per number of targets."""
    columns = [pages.Column("labels of the source", number=False, name=True)]
    targets = sorted({point.targets for point in points}, key=lambda number: (number is None, number))
    for number in targets:
        heading = {0: "no target labels", None: "all target images but the tests"}.get(number, f"{number} a category")
        columns += [pages.Column("Acc, %", group=heading), pages.Column("95 %", group=heading)]
    cells = _accuracies(table)
    rows = []
    for labels, soft in dict.fromkeys((point.labels, point.soft) for point in points):
        names = [Point(labels, number, frozen=True, soft=soft).name for number in targets]
        row = [text for name in names for text in cells.get((name, FROZEN), NO_CELLS)]
        rows.append([f"{labels}, soft" if soft else labels, *row])
    return pages.Table(columns, rows)


def validation_of(results: Results, one: Trained) -> float | None:
    """Return the mean over seeds of the chosen epoch's accuracy on the source's validation images, percent.

    Their labels are the run's own. Parameters are to be chosen by this accuracy, because the target is test data.
    With a frozen ConvNet no epoch is chosen, and the result is None.
    """
    if one.phase == FROZEN:
        return None
    values = [results.metrics[one.run, seed]["chosen"][one.phase]["value"] for seed in results.seeds]
    return float(np.mean(values))


def measures_texts(table: pl.DataFrame, results: Results) -> pages.Table:
    """Return the table of all measures: a row per run and phase."""
    columns = [pages.Column("labels of the source", number=False, name=True), pages.Column("phase", number=False)]
    columns += [pages.Column(heading) for heading in MEASURES.values()]
    columns += [pages.Column("source, validation")]
    means = {(run, phase, measure): mean for run, phase, measure, mean, _, _ in table.iter_rows()}
    rows = [
        [
            one.run,
            HEADINGS[one.phase],
            *(pages.number(means[one.run, one.phase, measure]) for measure in MEASURES),
            pages.number(validation_of(results, one)),
        ]
        for one in results.trained()
    ]
    return pages.Table(columns, rows)


def reliability_tables(labels: Path, kinds: Sequence[str]) -> pl.DataFrame:
    """Return `schemas.RELIABILITY` of all denoised labels, with the column `labels`; the least reliable names first."""
    tables = [
        pl.DataFrame(read_tables(labels / f"denoised-{kind}" / "categories.parquet")).with_columns(labels=pl.lit(kind))
        for kind in kinds
    ]
    return pl.concat(tables).sort("labels", "reliability", "category", nulls_last=True) if tables else pl.DataFrame()


def words_table(words: Path, number: int) -> pl.DataFrame:
    """Return the most clicked words of names: `word`, its `forms` in queries, `categories`, `clicks`, `reliability`."""
    table = pl.DataFrame(read_tables(words)).sort(["clicks", "word"], descending=[True, False]).head(number)
    return table.select(
        "word",
        pl.col("forms").list.join(", "),
        pl.col("categories").list.len().cast(pl.Int64),
        "clicks",
        "reliability",
    )


def write_report(
    system: Path, words: Path, folder: Path, results: Results, params: ReportParams, plan: PlanParams
) -> None:
    """Write all files of the report into a folder."""
    table, claims = results_table(results), claims_table(results)
    names = reliability_tables(system / "labels", plan.denoised)
    write_csv(table, folder / "results.csv")
    write_csv(claims, folder / "claims.csv")
    sections = [("siamese_accuracies", "Labels and fine-tuning"), ("siamese_claims", "Claims of the siamese system")]
    sections += [("siamese_names", "Names in the log")]
    if not names.is_empty():
        write_csv(names, folder / "names.csv")
        names = names.with_columns(pl.col("name_right", "right", "reliability") * 100)
    tested = [results.metrics[run, seed]["images"] for run in results.runs for seed in results.seeds]
    lacking = max(images["of categories that the source lacks"] for images in tested)
    part = part_of(
        SYSTEM,
        f"{TITLE}: {params.data_set}",
        sections,
        TEMPLATE,
        {},
        note=params.note,
        seeds=", ".join(map(str, results.seeds)),
        several=len(results.seeds) > 1,
        lacking=lacking,
        accuracies=accuracies_texts(table, plan.runs) if plan.runs else None,
        frozen=frozen_texts(table, [read_run(run) for run in plan.frozen]) if plan.frozen else None,
        measures=measures_texts(table, results),
        claims=claims_texts(claims) if len(claims) else None,
        deciding=sample_note(claims),
        names=None
        if names.is_empty()
        else pages.plain_table(
            names.with_columns(pl.col("mistaken_for").fill_null(pages.NOTHING)),
            {
                "labels": "labels",
                "category": "category",
                "images_named": "images named",
                "name_right": "right, expected %",
                "images_kept": "kept",
                "right": "right, expected %",
                "reliability": "reliability, %",
                "mistaken_for": "mistaken for",
            },
        ),
        words=pages.plain_table(
            words_table(words, params.names),
            {
                "word": "word",
                "forms": "in queries",
                "categories": "categories",
                "clicks": "clicks",
                "reliability": "reliability",
            },
            decimals=2,
        ),
    )
    write_part(part, folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", type=Path, required=True, help="folder of labels and evaluations")
    parser.add_argument("--words", type=Path, required=True, help="words of names, from `label_from_clicks`")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("report siamese") as closing:
        plan = load_section(PlanParams, "siamese.plan", arguments.params)
        params = load_section(ReportParams, "siamese.report", arguments.params)
        seeds = read_seeds(arguments.params)
        with whole_directory(arguments.output) as folder:
            if runs := [*plan.runs, *plan.frozen]:
                results = read_results(arguments.system / "evaluations", runs, seeds)
                write_report(arguments.system, arguments.words, folder, results, params, plan)
            else:
                reason = "the parameter file lists no run (siamese.plan: runs, frozen)."
                write_part(not_run(SYSTEM, TITLE, reason), folder)
        closing.counts["runs reported"] = len(runs)
        closing.wrote[str(arguments.output)] = "the siamese system's part of the report"
        closing.next_command = "dvc repro report"


if __name__ == "__main__":
    main()

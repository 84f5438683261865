"""The system's part of the report: components, rules, quantities, studies, claims with verdicts, and plots.

    python -m systems.annotation.report --evaluations data/annotation/evaluations --output data/annotation/report

In: the evaluations of the declared runs and comparison methods.
Out: ``part.json``, which `report.index` puts on the page; ``results.csv``, every metric of every run with its 95 %
interval; ``claims.csv``; ``quantities.png`` (Fig. 6) and ``reliability.png``.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from base.artifacts import read_json, read_tables, whole_directory
from base.console import stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from model.measures.evaluations import read_evaluations
from model.measures.label_sets import SET_MEASURES
from report import pages
from report.claims import claims_texts, judged_table, sample_note
from report.intervals import Estimate, estimate, paired, unit_values
from report.sections import not_run, part_of, write_part
from report.spreadsheets import write_csv
from report.training_noise import TrainingNoise, moderated, training_noise
from systems.annotation.claims import BASELINES, Annotator, claims_of
from systems.annotation.config import (
    BASE,
    CHAIN,
    CNN,
    FUSED,
    JOINT,
    LABELS,
    QUANTITY,
    QUANTITY_VISUAL,
    RECURRENT,
    PlanParams,
)
from systems.annotation.measures import SQUARED_ERROR
from systems.annotation.plots import draw_quantities, draw_reliability
from systems.annotation.published import H_F1, QUANTITY_ACCURACY, QUANTITY_MSE, Published
from systems.annotation.rules import RuleParams

SYSTEM, TITLE = "annotation", "Image annotation with scales, tags and the number of labels"
TEMPLATE = Path(__file__).with_name("report.html.jinja")
HEADINGS = dict(zip(SET_MEASURES, ("C-P", "C-R", "C-F1", "I-P", "I-R", "I-F1", "H-F1"), strict=True))


class ReportParams(Params):
    """The report's texts about the data."""

    data_set: str = Field(description="the data set's name, such as 'toy (drawn)'", min_length=1)
    note: str = Field(description="what a reader must know about the data before reading its numbers", min_length=1)


@dataclass(frozen=True)
class Results:
    """The evaluations of the declared runs and comparison methods.

    Attributes:
        runs: names.
        seeds: the declared seeds.
        units: `base.schemas.UNITS` of all evaluations, with the columns `run` and `seed`.
        metrics: content of ``metrics.json`` by run and seed.
    """

    runs: list[str]
    seeds: list[int]
    units: pl.DataFrame
    metrics: Mapping[tuple[str, int], dict[str, Any]]

    def of(self, one: Annotator) -> pl.DataFrame:
        """Return the units of a metric of a run; no row if it wasn't measured."""
        return self.units.filter(run=one.run, metric=one.metric)


def read_results(evaluations: Path, runs: Sequence[str], seeds: Sequence[int]) -> Results:
    """Read the evaluations of all runs and seeds.

    Raises:
        UserError: an evaluation is missing, or its metrics are not those of its units.
    """
    folders = {run: evaluations / run for run in runs}
    found = read_evaluations(folders, seeds, "the parameter file", scale=100, tolerance=1e-3)
    return Results(list(runs), list(seeds), *found)


def scale_of(metric: str) -> float:
    """Return the factor from a ratio to what is reported: percent, but squared errors as they are."""
    return 1.0 if metric.startswith(SQUARED_ERROR) else 100.0


def results_table(results: Results) -> pl.DataFrame:
    """Return every metric of every run: mean over seeds and 95 % interval."""
    rows = []
    for (run, metric), units in results.units.group_by("run", "metric", maintain_order=True):
        sums = units.group_by("seed").agg(pl.col("denominator").sum())["denominator"]
        known: list[float | None] = [None, None, None]
        if (sums > 0).all() and len(sums) == len(results.seeds) and units["unit"].n_unique() > 1:
            found = estimate(unit_values(units)).scaled(scale_of(str(metric))).interval()
            known = [round(value, 4) for value in found]
        rows.append((run, metric, *known))
    schema = {"run": pl.String, "metric": pl.String, **dict.fromkeys(["mean", "low", "high"], pl.Float64)}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("run", "metric")


def noise_of(results: Results) -> TrainingNoise | None:
    """Return the noise of training in H-F1 of the top labels, points, from all phases of all runs."""
    names = sorted(
        {
            (run, name)
            for (run, _), metrics in results.metrics.items()
            for name in metrics
            if name.startswith("h_f1_") and name.endswith("_top")
        }
    )
    values = [[results.metrics[run, seed].get(name) for seed in results.seeds] for run, name in names]
    return training_noise(
        np.array([row for row in values if None not in row], np.float64).reshape(-1, len(results.seeds))
    )


def difference(results: Results, one: Annotator, other: Annotator, noise: TrainingNoise | None) -> Estimate | None:
    """Return the difference of two measures; None if one of them wasn't measured."""
    units, others = results.of(one), results.of(other)
    if units.is_empty() or others.is_empty():
        return None
    found = paired(units, others).scaled(scale_of(one.metric))
    return moderated(found, noise) if one.metric.startswith("h_f1_") else found


def claims_table(results: Results, thresholds: Sequence[float], noise: TrainingNoise | None) -> pl.DataFrame:
    """Return the claims with our difference, its 95 % interval, p before and after Holm, and a verdict."""
    claims = claims_of(results.runs, thresholds)
    found = [difference(results, claim.better, claim.worse, noise) for claim in claims]
    return judged_table(claims, found, decimals=3)


def h_f1_rows(runs: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return the rows of the table of results: name, run and suffix of its metrics."""
    rows = []
    if BASE in runs:
        rows += [
            ("true number (upper bound)", BASE, f"{LABELS}_true"),
            ("MS-CNN + tags + quantity", BASE, f"{LABELS}_predicted"),
            ("MS-CNN + quantity", BASE, f"{FUSED}_predicted"),
            ("MS-CNN + tags", BASE, f"{LABELS}_top"),
            ("MS-CNN", BASE, f"{FUSED}_top"),
            ("CNN", BASE, f"{CNN}_top"),
            ("tags alone", BASE, "tags_top"),
        ]
    others = [
        ("end to end", "joint", f"{JOINT}_predicted"),
        ("average pooling", "fusion=average", f"{FUSED}_top"),
        ("max pooling", "fusion=maximum", f"{FUSED}_top"),
        *((f"stages from {first}", f"first={first}", f"{FUSED}_top") for first in (2, 3, 4, 5, 6)),
        ("word vectors", "tags=vectors", f"{LABELS}_top"),
        ("tags shuffled", "tags=shuffled", f"{LABELS}_top"),
        ("tags shuffled, quantity", "tags=shuffled", f"{LABELS}_predicted"),
        ("quantity as classes", "quantity=classes", f"{FUSED}_predicted"),
        ("softmax", "loss=softmax", f"{CNN}_top"),
        ("WARP", "loss=warp", f"{CNN}_top"),
        ("asymmetric loss", "loss=asymmetric", f"{CNN}_top"),
    ]
    rows += [(name, f"{BASE}_{option}", suffix) for name, option, suffix in others if f"{BASE}_{option}" in runs]
    if RECURRENT in runs:
        rows += [
            ("CNN-RNN", RECURRENT, f"{CHAIN}_top"),
            ("CNN-RNN, paths that end by themselves", RECURRENT, f"{CHAIN}_beam"),
        ]
    compared = f"{BASELINES}/{BASE}"
    if compared in runs:
        rows += [("logistic", compared, "logistic_top"), ("TagNeighbour", compared, "neighbours_top")]
    return rows


def results_texts(table: pl.DataFrame, runs: Sequence[str]) -> pages.Table:
    """Return the table of results: all measures, the interval of H-F1, and the paper's H-F1."""
    columns = [pages.Column("", number=False, name=True)]
    columns += [pages.Column(heading, group="ours, %") for heading in HEADINGS.values()]
    columns += [pages.Column("95 %", group="ours, %"), pages.Column("mAP", group="ours, %")]
    columns += [pages.Column(name, group="published H-F1") for name in ("NUS-WIDE", "COCO")]
    found = by_name(table)
    rows = []
    for name, run, suffix in h_f1_rows(runs):
        values = [found.get((run, f"{measure}_{suffix}"), (None, None, None)) for measure in HEADINGS]
        mean = found.get((run, f"map_{suffix.rpartition('_')[0]}"), (None, None, None))[0]
        rows.append(
            [
                name,
                *(pages.number(value[0]) for value in values),
                pages.interval(*values[-1][1:]),
                pages.number(mean),
                *_published(H_F1.get(name), 2),
            ]
        )
    return pages.Table(columns, rows)


def by_name(table: pl.DataFrame) -> dict[tuple[str, str], tuple[float | None, float | None, float | None]]:
    """Return (mean, low, high) of every metric by run and name."""
    return {(run, metric): (mean, low, high) for run, metric, mean, low, high in table.iter_rows()}


def _published(row: Published | None, digits: int) -> list[str]:
    return [pages.NOTHING] * 2 if row is None else [pages.number(value, digits) for value in row]


def rules_texts(table: pl.DataFrame, thresholds: Sequence[float], top: int) -> pages.Table:
    """Return the table of rules (Table X): I-P, I-R and H-F1 with and without tags."""
    columns = [pages.Column("an image gets", number=False, name=True)]
    for group in ("without tags", "with tags"):
        columns += [pages.Column(heading, group=group) for heading in ("I-P", "I-R", "H-F1", "95 %")]
    rules = [("predicted", "the predicted number of labels"), ("top", f"{top} labels")]
    rules += [(f"threshold={p:g}", f"labels with a probability of at least {p:g}") for p in thresholds]
    rules += [("tuned", "labels that reach their own threshold"), ("true", "the true number (upper bound)")]
    found = by_name(table)
    rows = []
    for rule, says in rules:
        cells = [says]
        for phase in (FUSED, LABELS):
            values = [found.get((BASE, f"{name}_{phase}_{rule}"), (None,) * 3) for name in ("i_p", "i_r", "h_f1")]
            cells += [*(pages.number(value[0]) for value in values), pages.interval(*values[-1][1:])]
        rows.append(cells)
    return pages.Table(columns, rows)


def quantities_texts(table: pl.DataFrame) -> pages.Table:
    """Return the table of the predicted number of labels (Tables VIII and IX)."""
    columns = [pages.Column("", number=False, name=True)]
    for group in ("accuracy, %", "squared error"):
        columns += [pages.Column(heading, group=group) for heading in ("ours", "95 %", "NUS-WIDE", "COCO")]
    found = by_name(table)
    rows = []
    for name, phase in (("without tags", QUANTITY_VISUAL), ("with tags", QUANTITY)):
        cells = [name]
        measures = (("quantity_accuracy", QUANTITY_ACCURACY, 1, 2), ("quantity_mse", QUANTITY_MSE, 2, 3))
        for metric, published, digits, theirs in measures:
            mean, low, high = found.get((BASE, f"{metric}_{phase}"), (None, None, None))
            ends = pages.NOTHING if low is None else f"{pages.number(low, digits)} to {pages.number(high, digits)}"
            cells += [pages.number(mean, digits), ends, *_published(published[name], theirs)]
        rows.append(cells)
    return pages.Table(columns, rows)


def write_report(evaluations: Path, folder: Path, results: Results, params: ReportParams, rules: RuleParams) -> None:
    """Write all files of the report into a folder."""
    table = results_table(results)
    claims = claims_table(results, rules.thresholds, noise_of(results))
    write_csv(table, folder / "results.csv")
    write_csv(claims, folder / "claims.csv")
    pictures: dict[str, bytes] = {}
    first = evaluations / BASE / f"seed-{results.seeds[0]}"
    if BASE in results.runs:
        annotated = pl.DataFrame(read_tables(first / "predictions.parquet"))
        labels = read_json(first / "metrics.json")["labels"]
        pictures = {
            "annotation_quantities": draw_quantities(annotated),
            "annotation_reliability": draw_reliability(annotated, labels, rules.bins),
            "annotation_samples": (first / "samples.png").read_bytes(),
        }
        for name, data in pictures.items():
            (folder / f"{name.removeprefix('annotation_')}.png").write_bytes(data)
    found = by_name(table)
    part = part_of(
        SYSTEM,
        f"{TITLE}: {params.data_set}",
        [
            ("annotation_results", "Components and comparisons"),
            ("annotation_rules", "How many labels"),
            ("annotation_claims", "Claims about annotation"),
        ],
        TEMPLATE,
        pictures,
        note=params.note,
        seeds=", ".join(map(str, results.seeds)),
        several=len(results.seeds) > 1,
        results=results_texts(table, results.runs),
        rules=rules_texts(table, rules.thresholds, rules.top) if BASE in results.runs else None,
        quantities=quantities_texts(table) if BASE in results.runs else None,
        ece=[pages.number(found.get((BASE, f"{name}_{LABELS}"), (None,))[0], 2) for name in ("ece", "ece_calibrated")],
        claims=claims_texts(claims, 2) if len(claims) else None,
        deciding=sample_note(claims),
        has_plots=bool(pictures),
    )
    write_part(part, folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=Path, required=True, help="folder of all evaluations")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("report annotation") as closing:
        plan = load_section(PlanParams, "annotation.plan", arguments.params)
        params = load_section(ReportParams, "annotation.report", arguments.params)
        rules = load_section(RuleParams, "annotation.evaluate", arguments.params)
        seeds = read_seeds(arguments.params)
        with whole_directory(arguments.output) as folder:
            runs = [*plan.runs, *(f"{BASELINES}/{run}" for run in plan.baselines)]
            if runs:
                write_report(
                    arguments.evaluations, folder, read_results(arguments.evaluations, runs, seeds), params, rules
                )
            else:
                write_part(not_run(SYSTEM, TITLE, "the parameter file lists no run (annotation.plan.runs)."), folder)
        closing.counts["runs reported"] = len(runs)
        closing.wrote[str(arguments.output)] = "the annotation system's part of the report"
        closing.next_command = "dvc repro report"


if __name__ == "__main__":
    main()

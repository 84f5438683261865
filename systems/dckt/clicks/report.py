"""The report on the two-tower on clicks: four cells of seen and new queries and images, and differences of runs.

    python -m systems.dckt.clicks.report --evaluations data/dckt/clicks/evaluations --output data/dckt/clicks/report

In: the evaluations of the declared runs and seeds, and the numbers of queries.
Out: ``part.json``, which `systems.dckt.report.write` appends to the system's part of the page; ``results.csv``, each
metric of each run with its 95 % interval; ``differences.csv``, paired differences of nDCG between runs, with verdicts.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from base.artifacts import read_json, whole_directory
from base.console import stage
from base.params import DEFAULT_PATH, load_section, read_seeds
from model.measures.evaluations import read_evaluations
from report import pages
from report.claims import COLUMNS, DECIDING, sample_columns, sample_note, sample_text
from report.intervals import Estimate, estimate, paired, unit_values
from report.sections import Part, part_of, write_part
from report.spreadsheets import write_csv
from report.verdicts import Claimed, verdicts
from systems.dckt.clicks.config import CELLS, MEASURES, NDCG, ClicksParams, metric_of

NAME, TITLE = "dckt_clicks", "Search by words: two towers on clicks"
TEMPLATE = Path(__file__).with_name("report.html.jinja")
TESTED = "test queries"
COMPARED = (("weighted", "shuffled"), ("weighted", "unweighted"))  # the first is claimed to be better


def heading_of(query: str, image: str) -> str:
    """Return a cell in words."""
    return f"{query} queries, {image} images"


def read_units(evaluations: Path, runs: Sequence[str], seeds: Sequence[int]) -> pl.DataFrame:
    """Return the units of all runs and seeds, with the columns `run` and `seed`.

    Raises:
        UserError: an evaluation is missing, or its metrics are not those of its units.
    """
    return read_evaluations({run: evaluations / run for run in runs}, seeds, "the parameter file").units


def results_table(units: pl.DataFrame, runs: Sequence[str]) -> pl.DataFrame:
    """Return every metric of every run, percent: mean over seeds and 95 % interval; None below two queries."""
    rows = []
    for run in runs:
        for query, image in CELLS:
            for measure in MEASURES:
                of = units.filter(run=run, metric=metric_of(measure, query, image))
                enough = of["unit"].n_unique() > 1
                known = (
                    [round(100 * value, 2) for value in estimate(unit_values(of)).interval()] if enough else [None] * 3
                )
                rows.append((run, query, image, measure, of["unit"].n_unique(), *known))
    numbers = dict.fromkeys(["mean", "low", "high"], pl.Float64)
    texts = dict.fromkeys(["run", "queries", "images", "measure"], pl.String)
    return pl.DataFrame(rows, schema={**texts, "measured": pl.Int64, **numbers}, orient="row")


def difference(units: pl.DataFrame, one: str, other: str, query: str, image: str) -> Estimate | None:
    """Return the difference of two runs' nDCG in points; None with fewer than two queries."""
    metric = metric_of(NDCG, query, image)
    both = units.filter(run=one, metric=metric), units.filter(run=other, metric=metric)
    return None if min(part["unit"].n_unique() for part in both) < 2 else paired(*both).scaled(100)


def differences_table(units: pl.DataFrame) -> pl.DataFrame:
    """Return the differences in all cells, with p after Holm's correction over all of them, and a verdict."""
    listed = [
        (better, worse, query, image, difference(units, better, worse, query, image))
        for better, worse in COMPARED
        if {better, worse} <= set(units["run"])
        for query, image in CELLS
    ]
    judged = verdicts([Claimed(found) for *_, found in listed])
    rows = []
    for (*names, found), verdict in zip(listed, judged, strict=True):
        known = [None] * 3 if found is None else [round(value, 2) for value in found.interval()]
        needed = sample_columns(verdict.sample).values()
        rows.append((*names, *known, verdict.p, verdict.corrected, verdict.text, *needed))
    texts = dict.fromkeys(["better", "worse", "queries", "images"], pl.String)
    numbers = dict.fromkeys(["difference", "low", "high", "p", "p_holm"], pl.Float64)
    return pl.DataFrame(rows, schema={**texts, **numbers, "verdict": pl.String, **COLUMNS}, orient="row")


def results_texts(table: pl.DataFrame, runs: Sequence[str], k: int) -> pages.Table:
    """Return the table of results for the page: a row per run, the columns of each cell together."""
    columns = [pages.Column("a pair counts", number=False, name=True)]
    for query, image in CELLS:
        group = heading_of(query, image)
        columns += [pages.Column(f"nDCG@{k}", group=group), pages.Column("95 %", group=group)]
        columns += [pages.Column("MAP", group=group)]
    rows = []
    for run in runs:
        row = [run]
        for query, image in CELLS:
            cell = table.filter(run=run, queries=query, images=image)
            of = {one["measure"]: one for one in cell.iter_rows(named=True)}
            first, second = (of[measure] for measure in MEASURES)
            row += [pages.number(first["mean"]), pages.interval(first["low"], first["high"])]
            row += [pages.number(second["mean"])]
        rows.append(row)
    return pages.Table(columns, rows)


def differences_texts(table: pl.DataFrame) -> pages.Table:
    """Return the table of differences for the page."""
    columns = [pages.Column(text, number=False) for text in ("claim", "cell")]
    columns += [pages.Column(text) for text in ("difference", "95 %", "p, corrected")]
    columns += [pages.Column("verdict", number=False, verdict=True), pages.Column(DECIDING, number=False, name=True)]
    rows = [
        [
            f"{row['better']} > {row['worse']}",
            heading_of(row["queries"], row["images"]),
            pages.number(row["difference"], sign=True),
            pages.interval(row["low"], row["high"], sign=True),
            pages.number(row["p_holm"], 4),
            row["verdict"],
            sample_text(row, tested=TESTED),
        ]
        for row in table.iter_rows(named=True)
    ]
    return pages.Table(columns, rows)


def write_report(evaluations: Path, folder: Path, params: ClicksParams, seeds: Sequence[int]) -> None:
    """Write all files of the report into a folder."""
    units = read_units(evaluations, params.runs, seeds)
    results, differences = results_table(units, params.runs), differences_table(units)
    write_csv(results, folder / "results.csv")
    write_csv(differences, folder / "differences.csv")
    measured = results.filter(measure=NDCG, run=params.runs[0])
    part = part_of(
        NAME,
        TITLE,
        [],
        TEMPLATE,
        {},
        data_set=params.data_set,
        counts=read_json(evaluations / "queries.json"),
        seeds=", ".join(map(str, seeds)),
        several=len(seeds) > 1,
        k=params.evaluate.k,
        measured=[
            (heading_of(row["queries"], row["images"]), row["measured"]) for row in measured.iter_rows(named=True)
        ],
        results=results_texts(results, params.runs, params.evaluate.k),
        differences=differences_texts(differences) if len(differences) else None,
        deciding=sample_note(differences, TESTED),
    )
    write_part(part, folder)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=Path, required=True, help="folder of the runs' evaluations")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("report dckt clicks") as closing:
        params = load_section(ClicksParams, "dckt.clicks", arguments.params)
        seeds = read_seeds(arguments.params)
        with whole_directory(arguments.output) as folder:
            if params.runs:
                write_report(arguments.evaluations, folder, params, seeds)
            else:
                write_part(Part(NAME, TITLE, [], ""), folder)
        closing.counts["runs reported"] = len(params.runs)
        closing.wrote[str(arguments.output)] = "the part about two towers on clicks"
        closing.next_command = "python -m systems.dckt.report.write (see stages/dckt/dvc.yaml)"


if __name__ == "__main__":
    main()

"""The system's part of the report: the paper's Tables 2 and 3 and Fig. 4 with our results, and claims with verdicts.

    python -m systems.dckt.report.write --evaluations data/dckt/evaluations --output data/dckt/report

In: the plan of runs, and the evaluations of all its runs and seeds.
Out: ``part.json``, which `report.index` puts on the page; ``results.csv``, each run's MAP with 95 % intervals;
``claims.csv``; ``iterations.csv``; ``alpha.png`` and ``iterations.png`` where such runs are declared.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import Field

from base.artifacts import whole_directory
from base.console import stage
from base.params import DEFAULT_PATH, Params, load_section
from report.claims import claims_texts, sample_note
from report.sections import Part, not_run, part_of, read_part, write_part
from report.spreadsheets import write_csv
from systems.dckt.config import BEFORE, FULL, read_run
from systems.dckt.report import plots, tables
from systems.dckt.report.results import Results, read_results, with_pairs

SYSTEM, TITLE = "dckt", "Cross-media retrieval: knowledge from another image-text set"
TEMPLATE = Path(__file__).with_name("page.html.jinja")
LATE = 3  # the last iterations, whose change is stated


class ReportParams(Params):
    """The report's texts about the data."""

    data_set: str = Field(description="the data sets' names, such as 'drawn dogs to drawn birds'", min_length=1)
    note: str = Field(description="what a reader must know about the data before reading its numbers", min_length=1)


def alphas_of(results: Results, pairs: int | None) -> dict[float, str]:
    """Return the runs that differ in alpha alone, by alpha, ascending; empty with fewer than two of them."""
    runs = {}
    for point in results.points:
        changes = dict(point.changes)
        if point.pairs == pairs and point.base == FULL and changes.keys() <= {"alpha"}:
            runs[changes.get("alpha", results.alpha)] = point.name
    return dict(sorted(runs.items())) if len(runs) > 1 else {}


def late_change(iterations: pl.DataFrame) -> float | None:
    """Return the change of the mean validation MAP over the last iterations, points; None with too few of them."""
    means = iterations.group_by("iteration").agg(pl.col("map").mean()).sort("iteration")["map"].to_list()
    return means[-1] - means[-1 - LATE] if len(means) > LATE + 1 else None


def level_of(results: Results, pairs: int | None, pictures: dict[str, bytes]) -> dict[str, object]:
    """Return what the page shows of the runs with one limit of target pairs, and add its pictures to `pictures`."""
    suffix = "" if pairs is None else f"_{pairs}"
    found: dict[str, object] = {
        "heading": "all target training pairs"
        if pairs is None
        else f"at most {pairs} target training pairs a category",
        "table_2": tables.table_2(results, pairs),
        "table_3": tables.table_3(results, pairs, results.noise()),
        "alpha": None,
        "iterations": None,
        "change": None,
    }
    names = with_pairs([FULL, BEFORE], pairs)
    if alphas := alphas_of(results, pairs):
        before = results.interval(names[BEFORE]).mean if names[BEFORE] in results.runs else None
        values = [results.interval(run) for run in alphas.values()]
        found["alpha"] = name = f"alpha{suffix}"
        pictures[name] = plots.alpha_plot(list(alphas), values, before)
    curves = {
        run: table
        for run in with_pairs(list(tables.MEANINGS), pairs).values()
        if run in results.runs and len(table := results.iterations(run))
    }
    if curves:
        found["iterations"] = name = f"iterations{suffix}"
        pictures[name] = plots.iterations_plot(curves)
        if names[FULL] in curves:
            found["change"] = late_change(curves[names[FULL]])
    return found


def write_report(results: Results, folder: Path, params: ReportParams) -> Part:
    """Write tables and plots into a folder; return the part of the page."""
    claims = tables.claims_table(results, results.noise())
    write_csv(tables.results_table(results), folder / "results.csv")
    write_csv(claims, folder / "claims.csv")
    networks = [run for run in results.runs if not read_run(run).is_baseline]
    if networks:
        write_csv(pl.concat([results.iterations(run) for run in networks]), folder / "iterations.csv")
    pictures: dict[str, bytes] = {}
    levels = [level_of(results, pairs, pictures) for pairs in results.levels]
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    numbers = [results.metrics[results.runs[0], seed]["pairs"] for seed in results.seeds]
    sections = [("dckt_methods", "Retrieval across media"), ("dckt_claims", "Claims of DCKT")]
    return part_of(
        SYSTEM,
        f"{TITLE}: {params.data_set}",
        sections,
        TEMPLATE,
        pictures,
        note=params.note,
        seeds=", ".join(map(str, results.seeds)),
        several=len(results.seeds) > 1,
        queries=f"{min(numbers):,}" if min(numbers) == max(numbers) else f"{min(numbers):,} to {max(numbers):,}",
        levels=levels,
        late=LATE,
        claims=claims_texts(claims, tested="test pairs") if len(claims) else None,
        deciding=sample_note(claims, tested="test pairs"),
    )


def with_clicks(part: Part, clicks: Path) -> Part:
    """Return the part with that of the two towers on clicks below it, which is empty if they weren't run.

    Args:
        part: of the page.
        clicks: folder of `systems.dckt.clicks.report`.
    """
    below = read_part(clicks)
    sections = [(below.name, below.title)] if below.html else []
    return Part(part.name, part.title, [*part.sections, *sections], part.html + below.html)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=Path, required=True, help="folder of the plan and the evaluations")
    parser.add_argument("--clicks", type=Path, help="folder of the part about two towers on clicks, to append")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("report dckt") as closing:
        params = load_section(ReportParams, "dckt.report", arguments.params)
        results = read_results(arguments.evaluations)
        with whole_directory(arguments.output) as folder:
            if results.runs:
                part = write_report(results, folder, params)
            else:
                part = not_run(SYSTEM, TITLE, "the parameter file lists no run (dckt.runs: networks, baselines).")
            write_part(part if arguments.clicks is None else with_clicks(part, arguments.clicks), folder)
        closing.counts["runs reported"] = len(results.runs)
        closing.wrote[str(arguments.output)] = "the part on cross-media retrieval"
        closing.next_command = "dvc repro report"


if __name__ == "__main__":
    main()

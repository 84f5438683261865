"""Tables beside the paper's, plots, and a page that needs nothing beside it.

    python -m pipelines.report --data data --output data/report

In: what the parameters declare, and nothing else that may lie about: the evaluations of the declared methods, seeds,
component points, sweep points and cross-object runs, which of them the component studies are made of, what was found of
the click predictors that were looked into (`diagnose`), the summaries of `ingest` and `clean`, the splits and the
vocabulary.
Out: `index.html`; `table_viii`, `claims`, `noise_filter`, each component study as `study_<name>`, the sweeps
`out_of_class` and `one_shot`, and `cross_object` (Table IX) as `.csv` (`table_viii` also as `.json`, `.md` and, for the
screen, `.txt`), and pictures as `.png`. The result table stands on the screen at the end.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from pydantic import Field

from model.methods import MethodsParams
from model.recipes import CrossObjectParams, OneShotParams, OutOfClassParams
from model.studies import STUDIES, ComponentsParams
from pipelines import (
    published,
    report_cross_object,
    report_diagnostics,
    report_page,
    report_plots,
    report_studies,
    report_tables,
)
from pipelines.artifacts import read_tables, whole_directory, whole_file, write_json
from pipelines.console import Closing, stage
from pipelines.params import DEFAULT_PATH, Params, load_section, read_seeds
from pipelines.report_diagnostics import Diagnosed, Diagnosis, read_diagnoses
from pipelines.report_page import Table
from pipelines.report_runs import Runs, declared_points, read_runs, read_studies
from pipelines.spreadsheets import write_csv
from pipelines.terminal import printable

DOMAINS = ("source", "target")


class ReportParams(Params):
    """What the report says of the data, and how much of it it shows."""

    data_set: str = Field(description="the data set's name, as in 'toy (drawn)'", min_length=1)
    note: str = Field(description="what a reader must know of the data before reading numbers from it", min_length=1)
    top_words: int = Field(description="vocabulary words to list", ge=1)


class Sweep(NamedTuple):
    """A sweep's section of the report: its stage family, the words about it, and its table."""

    name: str
    title: str
    text: str
    axis: dict[str, str]
    percent: bool
    table: pl.DataFrame


def sweeps_of(runs: Runs, source_categories: int) -> list[Sweep]:
    """Return the sweeps that the parameters declare a point of.

    Args:
        runs: what was evaluated.
        source_categories: how many the whole source has.
    """
    sweeps = [
        Sweep(
            "out_of_class",
            "Fewer source categories (Fig. 13)",
            f"The source is cut to some of its {source_categories} categories; the target keeps all of its own.",
            {"source": "source categories"},
            False,
            report_tables.sweep_table(runs, "out_of_class", whole=source_categories),
        ),
        Sweep(
            "one_shot",
            "Fewer training images (Fig. 14)",
            "Of each category, only a share of the training images is kept, rounded up, in one of the two domains.",
            {domain: f"share of the {domain}'s training images" for domain in DOMAINS},
            True,
            report_tables.sweep_table(runs, "one_shot", whole=1.0),
        ),
    ]
    return [sweep for sweep in sweeps if not sweep.table.is_empty()]


def ingested_tables(summary: dict[str, Any]) -> tuple[Table, Table]:
    """Return the rows that `ingest` read and kept by table, and the quarantined ones by reason."""
    tables = pl.DataFrame(
        [
            (name, rows["rows_read"], rows["rows_kept"], sum(rows["quarantined"].values()))
            for name, rows in summary["tables"].items()
        ],
        schema=["table", "read", "kept", "quarantined"],
        orient="row",
    )
    reasons = [
        (name, reason, count)
        for name, rows in summary["tables"].items()
        for reason, count in sorted(rows["quarantined"].items())
    ]
    quarantined = pl.DataFrame(
        reasons, schema={"table": pl.String, "reason": pl.String, "rows": pl.Int64}, orient="row"
    )
    return (
        report_page.plain_table(
            tables, {"table": "rows of", "read": "read", "kept": "kept", "quarantined": "quarantined"}
        ),
        report_page.plain_table(quarantined, {"table": "rows of", "reason": "quarantined because", "rows": "rows"}),
    )


def chosen_sentence(runs: Runs) -> str:
    """Say which split chose the epochs."""
    ways = report_tables.chosen_epochs(runs)
    return f"Of each training phase that epoch was kept which was best by: {', '.join(ways)}."


def seeds_sentence(seeds: Sequence[int]) -> str:
    """Say how many trainings stand behind a number."""
    if len(seeds) == 1:
        return f"One split and one training of each method (seed {seeds[0]}): no spread over seeds can be given"
    listed = ", ".join(map(str, seeds))
    return f"Means over {len(seeds)} seeds ({listed}: split, initialisation and batches), ± their standard deviation"


def write_report(data: Path, folder: Path, runs: Runs, diagnoses: Sequence[Diagnosis], params: ReportParams) -> None:
    """Write all of the report's files into a folder."""
    splits = [(seed, pl.DataFrame(read_tables(data / "splits" / f"seed-{seed}.parquet"))) for seed in runs.seeds]
    categories = pl.DataFrame(read_tables(data / "splits" / "categories.parquet"))
    vocabulary = pl.DataFrame(read_tables(data / "features" / "vocabulary.parquet"))
    ingested, quarantined = ingested_tables(_read_json(data / "ingested" / "summary.json"))
    noise_filter = report_tables.noise_filter_table(_read_json(data / "cleaned" / "summary.json"))
    table_viii, claims = report_tables.table_viii(runs), report_tables.claims_table(runs)
    source_categories = len(categories.filter(pl.col("domain") == "source", pl.col("images_selected") > 0))
    sweeps = sweeps_of(runs, source_categories)
    studies = {name: report_studies.study_table(runs, name) for name in report_studies.reported(runs)}
    cross_object = report_cross_object.cross_object_table(runs)

    pictures = {
        "table_viii": report_plots.accuracies_plot(table_viii),
        "noise_filter": report_plots.noise_filter_plot(noise_filter),
        "vocabulary": report_plots.vocabulary_plot(vocabulary),
        **{
            f"study_{name}": report_plots.study_plot(table, report_studies.WORDS[name].axis, STUDIES[name].numeric)
            for name, table in studies.items()
        },
        **{sweep.name: report_plots.sweep_plot(sweep.table, sweep.axis, sweep.percent) for sweep in sweeps},
    }
    if not cross_object.is_empty():
        pictures["cross_object"] = report_plots.cross_object_plot(cross_object)
        write_csv(cross_object, folder / "cross_object.csv")
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    tables = {"table_viii": table_viii, "claims": claims, "noise_filter": noise_filter}
    tables |= {f"study_{name}": table for name, table in studies.items()}
    for name, table in {**tables, **{sweep.name: sweep.table for sweep in sweeps}}.items():
        write_csv(table, folder / f"{name}.csv")
    results = report_page.methods_table(table_viii)
    write_json(
        {
            "data": params.data_set,
            "published_data": published.DATA,
            "seeds": runs.seeds,
            "methods": table_viii.to_dicts(),
        },
        folder / "table_viii.json",
    )
    (folder / "table_viii.md").write_text(report_page.as_markdown(results), encoding="utf-8")
    below = f"ours: {params.data_set}; published: {published.DATA}; 95 %: interval; ±: deviation over seeds"
    (folder / "table_viii.txt").write_text(f"{report_page.as_text(results)}\n\n{below}\n", encoding="utf-8")

    # pictures that lie elsewhere already
    shown = {f"{found.method}_{name}": picture for found in diagnoses for name, picture in found.pictures.items()}
    page = report_page.render(
        pictures | shown,
        title=f"Image recognition with predicted user clicks: {params.data_set}",
        note=params.note,
        seeds=seeds_sentence(runs.seeds),
        chosen=chosen_sentence(runs),
        beside=f"The published columns are the paper's, on {published.DATA}.",
        table_viii=results,
        claims=report_page.claims_texts(claims),
        studies=[
            {
                "name": f"study_{name}",
                "title": f"{report_studies.WORDS[name].title} ({STUDIES[name].reference})",
                "text": report_studies.WORDS[name].text,
                "table": report_studies.study_texts(table, name),
            }
            for name, table in studies.items()
        ],
        sweeps=[
            {
                "name": sweep.name,
                "title": sweep.title,
                "text": sweep.text,
                "table": report_page.sweep_texts(sweep.table, _axis_heading(sweep), sweep.percent),
            }
            for sweep in sweeps
        ],
        cross_object=None if cross_object.is_empty() else report_cross_object.cross_object_texts(cross_object),
        diagnoses=[
            {
                "name": found.method,
                "title": published.label(found.method),
                "folder": f"data/{found.folder}",
                "phase": found.content["phase"],
                "seed": found.content["seed"],
                "images": found.content["images"]["validation"],
                "errors": report_diagnostics.errors_texts(found.content),
                "gradients": report_diagnostics.gradients_texts(found.content),
                "inputs": report_diagnostics.inputs_texts(found.inputs),
            }
            for found in diagnoses
        ],
        ingested=ingested,
        quarantined=quarantined,
        splits=report_page.plain_table(
            report_tables.split_table(splits),
            {name: name for name in ("seed", "domain", "categories", "images", "train", "validation", "test")},
        ),
        left_out=report_page.plain_table(
            categories.filter(pl.col("images_selected") == 0),
            {"domain": "domain", "category": "category", "status": "why", "images_ingested": "images"},
        ),
        noise_filter=report_page.plain_table(
            noise_filter,
            {"rule": "cell", "categories": "categories", "images": "images", "kept": "kept", "kept_percent": "kept, %"},
        ),
        vocabulary=report_page.plain_table(
            vocabulary.sort("word_id").head(params.top_words).with_columns(rank=pl.col("word_id") + 1),
            {"rank": "rank", "word": "word", "clicks": "clicks", "document_frequency": "images", "idf": "idf"},
            decimals=2,
        ),
        num_words=f"{len(vocabulary):,}",
    )
    with whole_file(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _axis_heading(sweep: Sweep) -> str:
    return "share of training images" if sweep.percent else "source categories"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; run the stage that writes it, or `dvc repro`") from None
    assert isinstance(content, dict)
    return content


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of all artifacts")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("report") as closing:
        params = load_section(ReportParams, "report", arguments.params)
        run(arguments.data, arguments.output, params, arguments.params, closing)
    table = (arguments.output / "table_viii.txt").read_text(encoding="utf-8")
    sys.stdout.write("\n" + printable(table, keep="\n"))


def run(data: Path, output: Path, params: ReportParams, params_path: Path, closing: Closing) -> None:
    """Read the runs that the parameter file declares and write the report."""
    methods = load_section(MethodsParams, "methods", params_path)
    components = load_section(ComponentsParams, "components", params_path)
    out_of_class = load_section(OutOfClassParams, "out_of_class", params_path)
    one_shot = load_section(OneShotParams, "one_shot", params_path)
    cross_object = load_section(CrossObjectParams, "cross_object", params_path)
    points = declared_points(
        methods.names,
        components.points,
        (out_of_class.methods, out_of_class.categories),
        (one_shot.methods, one_shot.domains, one_shot.shares),
        (cross_object.methods, cross_object.sources),
    )
    studies = read_studies(data / "recipes" / "studies.json", points)
    diagnosed, measured = load_section(Diagnosed, "diagnose", params_path).find(points)
    runs = read_runs(data / "evaluations", points, read_seeds(params_path), studies, measured)
    diagnoses = read_diagnoses(data, diagnosed)
    with whole_directory(output) as folder:
        write_report(data, folder, runs, diagnoses, params)
        num_files = len(list(folder.iterdir()))
    closing.counts = {"runs reported": len(runs.metrics), "seeds": len(runs.seeds)}
    closing.wrote[str(output)] = f"{num_files} files"
    closing.next_command = f"open {output}/index.html"


if __name__ == "__main__":
    main()

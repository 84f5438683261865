"""Write the system's report: tables with our results and the paper's, plots, and a part of the report's page.

    python -m systems.mtmdd.report.write --data data/sets/toy --system data/mtmdd --output data/mtmdd/report

In: only results that the parameters declare: the evaluations of the declared runs, the runs of each component study,
the diagnoses of click predictors (`diagnose`), the summaries of `ingest` and `clean`, the splits, the vocabulary, and
the ingested images that the page shows.
Out: `part.json`, which `report.index` puts on the page; `table_viii`, `pairs` (all pairs of its methods), `budgets`
(images seen, and equal images), `claims`, `references` (the lines of reference of RMSE-S by seed), `confusions` (how
often a target category was named as another one), `noise_filter`, each component study as `study_<name>`, the sweeps
`out_of_class` and `one_shot`, `unlabelled` (a target without labels) and `cross_object` (Table IX) as `.csv`
(`table_viii` also as `.json`, `.md` and, for the terminal, `.txt`), and plots as `.png` (`trade_off`: accuracy against
RMSE-S). The command ends by printing Table VIII.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from pydantic import Field

from base.artifacts import read_json, read_tables, whole_directory, write_json
from base.console import Closing, stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from base.terminal import printable
from report import data_sets, pages
from report.claims import sample_note
from report.sections import not_run, part_of, write_part
from report.spreadsheets import write_csv
from systems.mtmdd import published
from systems.mtmdd.report import budgets as budgets_
from systems.mtmdd.report import component_studies, confusions, plots, samples, sentences, texts
from systems.mtmdd.report import cross_object as cross_object_
from systems.mtmdd.report import diagnoses as diagnoses_
from systems.mtmdd.report import pairs as pairs_
from systems.mtmdd.report import references as references_
from systems.mtmdd.report import tables as tables_
from systems.mtmdd.report import unlabelled as unlabelled_
from systems.mtmdd.report.diagnoses import Diagnosed, Diagnosis, read_diagnoses
from systems.mtmdd.report.runs import Runs, read_runs, read_studies
from systems.mtmdd.runs import SYSTEM, load_points
from systems.mtmdd.studies import STUDIES

DOMAINS = ("source", "target")
TEMPLATE = Path(__file__).with_name("page.html.jinja")
TITLE = "MTMDD-VM, image recognition with predicted user clicks"


class ReportParams(Params):
    """The report's texts about the data, and the length of its lists."""

    data_set: str = Field(description="the data set's name, such as 'toy (drawn)'", min_length=1)
    note: str = Field(description="what a reader must know about the data before reading its numbers", min_length=1)
    top_words: int = Field(description="number of vocabulary words to list", ge=1)


class Sweep(NamedTuple):
    """A sweep's section of the report: the study's name, its texts, and its table."""

    name: str
    title: str
    text: str
    axis: dict[str, str]
    percent: bool
    table: pl.DataFrame


def sweeps_of(runs: Runs, source_categories: int) -> list[Sweep]:
    """Return the sweeps of which the parameters declare at least one point.

    Args:
        runs: the evaluated runs.
        source_categories: number of categories of the whole source.
    """
    sweeps = [
        Sweep(
            "out_of_class",
            "Fewer source categories (Fig. 13)",
            f"The source keeps only some of its {source_categories} categories; the target keeps all of its own.",
            {"source": "source categories"},
            False,
            tables_.sweep_table(runs, "out_of_class", whole=source_categories),
        ),
        Sweep(
            "one_shot",
            "Fewer training images (Fig. 14)",
            "One of the two domains keeps only a share of the training images of each category, rounded up.",
            {domain: f"share of the {domain}'s training images" for domain in DOMAINS},
            True,
            tables_.sweep_table(runs, "one_shot", whole=1.0),
        ),
    ]
    return [sweep for sweep in sweeps if not sweep.table.is_empty()]


def write_report(
    data: Path, evaluations: Path, folder: Path, runs: Runs, diagnoses: Sequence[Diagnosis], params: ReportParams
) -> None:
    """Write all of the report's files into a folder.

    Args:
        data: the data set's folder.
        evaluations: the folder of all evaluations.
        folder: the folder to write into.
        runs: the evaluated runs.
        diagnoses: of click predictors.
        params: texts, and the length of lists.
    """
    splits = [(seed, pl.DataFrame(read_tables(data / "splits" / f"seed-{seed}.parquet"))) for seed in runs.seeds]
    categories = pl.DataFrame(read_tables(data / "splits" / "categories.parquet"))
    vocabulary = pl.DataFrame(read_tables(data / "features" / "vocabulary.parquet"))
    ingested, quarantined = data_sets.ingested_tables(read_json(data / "ingested" / "summary.json"))
    copies = read_json(data / "splits" / "summary.json")
    noise_filter = data_sets.noise_filter_table(read_json(data / "cleaned" / "summary.json"))
    table_viii, claims = tables_.table_viii(runs), tables_.claims_table(runs)
    references = references_.references_table(runs)
    lines = references_.reference_lines(references)
    source_categories = len(categories.filter(pl.col("domain") == "source", pl.col("images_selected") > 0))
    sweeps = sweeps_of(runs, source_categories)
    studies = {name: component_studies.study_table(runs, name) for name in component_studies.reported(runs)}
    cross_object, trade_off = cross_object_.cross_object_table(runs), tables_.trade_off_table(runs)
    unlabelled, pairs = unlabelled_.unlabelled_table(runs), pairs_.pairs_table(runs)
    budgets = budgets_.budgets_table(runs)
    images, first_split = data / "ingested" / "images", splits[0][1]
    training = first_split.filter(pl.col("domain") == "target", pl.col("split") == "train")
    confused = confusions.section(runs, evaluations, training, images)
    sampled = None
    if confused is not None:
        write_csv(confused["confusions"], folder / "confusions.csv")
        sampled = samples.section(evaluations, confused["first"], runs.seeds[0], images)

    pictures = {
        "table_viii": plots.accuracies_plot(table_viii),
        "noise_filter": data_sets.noise_filter_plot(noise_filter),
        "vocabulary": data_sets.vocabulary_plot(vocabulary),
        **{
            f"study_{name}": plots.study_plot(table, component_studies.WORDS[name].axis, STUDIES[name].numeric, lines)
            for name, table in studies.items()
        },
        **{sweep.name: plots.sweep_plot(sweep.table, sweep.axis, sweep.percent) for sweep in sweeps},
    }
    if not pairs.is_empty():
        pictures["pairs"] = pairs_.pairs_plot(pairs)
        write_csv(pairs, folder / "pairs.csv")
    if not trade_off.is_empty():
        pictures["trade_off"] = plots.trade_off_plot(trade_off, lines)
    if not cross_object.is_empty():
        pictures["cross_object"] = plots.cross_object_plot(cross_object)
        write_csv(cross_object, folder / "cross_object.csv")
    if not unlabelled.is_empty():
        write_csv(unlabelled, folder / "unlabelled.csv")
    for name, picture in pictures.items():
        (folder / f"{name}.png").write_bytes(picture)
    tables = {
        "table_viii": table_viii,
        "budgets": budgets,
        "claims": claims,
        "references": references,
        "noise_filter": noise_filter,
    }
    tables |= {f"study_{name}": table for name, table in studies.items()}
    for name, table in {**tables, **{sweep.name: sweep.table for sweep in sweeps}}.items():
        write_csv(table, folder / f"{name}.csv")
    results = texts.methods_table(table_viii, lines)
    write_json(
        {
            "data": params.data_set,
            "published_data": published.DATA,
            "seeds": runs.seeds,
            "methods": table_viii.to_dicts(),
            "rmse_references": references.to_dicts(),
        },
        folder / "table_viii.json",
    )
    (folder / "table_viii.md").write_text(pages.as_markdown(results), encoding="utf-8")
    covers = "images alone" if len(runs.seeds) == 1 else "seeds and images"
    below = (
        f"ours: {params.data_set}; published: {published.DATA}; 95 %: interval over {covers}; ±: deviation over seeds"
    )
    (folder / "table_viii.txt").write_text(f"{pages.as_text(results)}\n\n{below}\n", encoding="utf-8")

    # the diagnoses' pictures, which stay in their own folders
    shown = {f"{found.method}_{name}": picture for found in diagnoses for name, picture in found.pictures.items()}
    sections = [("methods", "Methods compared")]
    sections += [] if budgets.is_empty() else [("budgets", "Images seen")]
    sections += [("claims", "The claims")]
    sections += [("components", "Component studies")] if studies else []
    sections += [(sweep.name, sweep.title) for sweep in sweeps]
    sections += [] if unlabelled.is_empty() else [("unlabelled", "A target without labels")]
    sections += [] if cross_object.is_empty() else [("cross_object", "Another kind of object (Table IX)")]
    sections += [("confusions", "Confused categories")] if confused else []
    sections += [("samples", "Sample predictions")] if sampled else []
    sections += [("diagnostics", "Click predictors")] if diagnoses else []
    sections += [("data", "The data"), ("noise", "Noise filter"), ("vocabulary", "Vocabulary")]
    part = part_of(
        SYSTEM,
        f"{TITLE}: {params.data_set}",
        sections,
        TEMPLATE,
        pictures | shown,
        note=params.note,
        seeds=sentences.seeds_sentence(runs.seeds),
        chosen=sentences.chosen_sentence(runs),
        intervals=sentences.intervals_sentence(runs),
        correction=sentences.correction_sentence(claims),
        references=references_.NOTE if lines else "",
        rmse_note=published.RMSE_NOTE,
        published_note=f"The published columns are the paper's, on {published.DATA}.",
        table_viii=results,
        pairs=None if pairs.is_empty() else pairs_.pairs_texts(pairs, runs),
        num_pairs=len(pairs),
        has_trade_off=not trade_off.is_empty(),
        budgets=None if budgets.is_empty() else budgets_.budgets_texts(budgets),
        claims=texts.claims_texts(claims),
        deciding=sample_note(claims),
        studies=[
            {
                "name": f"study_{name}",
                "title": f"{component_studies.WORDS[name].title} ({STUDIES[name].reference})",
                "text": component_studies.WORDS[name].text,
                "has_published_rmse": table["published_rmse"].is_not_null().any(),
                "table": component_studies.study_texts(table, name, lines),
            }
            for name, table in studies.items()
        ],
        sweeps=[
            {
                "name": sweep.name,
                "title": sweep.title,
                "text": sweep.text,
                "table": texts.sweep_texts(sweep.table, _axis_heading(sweep), sweep.percent),
            }
            for sweep in sweeps
        ],
        unlabelled=None if unlabelled.is_empty() else unlabelled_.unlabelled_texts(unlabelled),
        cross_object=None if cross_object.is_empty() else cross_object_.cross_object_texts(cross_object),
        confusions=confused,
        samples=sampled,
        diagnoses=[
            {
                "name": found.method,
                "title": published.label(found.method),
                "folder": found.folder,
                "phase": found.content["phase"],
                "seed": found.content["seed"],
                "images": found.content["images"]["validation"],
                "errors": diagnoses_.errors_texts(found.content),
                "gradients": diagnoses_.gradients_texts(found.content),
                "inputs": diagnoses_.inputs_texts(found.inputs),
            }
            for found in diagnoses
        ],
        ingested=ingested,
        quarantined=quarantined,
        splits=pages.plain_table(
            data_sets.split_table(splits),
            {name: name for name in ("seed", "domain", "categories", "images", "train", "validation", "test")},
        ),
        copies_kept=copies["copies"]["kept"],
        copies=pages.plain_table(
            data_sets.copies_table(copies),
            {
                "seed": "seed",
                "domain": "domain",
                "groups": "groups of copies",
                "images": "images in them",
                "largest": "largest group",
                "several_categories": "groups in several categories",
                "divided": "groups in several splits",
                "moved": "images moved",
            },
        ),
        left_out=pages.plain_table(
            categories.filter(pl.col("images_selected") == 0),
            {"domain": "domain", "category": "category", "status": "why", "images_ingested": "images"},
        ),
        noise_filter=pages.plain_table(
            noise_filter,
            {"rule": "cell", "categories": "categories", "images": "images", "kept": "kept", "kept_percent": "kept, %"},
        ),
        vocabulary=pages.plain_table(
            vocabulary.sort("word_id").head(params.top_words).with_columns(rank=pl.col("word_id") + 1),
            {"rank": "rank", "word": "word", "clicks": "clicks", "document_frequency": "images", "idf": "idf"},
            decimals=2,
        ),
        num_words=f"{len(vocabulary):,}",
        vocabulary_counted=data_sets.vocabulary_sentence(vocabulary, splits),
    )
    write_part(part, folder)


def _axis_heading(sweep: Sweep) -> str:
    return "share of training images" if sweep.percent else "source categories"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--system", type=Path, required=True, help="folder of recipes and evaluations")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("report") as closing:
        params = load_section(ReportParams, "mtmdd.report", arguments.params)
        run(arguments.data, arguments.system, arguments.output, params, arguments.params, closing)
    table = arguments.output / "table_viii.txt"
    if table.is_file():
        sys.stdout.write("\n" + printable(table.read_text(encoding="utf-8"), keep="\n"))


def run(data: Path, system: Path, output: Path, params: ReportParams, params_path: Path, closing: Closing) -> None:
    """Read the results that the parameter file declares and write the report."""
    points = load_points(params_path)
    if not points:
        with whole_directory(output) as folder:
            write_part(not_run(SYSTEM, TITLE, "the parameter file lists no run (mtmdd.runs)."), folder)
        closing.wrote[str(output)] = "a part without results, because no run is declared"
        return
    studies = read_studies(system / "recipes" / "studies.json", points)
    diagnosed, measured = load_section(Diagnosed, "mtmdd.diagnose", params_path).find(points)
    runs = read_runs(system / "evaluations", points, read_seeds(params_path), studies, measured)
    diagnoses = read_diagnoses(system / "evaluations", diagnosed)
    with whole_directory(output) as folder:
        write_report(data, system / "evaluations", folder, runs, diagnoses, params)
        num_files = len(list(folder.iterdir()))
    closing.counts = {"runs reported": len(runs.metrics), "seeds": len(runs.seeds)}
    closing.wrote[str(output)] = f"{num_files} files"
    closing.next_command = f"python -m report.index --systems {output} --output data/report"


if __name__ == "__main__":
    main()

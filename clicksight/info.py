"""Say of any artifact what it is, where it comes from, its schema, rows and metadata, and what reads it.

    clicksight info data/sets/toy/features
    clicksight info data/mtmdd/models/MTMDD-VM-star/seed-0 --format json

PATH is a file or folder that a stage or command wrote: Parquet files and folders of shards are known by their columns
(base/schemas.py), model folders by run.json, and a folder of several artifacts is described part by part. A log that
nobody ingested yet is looked at too. PATH may be in an object store (docs/stores.md): of an output of
``build_click_features`` there, the current build is described. What each kind is comes from the comment above its
schema.
"""

import argparse
import html
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from base import schemas
from base.artifacts import read_json, reading
from base.console import UserError, stage
from base.inputs import check_file
from base.publication import current
from base.stores import Location, StorePath, location, size_of, sorted_glob, source
from base.terminal import printable

SCHEMAS = {name: schema for name, schema in vars(schemas).items() if isinstance(schema, pa.Schema)}
# The module that writes each kind. base/schemas.py can't name it: it is below all of them.
WRITERS = {
    "CLICKS": "pipelines.ingest.click_data",
    "IMAGES": "pipelines.ingest.click_data",
    "DUPLICATES": "pipelines.ingest.click_data",
    "QUARANTINE": "pipelines.ingest.click_data",
    "FOLDS": "systems.cleaning.train",
    "SCORES": "systems.cleaning.score",
    "CLEANED": "systems.cleaning.clean",
    "EMBEDDED": "systems.cleaning.embed",
    "DENOISED": "systems.cleaning.denoise",
    "RELIABILITY": "systems.cleaning.denoise",
    "CATEGORIES": "pipelines.splits.select",
    "SELECTED": "pipelines.splits.select",
    "SPLITS": "pipelines.splits.select",
    "RUN_IMAGES": "systems.siamese.recipes",
    "QUERIES": "pipelines.words.segment",
    "VOCABULARY": "pipelines.words.vocabulary",
    "CLICK_MATRIX": "pipelines.words.click_matrix",
    "CLICK_FEATURES": "pipelines.build_click_features",
    "CLICK_LABELS": "pipelines.label_from_clicks",
    "NAMES": "pipelines.label_from_clicks",
    "NAME_WORDS": "pipelines.label_from_clicks",
    "SEVERAL_NAMES": "pipelines.label_from_clicks",
    "POSTS": "pipelines.tags.tag_log",
    "TAG_VOCABULARY": "pipelines.tags.tag_log",
    "POST_SPLITS": "pipelines.tags.split",
    "TAG_HISTORIES": "pipelines.tags.split",
    "PREDICTIONS": "systems.mtmdd.evaluate",
    "SAMPLE_PREDICTIONS": "systems.mtmdd.evaluate",
    "PAIRS": "pipelines.pairs.ingest",
    "FINGERPRINTS": "pipelines.pairs.ingest",
    "PAIR_DUPLICATES": "pipelines.pairs.ingest",
    "PAIR_OVERLAP": "pipelines.pairs.overlap",
    "PAIR_SPLIT": "pipelines.pairs.split",
    "PAIR_IMAGES": "pipelines.pairs.split",
    "WORD_VECTORS": "pipelines.words.word_vectors",
    "TEXT_FEATURES": "systems.dckt.text_features",
    "QUERY_FEATURES": "systems.dckt.clicks.queries",
    "INDEXED": "systems.dckt.index",
    "UNITS": "the systems' evaluate modules",
    "LABEL_SETS": "pipelines.annotations.ingest",
    "LABELS": "pipelines.annotations.split",
    "LABEL_SPLITS": "pipelines.annotations.split",
    "ANNOTATIONS": "systems.annotation.evaluate",
    "PICTURE_PREDICTIONS": "clicksight.predict",
    "PICTURE_INDEX": "clicksight.index",
    "SEARCH_RESULTS": "clicksight.search",
    "CUT_OFFS": "clicksight.cut_offs",
}
# What other commands than a reader of Parquet can do with a kind.
COMMANDS = {
    "IMAGES": "clicksight predict MODEL {path}",
    "CLICK_FEATURES": "clicksight export --as trec --features {parent} --output judgements",
    "VOCABULARY": "clicksight export --as trec --features {parent} --output judgements",
    "POSTS": "clicksight export --as recbole --tags {parent} --output clicksight",
    "PICTURE_INDEX": "clicksight search {parent} WORDS",
    "CUT_OFFS": "clicksight predict MODEL PICTURES --cut-offs {path}",
}
LOG_SUFFIXES = (".tsv", ".csv", ".txt", ".jsonl", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".tar", ".tgz")
JSON_FILES = {
    "metrics.json": "the metrics of an evaluation",
    "summary.json": "the counts of a job",
    "part.json": "a system's part of the report",
    "index.json": "the description of an index",
}


# The modules that write pages, by the pages' titles.
PAGES = {
    "What clicks and tags say about pictures": "report.index",
    "Preparation of the images": "systems.cleaning.preparation",
    "Hello: from clicks to names": "clicksight.hello",
}


class About(NamedTuple):
    """What is known of an artifact.

    Attributes:
        path: as it was named, or found below it.
        kind: the schema's name, or model, history, JSON, page, log.
        what: it is, in a sentence or two.
        written_by: a module; empty if unknown.
        schema: types by column.
        rows: of all its files; None where there are no rows.
        files: their number.
        metadata: key-value metadata of its first file, or what run.json or another JSON file says.
        read_by: a command or code that reads it.
    """

    path: str
    kind: str
    what: str
    written_by: str = ""
    schema: dict[str, str] = {}  # noqa: RUF012 - never changed
    rows: int | None = None
    files: int = 1
    metadata: Mapping[str, Any] = {}
    read_by: str = ""


@cache
def descriptions() -> dict[str, str]:
    """Return the comment above each schema of base/schemas.py, by the schema's name."""
    source = Path(schemas.__file__).read_text(encoding="utf-8")
    found = re.findall(r"((?:^#.*\n)+)(?:^CLICK_FEATURES_VERSION.*\n)?^([A-Z_]+) = pa\.schema\(", source, re.MULTILINE)
    return {name: " ".join(line.lstrip("# ") for line in comment.splitlines()) for comment, name in found}


def kind_of(schema: pa.Schema) -> str | None:
    """Return the name of the schema with the same columns and types in the same order; None: there is none."""
    return next((name for name, known in SCHEMAS.items() if known.equals(schema)), None)


def describe(path: Location) -> list[About]:
    """Return what is known of a file or folder, part by part.

    Raises:
        UserError: it doesn't exist, is broken, or is nothing that this project writes or reads.
    """
    if not path.exists():
        check_file(path)
        raise UserError(f"{path}: no such file or folder")
    if not path.is_dir():
        check_file(path)
    found = list(_of_folder(path) if path.is_dir() else _of_file(path))
    if not found:
        raise UserError(
            f"{path}: nothing here that this project writes: no Parquet file, run.json, JSON file or page; "
            "data/README.md lists the artifacts"
        )
    return found


def _of_folder(path: Location) -> Iterator[About]:
    if (path / "run.json").is_file():
        yield _model(path)
        return
    if path.name == "history" and (path / "options.json").is_file():
        what = "history: the logs and word counts of a build, from which --previous goes on"
        command = f"clicksight features --previous {path.parent} --clicks NEW_LOG --output {path.parent}"
        yield About(str(path), "history", what, "pipelines.build_click_features", read_by=command)
        return
    tables = sorted_glob(path, "*.parquet")
    shards = [file for file in tables if file.name.startswith("part-")]
    if shards:
        yield _tables(path, shards)
    for file in [*(table for table in tables if table not in shards), *sorted_glob(path, "*.json")]:
        yield from _of_file(file)
    if (path / "index.html").is_file():
        yield from _of_file(path / "index.html")
    for folder in sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")):
        yield from _of_folder(folder)


def _of_file(path: Location) -> Iterator[About]:
    if path.suffix == ".parquet":
        yield _tables(path, [path])
    elif path.suffix == ".json":
        content = read_json(path)
        brief = {key: value for key, value in content.items() if not isinstance(value, dict | list)}
        what = JSON_FILES.get(path.name, "a recipe of a run" if path.parent.name == "recipes" else "a JSON file")
        yield About(str(path), "JSON", what, metadata=brief, read_by=f"python -m json.tool {path}")
    elif path.suffix == ".html":
        title = title_of(path)
        yield About(str(path), "page", f"page: {title or 'without a title'}", PAGES.get(title, ""), read_by="a browser")
    elif path.suffix == ".safetensors":
        raise UserError(f"{path}: weights alone; name the folder that has them beside run.json")
    elif path.name.lower().endswith(LOG_SUFFIXES):
        yield _log(path)


def title_of(page: Location) -> str:
    """Return the title at the beginning of a page; empty if there is none."""
    with page.open("rb") as file:
        beginning = file.read(4096).decode("utf-8", errors="replace")
    found = re.search("<title>([^<]*)</title>", beginning)
    return html.unescape(found[1]) if found else ""


def _tables(path: Location, files: Sequence[Location]) -> About:
    """Describe a Parquet file or a folder of shards.

    Raises:
        UserError: a file is damaged, or the shards have different columns.
    """
    rows = 0
    first: pa.Schema | None = None
    for file in files:
        with reading(file):
            parquet = pq.ParquetFile(source(file))
        rows += parquet.metadata.num_rows
        first = parquet.schema_arrow if first is None else first
        if not parquet.schema_arrow.equals(first):
            raise UserError(f"{file}: other columns than {files[0].name} beside it; is it another stage's output?")
    assert first is not None
    kind = kind_of(first)
    raw = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (first.metadata or {}).items()
    }
    in_store = isinstance(path, StorePath)
    shards = f"{path}/*.parquet" if in_store and path not in files else path
    reader = f"python -c \"import polars; print(polars.read_parquet('{shards}'))\""
    return About(
        path=str(path),
        kind=kind or "Parquet",
        what=descriptions()[kind] if kind else "a table that is none of this project's artifacts",
        written_by=WRITERS[kind] if kind else "",
        schema={field.name: str(field.type) for field in first},
        rows=rows,
        files=len(files),
        metadata=raw,
        read_by=reader if in_store else COMMANDS.get(kind or "", reader).format(path=path, parent=path.parent),
    )


def _model(folder: Location) -> About:
    run = read_json(folder / "run.json")
    system = run.get("system")
    weights = sorted_glob(folder, "*.safetensors")
    brief = {key: value for key, value in run.items() if isinstance(value, str | int | float) or value is None}
    sizes = {f"number of {key}": len(value) for key, value in run.items() if isinstance(value, list)}
    return About(
        path=str(folder),
        kind="model",
        what=f"a trained run with weights of {', '.join(file.stem for file in weights) or 'no phase'}",
        written_by=f"systems.{system}.train"
        if system
        else "a train stage of an earlier version, which names no system",
        files=len(weights),
        metadata={**brief, **sizes},
        read_by=f"clicksight predict {folder} PICTURES",
    )


def _log(path: Location) -> About:
    """Describe a log that nobody ingested, by its name alone: the command that ingests it finds out about rows."""
    return About(
        path=str(path),
        kind="log",
        what=f"a raw log by its name, {size_of(path):,} bytes; its rows were not read",
        read_by=f"clicksight features --clicks {path} --output features",
    )


def as_text(about: About) -> str:
    """Return what a terminal shows of an artifact."""
    lines = [("what", f"{about.kind}: {about.what}")]
    if about.written_by:
        lines.append(("written by", about.written_by))
    if about.rows is not None:
        lines.append(("rows", f"{about.rows:,}" + (f" in {about.files:,} files" if about.files > 1 else "")))
    lines += [
        ("columns" if not number else "", f"{name}: {kind}") for number, (name, kind) in enumerate(about.schema.items())
    ]
    for number, (name, value) in enumerate(about.metadata.items()):
        lines.append(("says" if not number else "", f"{name}: {str(value)[:200]}"))
    lines.append(("read by", about.read_by))
    body = "\n".join(f"  {label:<11}{printable(text)}" for label, text in lines)
    return f"{printable(about.path)}\n{body}"


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", metavar="PATH", help="a file or folder, also in an object store")
    parser.add_argument(
        "--format", choices=("table", "json"), default="table", help="table for people (default) or json"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    with stage("info"):
        found = describe(current(location(arguments.path)))
        if arguments.format == "json":
            json.dump([about._asdict() for about in found], sys.stdout, indent=2, ensure_ascii=False)
            sys.stdout.write("\n")
        else:
            sys.stdout.write("\n\n".join(map(as_text, found)) + "\n")


if __name__ == "__main__":
    main()

"""Turn images with label sets and users' tags into checked Parquet tables; quarantine what is unusable with a reason.

    python -m pipelines.annotations.ingest --raw data/raw/toy --output data/annotation/ingested

In: a folder in the layout that the parameter `annotation.ingest.layout` names: a Parquet table or plain files
(pipelines/annotations/plain.py), NUS-WIDE's files (nus_wide.py) or COCO's (coco.py).
Out, below --output:

- images/: `schemas.IMAGES`, every image decoded once; all are of the domain ``source``, and have no category;
- labels.parquet: `schemas.LABEL_SETS`, the labels of every image in images/, and its split if the data set gives one;
- tags/ and tag_words/: the tags as a log of (image, tag, number of users), bucketed by tag, and the one word of each
  tag (`schemas.CLICKS`, `schemas.QUERIES`), for the word jobs;
- duplicates.parquet: `schemas.DUPLICATES`;
- quarantine/: `schemas.QUARANTINE`; summary.json: read = kept + quarantined for images, labels and tags.

An image without a label is quarantined, and so is a label without an image. A label whose image turns out to be broken
counts as kept, as a tag of an unknown image does: only images are judged by their content.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import polars as pl
import pyarrow as pa
from pydantic import Field

from base import console
from base.artifacts import read_tables, scratch_directory, whole_directory, write_json, write_table
from base.params import DEFAULT_PATH, Params, load_section
from base.schemas import LABEL_SETS, QUARANTINE
from pipelines.annotations import coco, nus_wide, plain
from pipelines.annotations.label_rows import check_labels
from pipelines.annotations.source import Source
from pipelines.annotations.tag_words import write_tag_words
from pipelines.beam import runner
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import WriteCounts, read_counts, shard_files
from pipelines.beam.shuffle import packing
from pipelines.ingest.bad_rows import ReadLog
from pipelines.ingest.checked_images import CheckImages, write_duplicates
from pipelines.ingest.click_log import ReadClickLog, WriteClicks
from pipelines.ingest.image_catalogue import Entry, Refused
from pipelines.ingest.image_ids import composed
from pipelines.ingest.log_format import LogParams, format_of
from pipelines.ingest.quarantine import WriteQuarantine, outliving

IMAGES, LABELS, TAGS = TABLES = ("images", "labels", "tags")
OUTPUT = ("images", "labels.parquet", "tags", "tag_words", "duplicates.parquet", "quarantine", "summary.json")
SECOND, UNLABELLED = "second image of the id", "image without label"
MOST_BAD_TAGS = 0.5  # share of bad rows in a log of tags; above it the job fails


class IngestParams(Params):
    """Section `annotation.ingest`: the layout of the raw data set, and what is written."""

    layout: Literal["table", "files", "nus-wide", "coco"] = Field(
        description="table: items.parquet; files: label_sets.tsv, tags.tsv and images; or a data set's own files"
    )
    columns: plain.ColumnParams = Field(description="of items.parquet, for the layout table")
    image_shards: int = Field(description="number of files of images/; 100 MB each is a good size", ge=1, le=32_767)
    tag_shards: int = Field(description="number of files of tags/; about a million rows in each", ge=1, le=32_767)
    longest_side: int | None = Field(
        description="pixels; larger images are scaled down to it; null: they are not", ge=16
    )
    longest_tag: int = Field(description="bytes; a longer tag, or a longer line of a log of tags, is quarantined", ge=1)
    duplicate_distance: int = Field(
        description="the most bits of 256 in which the perceptual hashes of near duplicates may differ", ge=0, le=96
    )


def read_source(raw: Path, scratch: Path, params: IngestParams) -> Source:
    """Read a raw data set in its layout; `scratch` is an existing folder.

    Raises:
        UserError: it has another layout.
    """
    if not raw.is_dir():
        raise console.UserError(f"{raw}: no such folder; expected a data set in the layout {params.layout!r}")
    try:
        if params.layout == "table":
            return plain.read_table(raw, scratch, params.columns, params.longest_tag)
        if params.layout == "files":
            return plain.read_tables(raw)
        return coco.read_coco(raw) if params.layout == "coco" else nus_wide.read_nus_wide(raw, scratch)
    except FileNotFoundError as error:
        raise console.UserError(f"{error}; is annotation.ingest.layout {params.layout!r} right?") from None


def run(raw: Path, output: Path, params: IngestParams, beam_arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Ingest a raw data set; return the contents of summary.json.

    Raises:
        UserError: the data set has another layout, too many tags are bad, or no usable image has a label.
    """
    with scratch_directory(output) as scratch:
        source = read_source(raw, scratch, params)
        with whole_directory(output, holds=OUTPUT) as directory, outliving(directory / "quarantine", output):
            summary = _write(source, directory, output, params, beam_arguments)
            write_json(summary, directory / "summary.json")
    return summary


def _write(
    source: Source, directory: Path, output: Path, params: IngestParams, beam_arguments: Sequence[str]
) -> dict[str, Any]:
    for name in ("images", "tags", "tag_words", "fingerprints", "quarantine"):
        (directory / name).mkdir()
    listed = pl.Series([composed(name) for name, _ in source.images.places], dtype=pl.String).unique()
    labels, refused_labels = check_labels(source.labels, listed)
    entries, refused_images = label_images(source, set(labels["image_id"]))
    refused = {IMAGES: refused_images, LABELS: refused_labels, TAGS: source.refused_tags}
    form = format_of(
        LogParams(columns=source.tag_columns, longest_line=params.longest_tag, most_bad_rows=MOST_BAD_TAGS),
        as_options=False,
    )
    with packing(beam_arguments, output) as packer, runner.pipeline(beam_arguments) as pipeline:
        images = pipeline | "Images" >> CheckImages(
            entries,
            source.images.root,
            directory,
            params.image_shards,
            params.longest_side,
            packer,
            beam_arguments,
        )
        log = pipeline | "TagLog" >> ReadClickLog(source.tags, form)
        log.clicks | "Tags" >> WriteClicks(directory / "tags", params.tag_shards, packer)
        known = pipeline | "Refused" >> beam.Create([_batch(row for rows in refused.values() for row in rows)])
        (
            (log.quarantine, images.quarantine, known)
            | "EveryQuarantine" >> beam.Flatten()
            | "Quarantine" >> WriteQuarantine(directory / "quarantine", packer)
        )
        of_tags = log.counts | "TagCounts" >> beam.Map(lambda pair: (f"{TAGS}: {pair[0]}", pair[1]))
        (
            (of_tags, images.counts)
            | "EveryCount" >> beam.Flatten()
            | "Counts" >> WriteCounts(directory / "counts.parquet")
        )
    counts = Counter(read_counts(directory / "counts.parquet"))
    mine = {name.removeprefix(f"{TAGS}: "): count for name, count in counts.items() if name.startswith(f"{TAGS}: ")}
    ReadLog(source.tags, form, mine, directory / "quarantine").check(MOST_BAD_TAGS)
    counts.update(
        {f"{LABELS}: rows read": len(source.labels), f"{LABELS}: rows kept": labels["labels"].list.len().sum()}
    )
    counts.update({f"{TAGS}: rows read": len(source.refused_tags)})
    counts.update({f"{IMAGES}: rows read": len(source.images.places) + len(source.images.refused)})
    for table, rows in refused.items():
        counts.update(f"{table}: quarantined: {row.reason}" for row in rows)
    counts = Counter({name.replace("source images: ", f"{IMAGES}: "): count for name, count in counts.items()})
    words = write_words(directory, beam_arguments)
    kept = write_labels(directory, labels, source.given)
    if kept.is_empty():
        reasons = ", ".join(
            f"{reason} {n}" for reason, n in console.by_reason(f"{IMAGES}: quarantined", counts).items()
        )
        raise console.UserError(f"no usable image has a label; quarantined: {reasons}")
    duplicates = write_duplicates(directory, params.duplicate_distance)
    return summarise(counts, kept, words, directory) | {"duplicates": duplicates.get("source", {}).get("source", {})}


def label_images(source: Source, labelled: set[str]) -> tuple[list[Entry], list[Refused]]:
    """Return the images to be checked, and the others with reasons: without a label, or with another image's id."""
    entries, refused = [], list(source.images.refused)
    seen: set[str] = set()
    for name, place in source.images.places:
        image_id = composed(name)
        reason = SECOND if image_id in seen else "" if image_id in labelled else UNLABELLED
        if reason:
            refused.append(Refused(place.file, place.row, reason, image_id))
        else:
            entries.append(Entry(image_id, "source", "", place))
        seen.add(image_id)
    return entries, refused


def _batch(rows: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([{**row._asdict(), "rows": 1} for row in rows], schema=QUARANTINE)


def write_words(directory: Path, beam_arguments: Sequence[str]) -> dict[str, int]:
    """Write the words of the tags, a shard for each shard of the log; return their numbers."""
    files = list(enumerate(map(str, shard_files(directory / "tags"))))
    with runner.pipeline(beam_arguments) as pipeline:
        (
            pipeline
            | "TagShards" >> beam.Create(files)
            | "TagWords"
            >> concurrently("tags", write_tag_words, directory / "tag_words").with_output_types(tuple[str, int])
            | "WordCounts" >> WriteCounts(directory / "counts.parquet")
        )
    counts = read_counts(directory / "counts.parquet")
    return counts


def write_labels(directory: Path, labels: pl.DataFrame, given: pl.DataFrame) -> pl.DataFrame:
    """Write labels.parquet: the images that were kept, with their labels and given splits; return it."""
    images = pl.DataFrame(read_tables(directory / "images", ["image_id"]))
    kept = (
        images.join(labels, on="image_id", how="left")
        .join(
            given.with_columns(pl.col("image_id").map_elements(composed, return_dtype=pl.String)),
            on="image_id",
            how="left",
        )
        .sort("image_id")
    )
    write_table(kept.to_arrow().select(LABEL_SETS.names).cast(LABEL_SETS), directory / "labels.parquet")
    return kept


def summarise(counts: Counter[str], kept: pl.DataFrame, words: dict[str, int], directory: Path) -> dict[str, Any]:
    """Return the summary; raise an error if rows were lost."""
    tables: dict[str, Any] = {}
    for table in TABLES:
        quarantined = console.by_reason(f"{table}: quarantined", counts)
        read, rows = counts[f"{table}: rows read"], counts[f"{table}: rows kept"]
        console.rows_add_up(read, rows, quarantined, table)
        tables[table] = {"rows_read": read, "rows_kept": rows, "quarantined": quarantined}
    sizes = kept["labels"].list.len()
    tagged = pl.scan_parquet(directory / "tags" / "*.parquet").select(pl.col("image_id").unique()).collect()
    return {
        "tables": tables,
        "images": {
            "labelled": len(kept),
            "tagged": len(kept.join(tagged, on="image_id", how="semi")),
            "converted": console.by_reason(f"{IMAGES}: converted", counts),
            "given splits": dict(kept.drop_nulls("split")["split"].value_counts().sort("split").iter_rows()),
        },
        "labels": {
            "different": kept["labels"].explode().n_unique(),
            "images by number of labels": {str(n): k for n, k in sizes.value_counts().sort("labels").iter_rows()},
        },
        "tags": {"different": words["distinct tags"], "without a word": words["tags without a word"]},
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True, help="the raw data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for the checked tables")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with console.stage("annotation ingest", describe=str(arguments.raw)) as closing:
        params = load_section(IngestParams, "annotation.ingest", arguments.params)
        summary = run(arguments.raw, arguments.output, params, beam_arguments)
        for table, rows in summary["tables"].items():
            closing.counts[f"{table}: read"] = rows["rows_read"]
            closing.counts[f"{table}: kept"] = rows["rows_kept"]
            closing.counts.update(console.as_counts(f"{table}: quarantined", rows["quarantined"]))
        images, labels = summary["images"], summary["labels"]
        closing.wrote[str(arguments.output)] = (
            f"{images['labelled']:,} images with {labels['different']:,} labels, {images['tagged']:,} with tags"
        )
        closing.next_command = f"python -m pipelines.annotations.split --ingested {arguments.output} ..."


if __name__ == "__main__":
    main()

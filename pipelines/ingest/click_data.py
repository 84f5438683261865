"""Turn a raw data set in Clickture's layout into checked Parquet tables; quarantine bad rows and images with a reason.

    python -m pipelines.ingest.click_data --raw data/raw/toy --output data/sets/toy/ingested

Input, below --raw: source/clicks.tsv (.csv, .parquet, .tsv.gz, …) or files in source/clicks/ or both,
source/images.tsv or source/images/<image id>.jpg, source/labels.tsv and target/<category>/*.jpg, or archives of them,
and optionally aliases.tsv; data/README.md describes the layouts. Output, below --output: clicks/ (schemas.CLICKS,
bucketed by query), images/ (schemas.IMAGES, every image decoded once), duplicates.parquet (schemas.DUPLICATES),
quarantine/ (schemas.QUARANTINE), and summary.json, in which the rows of every table add up: read = kept + quarantined.
Clicks of images that the data set lacks are kept and counted: a log is commonly larger than the set of images, and
later stages use only the clicks of the images that they select. The quarantine of a job that fails is kept in
OUTPUT.quarantine/.

Any Beam option may follow, as in ``--direct_num_workers 2 --direct_running_mode multi_processing``.
"""

import argparse
import codecs
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa
from pydantic import Field, field_validator

from base import console
from base.artifacts import whole_directory, write_json
from base.inputs import is_file
from base.params import DEFAULT_PATH, Params, load_section
from base.schemas import QUARANTINE
from pipelines.beam import runner
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import packing
from pipelines.ingest.bad_rows import ReadLog
from pipelines.ingest.checked_images import CheckImages, write_duplicates
from pipelines.ingest.click_log import (
    ReadClickLog,
    WriteClicks,
    files_below,
    find_logs,
)
from pipelines.ingest.image_catalogue import LABELS, SOURCE_IMAGES, TARGET_IMAGES, Catalogue, list_images
from pipelines.ingest.image_shards import TABLE_OF
from pipelines.ingest.log_format import LogParams, format_of
from pipelines.ingest.log_slices import LogFile
from pipelines.ingest.quarantine import WriteQuarantine, outliving
from pipelines.ingest.sums import LARGEST_SUM, TOO_MANY

NAMED = 20  # categories that the closing lines list; summary.json lists all
TABLES = ("clicks", LABELS, SOURCE_IMAGES, TARGET_IMAGES)
CLICK_LOG = re.compile(
    r"clicks(\.(tsv|txt|csv|json|jsonl|ndjson|parquet))?(\.(tar|gz|tgz|bz2|xz|zst|lz4|zip))*"
)  # in source/
OUTPUT = ("clicks", "images", "duplicates.parquet", "quarantine", "summary.json")
LATER_LOGS = Path("source/clicks")  # any number of files, in folders or not, each for example one day's log


class IngestParams(Params):
    """Section `ingest`: the number of shards of the checked tables, the size of images, the encoding of names."""

    click_shards: int = Field(
        description="number of files of clicks/; about a million rows in each is a good size", ge=1, le=32_767
    )
    image_shards: int = Field(description="number of files of images/; 100 MB each is a good size", ge=1, le=32_767)
    longest_side: int | None = Field(
        description="pixels; larger images are scaled down to it, null keeps the original size", ge=16
    )
    duplicate_distance: int = Field(
        description="the most bits of 256 in which the perceptual hashes of near duplicates may differ", ge=0, le=96
    )
    log: LogParams = Field(
        default=LogParams(), description="how the click log is written: pipelines/ingest/log_format.py; {}: as TSV"
    )
    name_encoding: str | None = Field(
        description="encoding of names of image files, in folders and archives, that are not UTF-8, as in gb18030; "
        "null quarantines such files"
    )

    @field_validator("name_encoding")
    @classmethod
    def _check_encoding(cls, encoding: str | None) -> str | None:
        try:
            if encoding is not None:
                codecs.lookup(encoding)
        except LookupError:
            raise ValueError("Python knows no such encoding; common ones are gb18030, big5, shift_jis, cp437") from None
        return encoding


def refused_batch(catalogue: Catalogue) -> pa.RecordBatch:
    """Return the rows and files that the catalogue refused, as schemas.QUARANTINE."""
    return pa.RecordBatch.from_pylist([{**row._asdict(), "rows": 1} for row in catalogue.refused], schema=QUARANTINE)


def catalogue_counts(catalogue: Catalogue) -> dict[str, int]:
    """Return the catalogue's counts under the same names as the shards' counts."""
    counts = {f"{table}: rows read": count for table, count in catalogue.read.items()}
    for table, reasons in catalogue.refusals.items():
        for reason, count in reasons.items():
            counts[f"{table}: quarantined: {reason}"] = count
    counts[f"{LABELS}: rows kept"] = catalogue.read[LABELS] - catalogue.refusals[LABELS].total()
    return counts


def is_click_log(path: Path) -> bool:
    """Return whether a file of source/ is a click log by its name, as ``clicks.tsv`` and ``clicks.csv.gz``."""
    return path.name != LATER_LOGS.name and bool(CLICK_LOG.fullmatch(path.name))


def find_click_logs(raw: Path) -> list[LogFile]:
    """Return the files of a raw data set's click log: one whose name is that of a log, and those of LATER_LOGS.

    Raises:
        UserError: there is no log, or more than one beside LATER_LOGS.
    """
    source = raw / "source"
    first = (
        [path for path in sorted(source.iterdir()) if is_click_log(path) and is_file(path)] if source.is_dir() else []
    )
    later = [raw / LATER_LOGS] if os.path.lexists(raw / LATER_LOGS) and files_below(raw / LATER_LOGS)[0] else []
    if len(first) > 1 or not first + later:
        seen = f"found {', '.join(path.name for path in first)}" if first else "found none of them"
        raise console.UserError(
            f"{source}: expected one click log, as clicks.tsv, clicks.csv, clicks.jsonl, clicks.parquet or "
            f"clicks.tsv.gz, or a folder {LATER_LOGS.name}/ of them; {seen}"
        )
    return find_logs([*first, *later], root=raw)


def run(raw: Path, output: Path, params: IngestParams, beam_arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Ingest a raw data set; return the contents of summary.json.

    Raises:
        UserError: the data set lacks a file, too many rows of the log are bad, or a domain has no usable image.
    """
    form = format_of(params.log, as_options=False)
    logs = find_click_logs(raw)
    catalogue = list_images(raw, params.name_encoding)
    with whole_directory(output, holds=OUTPUT) as directory, outliving(directory / "quarantine", output):
        for name in ("clicks", "images", "fingerprints", "quarantine"):
            (directory / name).mkdir()
        with packing(beam_arguments, output) as packer, runner.pipeline(beam_arguments) as pipeline:
            log = pipeline | "ClickLog" >> ReadClickLog(logs, form)
            log.clicks | "Clicks" >> WriteClicks(directory / "clicks", params.click_shards, packer)
            images = pipeline | "Images" >> CheckImages(
                catalogue.entries, raw, directory, params.image_shards, params.longest_side, packer, beam_arguments
            )
            refused = pipeline | "Refused" >> beam.Create([refused_batch(catalogue)])
            (
                (log.quarantine, images.quarantine, refused)
                | "EveryQuarantine" >> beam.Flatten()
                | "Quarantine" >> WriteQuarantine(directory / "quarantine", packer)
            )
            clicks = log.counts | "ClickCounts" >> beam.Map(lambda pair: (f"clicks: {pair[0]}", pair[1]))
            (
                (clicks, images.counts)
                | "EveryCount" >> beam.Flatten()
                | "Counts" >> WriteCounts(directory / "counts.parquet")
            )
        counts = Counter(read_counts(directory / "counts.parquet"))
        of_log = {name.removeprefix("clicks: "): count for name, count in counts.items() if name.startswith("clicks: ")}
        ReadLog(logs, form, of_log, directory / "quarantine").check(params.log.most_bad_rows)
        counts.update(catalogue_counts(catalogue))
        summary = summarise(counts, directory)
        summary["categories"] |= {"renamed": catalogue.renamed, "aliases_without_category": catalogue.idle_aliases}
        summary["duplicates"] = write_duplicates(directory, params.duplicate_distance)
        for domain, table in TABLE_OF.items():
            if not summary["images"][domain]:
                rows = summary["tables"][table]
                reasons = ", ".join(f"{reason} {count}" for reason, count in rows["quarantined"].items())
                raise console.UserError(
                    f"{raw}: no usable image in the {domain} domain: {rows['rows_read']} read, quarantined: {reasons}"
                )
        write_json(summary, directory / "summary.json")
    return summary


def summarise(counts: Counter[str], directory: Path) -> dict[str, Any]:
    """Return the summary of the tables in a folder; raise an error if rows were lost."""
    tables: dict[str, Any] = {}
    for table in TABLES:
        quarantined = console.by_reason(f"{table}: quarantined", counts)
        read, kept = counts[f"{table}: rows read"], counts[f"{table}: rows kept"]
        console.rows_add_up(read, kept, quarantined, table)
        tables[table] = {"rows_read": read, "rows_kept": kept, "quarantined": quarantined}
    images = pl.scan_parquet(directory / "images" / "*.parquet").select("image_id", "domain", "category").collect()
    clicks = pl.scan_parquet(directory / "clicks" / "*.parquet")
    source = images.filter(pl.col("domain") == "source")
    unknown = clicks.join(source.lazy(), on="image_id", how="anti")
    categories = {
        domain: set(images.filter(pl.col("domain") == domain)["category"].unique()) for domain in ("source", "target")
    }
    return {
        "tables": tables,
        "clicks": {
            "image_query_pairs": _number(clicks.select(pl.len())),
            "clicks": _total(clicks),
            "distinct_queries": _number(clicks.select(pl.col("query").n_unique())),
            "clicked_images": _number(clicks.select(pl.col("image_id").n_unique())),
            "pairs_of_unknown_images": _number(unknown.select(pl.len())),
        },
        "images": {"source": source.height, "target": images.height - source.height},
        "converted": {
            table: console.by_reason(f"{table}: converted", counts) for table in (SOURCE_IMAGES, TARGET_IMAGES)
        },
        "categories": {
            "source": len(categories["source"]),
            "target": len(categories["target"]),
            "only_in_source": sorted(categories["source"] - categories["target"]),
            "only_in_target": sorted(categories["target"] - categories["source"]),
        },
    }


def _total(clicks: pl.LazyFrame) -> int:
    """Return the clicks of all rows; no sum of some of them is larger.

    Raises:
        UserError: they don't fit into 64 bits, so that later sums could wrap.
    """
    total = _number(clicks.select(pl.col("clicks").cast(pl.Int128).sum()))
    if total > LARGEST_SUM:
        raise console.UserError(f"the log has {total:,} clicks: {TOO_MANY}")
    return total


def _number(frame: pl.LazyFrame) -> int:
    return int(frame.collect(engine="streaming").item())


def _duplicate_lines(counts: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    """Label the counts of duplicates for the closing lines."""
    lines = {}
    for domain, others in counts.items():
        for other, number in others.items():
            lines[f"{domain} images with an exact duplicate in the {other}"] = number["exact"]
            lines[f"{domain} images with a near duplicate in the {other}"] = number["near"]
            lines[f"{domain} images with a duplicate in another category of the {other}"] = number["other_category"]
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m pipelines.ingest.click_data",
    )
    parser.add_argument("--raw", type=Path, required=True, help="the raw data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for the checked tables")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="the parameter file")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with console.stage("ingest", describe=str(arguments.raw)) as closing:
        params = load_section(IngestParams, "ingest", arguments.params)
        summary = run(arguments.raw, arguments.output, params, beam_arguments)
        for table, rows in summary["tables"].items():
            closing.counts[f"{table}: read"] = rows["rows_read"]
            closing.counts[f"{table}: kept"] = rows["rows_kept"]
            closing.counts.update(console.as_counts(f"{table}: quarantined", rows["quarantined"]))
        for table, reasons in summary["converted"].items():
            closing.counts.update(console.as_counts(f"{table}: converted", reasons))
        closing.counts.update(_duplicate_lines(summary["duplicates"]))
        closing.counts["click pairs of unknown images (kept)"] = summary["clicks"]["pairs_of_unknown_images"]
        for domain in ("source", "target"):
            if alone := summary["categories"][f"only_in_{domain}"]:
                closing.counts[f"categories only in the {domain}: {', '.join(alone[:NAMED])}"] = len(alone)
            if renamed := summary["categories"]["renamed"][domain]:
                names = ", ".join(f"{name} to {singular}" for name, singular in list(renamed.items())[:NAMED])
                closing.counts[f"{domain} categories renamed: {names}"] = len(renamed)
        pairs, images = summary["clicks"]["image_query_pairs"], summary["images"]
        closing.wrote[str(arguments.output)] = (
            f"{pairs:,} (image, query) pairs, {images['source']:,} source and {images['target']:,} target images"
        )
        cleaner = arguments.output.parent / "cleaner"
        closing.next_command = f"python -m systems.cleaning.train --images {arguments.output}/images --output {cleaner}"


if __name__ == "__main__":
    main()

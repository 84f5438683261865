"""Turn a raw data set in Clickture's layout into checked Parquet tables; quarantine what is bad, with the reason.

    python -m pipelines.ingest --raw data/raw/toy --output data/ingested

In: source/clicks.tsv (.tsv.gz, .parquet), source/images.tsv or source/images/<image id>.jpg, source/labels.tsv and
target/<category>/*.jpg below --raw. Out, below --output: clicks/ (schemas.CLICKS, bucketed by query), images/
(schemas.IMAGES, every image decoded once), quarantine/ (schemas.QUARANTINE), and summary.json, in which the rows of
every table add up: read = kept + quarantined. Clicks of images that the data set lacks are kept and counted: a log
is commonly larger than the images one has, and later stages take the clicks of the images that they select.

Any Beam option may follow, as in ``--direct_num_workers 2 --direct_running_mode multi_processing``.
"""

import argparse
import base64
import binascii
import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from pipelines import console, runner
from pipelines.artifacts import COMPRESSION, shard_name, shard_of, whole_directory, whole_file, write_json
from pipelines.click_log import ReadClickLog, WriteClicks, WriteQuarantine, find_logs
from pipelines.image_catalogue import LABELS, SOURCE_IMAGES, TARGET_IMAGES, Catalogue, Entry, list_images, show
from pipelines.images import BadImageError, check_image
from pipelines.params import DEFAULT_PATH, Params, load_section
from pipelines.schemas import IMAGES, QUARANTINE
from pipelines.shards import WriteCounts, read_counts
from pipelines.shuffle import packing

ROW_GROUP_IMAGES = 256  # images that are in memory at a time, and what a reader of the shards gets at a time
NAMED = 20  # categories that the closing lines name; summary.json has them all
TABLES = ("clicks", LABELS, SOURCE_IMAGES, TARGET_IMAGES)
TABLE_OF = {"source": SOURCE_IMAGES, "target": TARGET_IMAGES}
CLICK_LOGS = ("clicks.tsv", "clicks.tsv.gz", "clicks.parquet")

# What Hugging Face's `datasets` looks for in a Parquet file's metadata, so that `image` is decoded as an image there.
FEATURES: dict[str, dict[str, str]] = {
    **{name: {"dtype": "string", "_type": "Value"} for name in ("image_id", "domain", "category")},
    **{name: {"dtype": "int32", "_type": "Value"} for name in ("width", "height")},
    "image": {"_type": "Image"},
}
IMAGE_SHARDS = IMAGES.with_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})


class IngestParams(Params):
    """Section `ingest`: how the checked tables are cut up, and how large images stay."""

    click_shards: int = Field(
        description="files of clicks/; about a million rows each are a good size", ge=1, le=32_767
    )
    image_shards: int = Field(description="files of images/; some 100 MB each are a good size", ge=1, le=32_767)
    longest_side: int | None = Field(
        description="pixels; larger images are scaled down to it, null keeps them as they are", ge=16
    )


@dataclass(frozen=True)
class ShardPlan:
    """The images of one shard, in order."""

    shard: int
    entries: tuple[Entry, ...]


def plan_shards(entries: Sequence[Entry], num_shards: int) -> list[ShardPlan]:
    """Assign images to shards by a stable hash of their id; rows by image id inside a shard."""
    shards: list[list[Entry]] = [[] for _ in range(num_shards)]
    for entry in entries:
        shards[shard_of(entry.image_id, num_shards)].append(entry)
    return [ShardPlan(number, tuple(sorted(shard))) for number, shard in enumerate(shards)]


class WriteImages(beam.DoFn):
    """Shard plans in; a shard of images on disk each; what is quarantined and the counts out, under their tags.

    The images of a shard are read where they lie, in the order in which they are written: no image travels through a
    shuffle, and at most ROW_GROUP_IMAGES are in memory.
    """

    def __init__(self, raw: Path, directory: Path, longest_side: int | None) -> None:
        self.raw, self.directory, self.longest_side = raw, directory, longest_side

    def process(
        self, plan: ShardPlan
    ) -> Iterator[
        beam.pvalue.TaggedOutput[Literal["quarantine"], pa.RecordBatch]
        | beam.pvalue.TaggedOutput[Literal["counts"], tuple[str, int]]
    ]:
        """Write one shard."""
        quarantine, counts = write_image_shard(plan, self.raw, self.directory, self.longest_side)
        if quarantine.num_rows:
            yield beam.pvalue.TaggedOutput("quarantine", quarantine)
        for name, count in sorted(counts.items()):
            yield beam.pvalue.TaggedOutput("counts", (name, count))


def write_image_shard(
    plan: ShardPlan, raw: Path, directory: Path, longest_side: int | None
) -> tuple[pa.RecordBatch, Counter[str]]:
    """Check a shard's images and write the good ones.

    Args:
        plan: the images.
        raw: the raw data set's folder.
        directory: of the shards.
        longest_side: pixels; see :func:`pipelines.images.check_image`.

    Returns:
        The others, as schemas.QUARANTINE, and counts: ``source images: rows kept``, ``source images: quarantined:
        <reason>``, and so for the target.
    """
    refused: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(whole_file(directory / shard_name(plan.shard)))
        writer = stack.enter_context(
            pq.ParquetWriter(
                path, IMAGE_SHARDS, compression=COMPRESSION, version="2.6", use_dictionary=["domain", "category"]
            )
        )
        base64_file: BinaryIO | None = None
        rows: list[dict[str, Any]] = []
        for entry in console.progress(plan.entries, f"images, shard {plan.shard}", "images"):
            if entry.length >= 0 and base64_file is None:
                base64_file = stack.enter_context((raw / entry.file).open("rb"))
            table = TABLE_OF[entry.domain]
            encoded = read_encoded(entry, raw, base64_file)
            try:
                checked = check_image(decode_base64(encoded) if entry.length >= 0 else encoded, longest_side)
            except BadImageError as error:
                text = show(entry.image_id.encode() + b"\t" + encoded) if entry.length >= 0 else Path(entry.file).name
                refused.append({"file": entry.file, "row": entry.row, "reason": str(error), "raw": text})
                counts[f"{table}: quarantined: {error}"] += 1
                continue
            counts[f"{table}: rows kept"] += 1
            image = {"bytes": checked.data, "path": f"{entry.image_id}.jpg"}
            rows.append(
                {
                    "image_id": entry.image_id, "domain": entry.domain, "category": entry.category,
                    "width": checked.width, "height": checked.height, "image": image,
                }
            )  # fmt: skip
            if len(rows) == ROW_GROUP_IMAGES:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=IMAGE_SHARDS))
                rows = []
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=IMAGE_SHARDS))
    return pa.RecordBatch.from_pylist(refused, schema=QUARANTINE), counts


def read_encoded(entry: Entry, raw: Path, base64_file: BinaryIO | None) -> bytes:
    """Return an image's file, or its base64 text in images.tsv."""
    if base64_file is None or entry.length < 0:
        return (raw / entry.file).read_bytes()
    base64_file.seek(entry.offset)
    return base64_file.read(entry.length)


def decode_base64(text: bytes) -> bytes:
    """Return what base64 text stands for.

    Raises:
        BadImageError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadImageError("not base64") from None


def refused_batch(catalogue: Catalogue) -> pa.RecordBatch:
    """Return what the catalogue refused, as schemas.QUARANTINE."""
    return pa.RecordBatch.from_pylist([row._asdict() for row in catalogue.refused], schema=QUARANTINE)


def catalogue_counts(catalogue: Catalogue) -> dict[str, int]:
    """Return the catalogue's counts under the names that shards use."""
    counts = {f"{table}: rows read": count for table, count in catalogue.read.items()}
    for table, reasons in catalogue.refusals.items():
        for reason, count in reasons.items():
            counts[f"{table}: quarantined: {reason}"] = count
    counts[f"{LABELS}: rows kept"] = catalogue.read[LABELS] - catalogue.refusals[LABELS].total()
    return counts


def find_click_log(raw: Path) -> Path:
    """Return the click log of a raw data set.

    Raises:
        UserError: there is none, or more than one.
    """
    found = [raw / "source" / name for name in CLICK_LOGS if (raw / "source" / name).is_file()]
    if len(found) != 1:
        seen = f"found {', '.join(path.name for path in found)}" if found else "found none of them"
        raise console.UserError(f"{raw / 'source'}: expected one click log of {', '.join(CLICK_LOGS)}; {seen}")
    return found[0]


def run(raw: Path, output: Path, params: IngestParams, beam_arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Ingest a raw data set; return what summary.json says.

    Raises:
        UserError: the data set lacks a file, or no image of a domain is usable.
    """
    logs = find_logs([find_click_log(raw)], root=raw)
    catalogue = list_images(raw)
    with whole_directory(output) as directory:
        for name in ("clicks", "images", "quarantine"):
            (directory / name).mkdir()
        with packing(beam_arguments, output) as packer, runner.pipeline(beam_arguments) as pipeline:
            log = pipeline | "ClickLog" >> ReadClickLog(logs)
            log.clicks | "Clicks" >> WriteClicks(directory / "clicks", params.click_shards, packer)
            images = (
                pipeline
                | "ShardPlans" >> beam.Create(plan_shards(catalogue.entries, params.image_shards))
                | "Images"
                >> beam.ParDo(WriteImages(raw, directory / "images", params.longest_side)).with_outputs(
                    "quarantine", "counts"
                )
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
        counts.update(catalogue_counts(catalogue))
        summary = summarise(counts, directory)
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
    """Return the summary of what was written into a folder; checks that no row was lost."""
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
            "clicks": _number(clicks.select(pl.col("clicks").sum())),
            "distinct_queries": _number(clicks.select(pl.col("query").n_unique())),
            "clicked_images": _number(clicks.select(pl.col("image_id").n_unique())),
            "pairs_of_unknown_images": _number(unknown.select(pl.len())),
        },
        "images": {"source": source.height, "target": images.height - source.height},
        "categories": {
            "source": len(categories["source"]),
            "target": len(categories["target"]),
            "only_in_source": sorted(categories["source"] - categories["target"]),
            "only_in_target": sorted(categories["target"] - categories["source"]),
        },
    }


def _number(frame: pl.LazyFrame) -> int:
    return int(frame.collect(engine="streaming").item())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m pipelines.ingest"
    )
    parser.add_argument("--raw", type=Path, required=True, help="the raw data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="where the checked tables go")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="the parameter file")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with console.stage("ingest", describe=str(arguments.raw)) as closing:
        params = load_section(IngestParams, "ingest", arguments.params)
        summary = run(arguments.raw, arguments.output, params, beam_arguments)
        for table, rows in summary["tables"].items():
            closing.counts[f"{table}: read"] = rows["rows_read"]
            closing.counts[f"{table}: kept"] = rows["rows_kept"]
            closing.counts.update(console.as_counts(f"{table}: quarantined", rows["quarantined"]))
        closing.counts["click pairs of images that are not there (kept)"] = summary["clicks"]["pairs_of_unknown_images"]
        for domain in ("source", "target"):
            if alone := summary["categories"][f"only_in_{domain}"]:
                closing.counts[f"categories only in the {domain}: {', '.join(alone[:NAMED])}"] = len(alone)
        pairs, images = summary["clicks"]["image_query_pairs"], summary["images"]
        closing.wrote[str(arguments.output)] = (
            f"{pairs:,} (image, query) pairs, {images['source']:,} source and {images['target']:,} target images"
        )
        closing.next_command = f"python -m model.train_cleaner --images {arguments.output}/images --output data/cleaner"


if __name__ == "__main__":
    main()

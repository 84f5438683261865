"""Turn a set of image-text pairs into checked Parquet tables; quarantine bad pairs with a reason.

    python -m pipelines.pairs.ingest --pairs pairs.parquet --layout table --columns id=item_id text=plot --output DIR
    python -m pipelines.pairs.ingest --pairs wikipedia_dataset --layout wikipedia --output DIR
    python -m pipelines.pairs.ingest --pairs data/raw/toy_birds --layout raw --domain target --output DIR
    python -m pipelines.pairs.ingest --pairs data/sets/birds50/ingested --layout ingested --most-texts 5 --output DIR

Output, below --output: pairs/ (schemas.PAIRS, every image decoded once), texts/ (schemas.CLICKS: each text as a query
with one click on its pair, so that all jobs on words work on texts), fingerprints.parquet and duplicates.parquet
(schemas.FINGERPRINTS, schemas.PAIR_DUPLICATES), quarantine/ (schemas.QUARANTINE), and summary.json, in which rows add
up: read = kept + quarantined. docs/image_text_pairs.md has the layouts and the reasons.

Of several pairs with one id, the first in the order of files and rows stays.
Any Beam option may follow, as in ``--direct_num_workers 2 --direct_running_mode multi_processing``.
"""

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from base import console
from base.artifacts import (
    COMPRESSION,
    PARQUET,
    read_tables,
    shard_name,
    whole_directory,
    whole_file,
    write_json,
    write_table,
)
from base.params import Params, validate_section
from base.schemas import CLICKS, FINGERPRINTS, PAIR_DUPLICATES, PAIRS, QUARANTINE
from pipelines.beam import runner
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import WriteCounts, read_counts
from pipelines.beam.shuffle import GroupIntoShards, packing
from pipelines.ingest.click_log import WriteClicks
from pipelines.ingest.image_shards import ROW_GROUP_IMAGES
from pipelines.ingest.quarantine import WriteQuarantine, outliving
from pipelines.pairs.check import CHECKED, check_pairs, quarantine_row
from pipelines.pairs.copies import count_duplicates, duplicates_within
from pipelines.pairs.layouts import PairSet, PairsParams, find_pairs
from pipelines.pairs.records import SECOND_PAIR, SECOND_TEXT, Piece, RawPair
from pipelines.words.normal_form import normalise_text

OUTPUT = ("pairs", "texts", "fingerprints.parquet", "duplicates.parquet", "quarantine", "summary.json")
BATCH = 64  # pairs that are checked at once
# JPEG does not get smaller; trying to compress it would take as much time as all the rest of the writing.
CODECS = {**dict.fromkeys((*PAIRS.names[:-1], "image.path"), COMPRESSION), "image.bytes": "none"}


class PairIngestParams(Params):
    """How pairs are written, whatever their layout."""

    shards: int = Field(
        description="number of files of pairs/ and of texts/; 100 MB of images each is a good size", ge=1, le=32_767
    )
    longest_side: int | None = Field(
        description="pixels; larger images are scaled down to it, null keeps the original size", ge=16
    )
    duplicate_distance: int = Field(
        description="the most bits of 256 in which the perceptual hashes of near duplicates may differ", ge=0, le=96
    )


def read_piece(piece: Piece) -> Iterator[tuple[Path, list[RawPair]]]:
    """Yield a piece's rows in batches, with the folder of their images."""
    batch: list[RawPair] = []
    for pair in piece.read():
        batch.append(pair)
        if len(batch) == BATCH:
            yield piece.root, batch
            batch = []
    if batch:
        yield piece.root, batch


def check_batch(batch: tuple[Path, list[RawPair]], longest_side: int | None) -> Iterable[Any]:
    """Check the rows of :func:`read_piece`."""
    root, pairs = batch
    return check_pairs(pairs, root, longest_side)


def write_pairs(
    shard: int, checked: pa.RecordBatch, directory: Path
) -> Iterator[
    beam.pvalue.TaggedOutput[Literal["texts", "quarantine"], pa.RecordBatch]
    | beam.pvalue.TaggedOutput[Literal["counts"], tuple[str, int]]
]:
    """Write a whole shard and its fingerprints; yield its texts, pairs refused for their id, and counts.

    Args:
        shard: its number.
        checked: its pairs, as CHECKED, in any order.
        directory: has the folders pairs/ and fingerprints/.
    """
    rows = pa.Table.from_batches([checked]).sort_by([(name, "ascending") for name in ("pair_id", "file", "row")])
    ids, digests = rows["pair_id"].to_numpy(), rows["digest"].to_numpy()
    again = np.append(False, ids[1:] == ids[:-1])[: len(ids)]
    starts = np.maximum.accumulate(np.where(again, 0, np.arange(len(ids)))) if len(ids) else np.zeros(0, int)
    kept = rows.filter(pa.array(~again))
    refused = []
    for row in np.flatnonzero(again):
        reason = SECOND_TEXT if digests[row] == digests[starts[row]] else SECOND_PAIR
        place = [rows[name][int(row)].as_py() for name in ("file", "row", "raw")]
        refused.append(quarantine_row(place[0], place[1], reason, place[2]))
        yield beam.pvalue.TaggedOutput("counts", (f"quarantined: {reason}", 1))
    if refused:
        yield beam.pvalue.TaggedOutput("quarantine", pa.RecordBatch.from_pylist(refused, schema=QUARANTINE))
    yield beam.pvalue.TaggedOutput("counts", ("rows kept", len(kept)))
    _write_images(kept, directory / "pairs" / shard_name(shard))
    texts = kept["text"].to_pylist()
    digest = pa.array([hashlib.sha256(plain_text(text).encode()).digest() for text in texts], pa.binary())
    coarse = pa.array(kept["coarse"].to_numpy().view(np.int64))  # few programs read unsigned numbers of 64 bits whole
    columns = {name: kept[name] for name in FINGERPRINTS.names[:-1]} | {"coarse": coarse, "text": digest}
    write_table(pa.table(columns, schema=FINGERPRINTS), directory / "fingerprints" / shard_name(shard))
    if len(kept):
        one = pa.array(np.ones(len(kept), np.int64))
        clicks = [kept["pair_id"].combine_chunks(), kept["text"].combine_chunks(), one]
        yield beam.pvalue.TaggedOutput("texts", pa.record_batch(clicks, schema=CLICKS))


def plain_text(text: str) -> str:
    """Return a text by which copies are found: in the form of queries' words, with single spaces."""
    return " ".join(normalise_text(text).split())


def _write_images(rows: pa.Table, path: Path) -> None:
    """Write pairs as schemas.PAIRS, ROW_GROUP_IMAGES in each group of rows."""
    paths = pc.binary_join_element_wise(rows["pair_id"], ".jpg", "").combine_chunks()
    kind = PAIRS.field("image").type
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(
            temporary, PAIRS, compression=CODECS, use_dictionary=["category", "split"], **PARQUET
        ) as writer,
    ):
        for at in range(0, len(rows), ROW_GROUP_IMAGES):
            part = rows.slice(at, ROW_GROUP_IMAGES).combine_chunks()
            files = part["image"].combine_chunks().cast(pa.binary())
            image = pa.StructArray.from_arrays([files, paths.slice(at, ROW_GROUP_IMAGES)], fields=list(kind))
            columns = [part[name].combine_chunks() for name in PAIRS.names[:-1]]
            writer.write_table(pa.Table.from_arrays([*columns, image], schema=PAIRS))


def run(found: PairSet, output: Path, params: PairIngestParams, beam_arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Ingest a set of pairs; return the contents of summary.json.

    Raises:
        UserError: no pair is usable, or all are of one category.
    """
    refused = [
        quarantine_row(row.file, row.row, row.reason, row.raw) for row in (found.texts.refused if found.texts else ())
    ]
    with whole_directory(output, holds=OUTPUT) as directory, outliving(directory / "quarantine", output):
        for name in ("pairs", "texts", "fingerprints", "quarantine"):
            (directory / name).mkdir()
        with packing(beam_arguments, output) as packer, runner.pipeline(beam_arguments) as pipeline:
            checked = (
                pipeline
                | "Pieces" >> beam.Create(list(found.pieces))
                | "Rows" >> beam.FlatMap(read_piece)
                | "CheckedPairs"
                >> concurrently("check", check_batch, params.longest_side).with_outputs("pairs", "quarantine", "counts")
            )
            written = checked.pairs | "WrittenPairs" >> GroupIntoShards(
                CHECKED,
                "pair_id",
                params.shards,
                partial(write_pairs, directory=directory),
                packer,
                "write",
                outputs=("texts", "quarantine", "counts"),
            )
            written.texts | "Texts" >> WriteClicks(directory / "texts", params.shards, packer)
            of_texts = pipeline | "RefusedTexts" >> beam.Create(
                [pa.RecordBatch.from_pylist(refused, schema=QUARANTINE)]
            )
            (
                (checked.quarantine, written.quarantine, of_texts)
                | "EveryQuarantine" >> beam.Flatten()
                | "Quarantine" >> WriteQuarantine(directory / "quarantine", packer)
            )
            (
                (checked.counts, written.counts)
                | "EveryCount" >> beam.Flatten()
                | "Counts" >> WriteCounts(directory / "counts.parquet")
            )
        summary = summarise(found, Counter(read_counts(directory / "counts.parquet")), directory)
        summary["duplicates"] = write_duplicates(directory, params.duplicate_distance)
        write_json(summary, directory / "summary.json")
    return summary


def write_duplicates(directory: Path, distance: int) -> dict[str, int]:
    """Gather the shards' fingerprints in one file, write duplicates.parquet; return the numbers of duplicates."""
    shards = directory / "fingerprints"
    fingerprints = pl.DataFrame(read_tables(shards)).sort("pair_id")
    for path in shards.iterdir():
        path.unlink()
    shards.rmdir()
    write_table(fingerprints.to_arrow().cast(FINGERPRINTS), directory / "fingerprints.parquet")
    duplicates = duplicates_within(fingerprints, distance)
    write_table(duplicates.to_arrow().cast(PAIR_DUPLICATES), directory / "duplicates.parquet")
    return count_duplicates(duplicates)


def summarise(found: PairSet, counts: Counter[str], directory: Path) -> dict[str, Any]:
    """Return the summary of an ingested set; raise an error if rows were lost.

    Raises:
        UserError: no pair is usable, or all are of one category.
    """
    read, kept = counts["rows read"], counts["rows kept"]
    quarantined = console.by_reason("quarantined", counts)
    console.rows_add_up(read, kept, quarantined, "pairs")
    rows = pl.DataFrame(read_tables(directory / "fingerprints", ["category", "split"]))
    categories = dict(rows.group_by("category").len().sort("category").iter_rows())
    if len(categories) < 2:
        reasons = ", ".join(f"{reason} {count}" for reason, count in quarantined.items()) or "none"
        seen = f"all usable pairs are of one category, {next(iter(categories))!r}" if kept else "no usable pair"
        raise console.UserError(
            f"{found.name}: {seen}: {read} rows read, {kept} kept, quarantined: {reasons}; retrieval by category needs "
            "pairs of two or more categories: check the columns, or join several files"
        )
    summary: dict[str, Any] = {
        "pairs": {"rows_read": read, "rows_kept": kept, "quarantined": quarantined},
        "converted": console.by_reason("converted", counts),
        "categories": categories,
        "given_splits": {name or "none": number for name, number in rows.group_by("split").len().sort("split").rows()},
    }
    if (texts := found.texts) is not None:
        bad = dict(sorted(Counter(row.reason for row in texts.refused).items()))
        left_out = dict(sorted(texts.left_out.items()))
        console.rows_add_up(texts.read, texts.kept, Counter(bad) + Counter(left_out), "texts")
        summary["texts"] = {
            "rows_read": texts.read,
            "rows_kept": texts.kept,
            "left_out": left_out,
            "quarantined": bad,
        }
    return summary


def closing_counts(summary: dict[str, Any]) -> dict[str, int]:
    """Return the counts of a summary with labels, for the closing lines."""
    counts: dict[str, int] = {}
    for table in ("pairs", "texts"):
        if table in summary:
            counts[f"{table}: rows read"] = summary[table]["rows_read"]
            counts[f"{table}: rows kept"] = summary[table]["rows_kept"]
            counts.update(console.as_counts(f"{table}: left out", summary[table].get("left_out", {})))
            counts.update(console.as_counts(f"{table}: quarantined", summary[table]["quarantined"]))
    counts.update(console.as_counts("images converted", summary["converted"]))
    counts.update({f"pairs with {what}": number for what, number in summary["duplicates"].items() if number})
    return counts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the job."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m pipelines.pairs.ingest",
    )
    parser.add_argument("--pairs", required=True, help="the table, or the data set's folder")
    parser.add_argument("--layout", required=True, help="table, wikipedia, raw or ingested")
    parser.add_argument("--columns", nargs="*", default=[], metavar="OUR=THEIR", help="the table's names of columns")
    parser.add_argument("--images", help="the folder of images that a table names")
    parser.add_argument("--domain", default="all", help="source, target or all (default): of a click data set")
    parser.add_argument("--captions", help="table of captions of a click data set")
    parser.add_argument("--languages", nargs="*", help="languages of captions that are taken")
    parser.add_argument("--most-texts", type=int, help="captions or queries of an image at most")
    parser.add_argument("--shards", type=int, default=8, help="number of files (default: %(default)s)")
    parser.add_argument("--longest-side", type=int, help="pixels; larger images are scaled down")
    parser.add_argument("--duplicate-distance", type=int, default=48, help="bits of 256 (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments, beam_arguments = parser.parse_known_args(argv)
    with console.stage("pairs", describe=arguments.pairs) as closing:
        options = vars(arguments)
        if wrong := [text for text in arguments.columns if "=" not in text]:
            raise console.UserError(f"--columns {wrong[0]}: expected OUR=THEIR, as in id=item_id")
        options["columns"] = dict(text.split("=", 1) for text in arguments.columns)
        source = {name: options[name] for name in PairsParams.model_fields}
        target = {name: options[name] for name in PairIngestParams.model_fields}
        pairs = validate_section(PairsParams, "options", source, "command line")
        params = validate_section(PairIngestParams, "options", target, "command line")
        summary = run(find_pairs(pairs), arguments.output, params, beam_arguments)
        closing.counts.update(closing_counts(summary))
        closing.wrote[str(arguments.output)] = f"{summary['pairs']['rows_kept']:,} pairs"
        closing.next_command = "python -m pipelines.pairs.split"


if __name__ == "__main__":
    main()

"""Read click logs as batches of clean rows, quarantine the other rows with a reason, and bucket the log by query.

A log is any number of files. Each is text (pipelines/ingest/log_format.py), the same packed
(pipelines/ingest/containers.py), or Parquet. pipelines/ingest/click_rows.py lists the conditions for a row. The clicks
of rows with the same image and query are added up.

    files = find_logs([Path("source/clicks.tsv")])
    rows = pipeline | "ClickLog" >> ReadClickLog(files)
    rows.clicks | "Clicks" >> WriteClicks(folder / "clicks", 4, packer)
    rows.quarantine | "Quarantine" >> WriteQuarantine(folder / "quarantine", packer)   # pipelines/ingest/quarantine.py
    rows.counts | "Counts" >> WriteCounts(folder / "counts.parquet")   # shards.read_counts reads them after the run
"""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import polars as pl
import pyarrow as pa

from base.console import UserError, log
from base.inputs import is_file
from base.raw_files import matches, walk, why_not_a_file
from base.schemas import CLICKS
from base.stores import Location, StorePath, is_address, location, matches_in_store, size_of
from pipelines.beam.blocks import BlockCoder
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import write_shard
from pipelines.beam.shuffle import GroupIntoShards, LargeShards, Packer
from pipelines.ingest.click_rows import (
    LONGEST_LINE,
    RECORDS,
    CheckedRows,
    check_columns,
    check_lines,
    check_records,
)
from pipelines.ingest.file_names import escape
from pipelines.ingest.log_format import LogFormat
from pipelines.ingest.log_records import json_rows
from pipelines.ingest.log_slices import TSV, Block, LogFile, num_rows, pieces_of, plan_slices, read_slice
from pipelines.ingest.sums import check_sums, sums_by

BUCKET_BYTES = 1 << 25  # of text in a bucket: a few workers can have a bucket each in memory at once
LARGE_BUCKET = 2 * BUCKET_BYTES  # bytes of a bucket's rows in memory; a bucket of the intended size has half as many
PACKED = (".parquet", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".tgz")
LARGE_SHARD = 1 << 29  # bytes of a shard's rows in memory; a shard of ingested/clicks must not be cut


beam.coders.registry.register_coder(Block, BlockCoder)


def find_logs(patterns: Sequence[str | Location], root: Path | None = None) -> list[LogFile]:
    """Return the files that paths, folders and globs name, each file once, in name order.

    Args:
        patterns: files, folders (see :func:`files_below`) or globs (``**`` too), also in object stores. By-products of
            the job that wrote a folder are left out, and named in a log line; a file that is named itself is always
            read.
        root: the folder that names are relative to; by default the deepest folder that holds all files. If the files
            are in several places (this machine, ``s3://``, ``gs://``), those of stores have their address as name.

    Raises:
        UserError: a pattern is empty or matches nothing.
    """
    paths, by_products = set[Location](), set[Location]()
    for pattern in patterns:
        if not str(pattern):  # Path would take it for the current folder
            raise UserError("'': no such click log; name a file, a folder or a glob (an unset variable?)")
        if is_address(pattern):
            objects, others = objects_of(location(pattern))
            paths.update(objects)
            by_products.update(others)
            continue
        found = [Path(str(pattern))]
        if not found[0].exists():
            found, of_glob = _matches(str(pattern))
            by_products.update(file.absolute() for file in of_glob)
        below = [files_below(path) for path in found]
        files = [file for data, _ in below for file in data]
        by_products.update(file.absolute() for _, others in below for file in others)
        if not files:
            raise UserError(
                f"{pattern}: no such click log; expected a file, a folder with files, or a glob that matches some"
            )
        paths.update(file.absolute() for file in files)  # links are not resolved: a linked log keeps its name in `root`
    _log_by_products(sorted(by_products - paths, key=str))
    here = sorted(path for path in paths if isinstance(path, Path))
    in_stores = sorted(path for path in paths if isinstance(path, StorePath))
    logs: list[LogFile] = []
    if here:
        base = root.absolute() if root else Path(os.path.commonpath([path.parent for path in here]))
        logs = [LogFile(str(path), escape(path.relative_to(base).as_posix())) for path in here]
    above = ""
    if not here and len({path.scheme for path in in_stores}) == 1:
        above = f"{in_stores[0].scheme}://{os.path.commonpath([path.parent.key for path in in_stores])}/"
    return logs + [LogFile(str(path), escape(str(path).removeprefix(above))) for path in in_stores]


def objects_of(path: Location) -> tuple[list[StorePath], list[StorePath]]:
    """Return the objects that an address in a store names: one, those below it, or those of a glob; by-products apart.

    Hidden objects are left out.

    Raises:
        UserError: there are none, or the store gives no access.
    """
    assert isinstance(path, StorePath)
    if path.is_file():
        return [path], []
    parts = path.key.split("/")
    first = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    found = matches_in_store(path if first < len(parts) else path / "**")
    asks_for_all = any(part.startswith("_") for part in parts[first:])
    by_products = [one for one in found if is_by_product(one.key.split("/")[first:]) and not asks_for_all]
    data = sorted(set(found) - set(by_products))
    if not data:
        raise UserError(
            f"{path}: no such click log; expected an object, a folder with objects, or a glob that matches some"
        )
    return data, by_products


def _matches(pattern: str) -> tuple[list[Path], list[Path]]:
    """Return the paths that a glob matches, and apart from them those that are by-products.

    A pattern with a name that begins with ``_``, as in ``logs/_*.tsv``, asks for such files.
    """
    found = matches(pattern)
    parts = Path(pattern).parts
    first = next((number for number, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    if any(part.startswith("_") for part in parts[first:]):
        return found, []
    data, by_products = list[Path](), list[Path]()
    for path in found:
        (by_products if is_by_product(path.parts[first:]) else data).append(path)
    return data, [path for path in by_products if path.is_file()]


def files_below(path: Path) -> tuple[list[Path], list[Path]]:
    """Return a file, or the files of a folder and of the folders in it; by-products (:func:`is_by_product`) apart.

    Hidden files are left out. Links to folders are followed; a folder that several links lead to is read once.

    Raises:
        UserError: a path is neither file nor folder, or is a broken link.
    """
    if is_file(path):
        return [path], []
    data, by_products = list[Path](), list[Path]()
    for found, kind in walk(path):
        if is_by_product(found.relative_to(path).parts):
            by_products += [found] if kind == "file" else []
        elif kind in ("broken", "odd"):
            raise UserError(f"{found}: {why_not_a_file(found)}; remove it or name the log's files one by one")
        elif kind == "file":
            data.append(found)
    return data, by_products


def is_by_product(parts: Sequence[str]) -> bool:
    """Return whether a path below a log's folder is no data, but was written beside the data by the job that made it.

    This is the convention of Hadoop, Spark, Hive and Arrow: names that begin with ``_`` are no data, such as
    ``_SUCCESS``, ``_metadata``, ``_common_metadata`` and the folders ``_temporary`` and ``_delta_log``; a partition's
    folder ``_day=1`` is data. Files that end in ``.crc`` are Hadoop's checksums.

    Args:
        parts: the names on the way from the log's folder to the file.
    """
    return any((part.startswith("_") and "=" not in part) or part.endswith(".crc") for part in parts)


def _log_by_products(paths: Sequence[Location]) -> None:
    if paths:
        names = ", ".join(map(str, paths[:3])) + (f" and {len(paths) - 3:,} more" if len(paths) > 3 else "")
        log.info("names that begin with _ or end in .crc are no part of a log; not read: %s", names)


def num_buckets(files: Sequence[LogFile]) -> int:
    """Return the number of buckets by query into which a log is cut while it is processed; no artifact depends on it.

    A packed file, known by its name, counts four times its size. A bucket that turns out larger is cut again, so the
    number affects only the speed.
    """
    text_bytes = sum(size_of(location(path)) * (4 if path.endswith(PACKED) else 1) for path, _ in files)
    return min(1 + text_bytes // BUCKET_BYTES, 32_767)


def check_block(block: Block, longest: int = LONGEST_LINE) -> Iterator[CheckedRows]:
    """Check a block's rows, in several pieces if there are very many.

    Args:
        block: the rows.
        longest: bytes that a line may have.
    """
    layout = block.layout
    constants = layout.constants or {}
    if not isinstance(block.rows, bytes):
        if block.rows.schema.equals(RECORDS):
            yield check_records(block.rows, block.name, layout.encoding)
        else:
            yield check_columns(block.rows, block.name, block.first_row, longest)
    elif layout.format == "jsonl":
        for records in json_rows(block.rows, block.first_row, layout.names, constants, longest):
            yield check_records(records, block.name, layout.encoding)
    else:
        for piece in pieces_of(block):
            yield check_lines(
                piece.rows,
                piece.name,
                piece.first_row,
                layout.columns,
                longest,
                delimiter=ord(layout.delimiter),
                constants=constants,
                encoding=layout.encoding,
                has_header=piece.has_header,
            )


def checked_block(block: Block, longest: int) -> Iterable[beam.pvalue.TaggedOutput]:
    """Check a block's rows; yield clicks, quarantine and counts, each under its tag."""
    yield beam.pvalue.TaggedOutput("counts", ("rows read", num_rows(block)))
    for checked in check_block(block, longest):
        yield beam.pvalue.TaggedOutput("clicks", checked.clicks)
        if checked.quarantine.num_rows:
            yield beam.pvalue.TaggedOutput("quarantine", checked.quarantine)
        for count in checked.counts().items():
            yield beam.pvalue.TaggedOutput("counts", count)


@dataclass(eq=False)
class ReadClickLog(beam.PTransform):
    """Reads a click log as three collections: ``clicks``, ``quarantine``, ``counts``.

    - clicks: record batches, schemas.CLICKS; some 400,000 rows of one file each, in any order, duplicates not added up;
    - quarantine: record batches, schemas.QUARANTINE;
    - counts: (name, count) pairs to be summed by name: ``rows read``, ``rows kept``, ``quarantined: <reason>``.

    Attributes:
        files: the result of :func:`find_logs`. The files are opened when the pipeline is built, so that a file that
            cannot be a log raises an error before anything runs.
        form: how the log is written.
    """

    files: Sequence[LogFile]
    form: LogFormat = TSV

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Read the slices, spread over the workers, and check their rows."""
        slices = [part for file in self.files for part in plan_slices(file, self.form)]
        return (
            begin
            | "Slices" >> beam.Create(slices)
            | "Blocks" >> beam.FlatMap(read_slice, self.form).with_output_types(Block)
            | "CheckedRows"
            >> concurrently("read", checked_block, self.form.longest).with_outputs("clicks", "quarantine", "counts")
        )


def add_up(clicks: pa.RecordBatch) -> pa.RecordBatch:
    """Add up the clicks of rows with the same image and query; sort by query, then image id, in code-point order.

    Raises:
        UserError: a sum does not fit into 64 bits.
    """
    frame = pl.DataFrame(pa.Table.from_batches([clicks]))
    check_sums(frame["clicks"].to_numpy(), partial(sums_by, frame.select("query", "image_id")))
    summed = frame.group_by("query", "image_id").agg(pl.col("clicks").sum()).sort("query", "image_id")
    return pa.record_batch([summed[name].to_arrow().cast(CLICKS.field(name).type) for name in CLICKS.names], CLICKS)


@dataclass(eq=False)
class WriteClicks(beam.PTransform):
    """Takes click batches; writes ingested/clicks, shards of whole queries, and returns (file name, rows) of each.

    A shard is a bucket of the log by query: everything that concerns a query's words is computed within one shard.

    Attributes:
        directory: an existing folder.
        num_shards: 1 .. 32,767; about a million rows in each is a good size.
        packer: how rows travel.
    """

    directory: Path
    num_shards: int
    packer: Packer

    def expand(self, clicks: beam.PCollection) -> beam.PCollection:
        """Bucket by query, add up and write the clicks."""
        finish = partial(write_bucket, directory=self.directory)
        return clicks | "WrittenBuckets" >> GroupIntoShards(
            CLICKS, "query", self.num_shards, finish, self.packer, "write", large=LargeShards(LARGE_SHARD, add_up)
        )


def write_bucket(bucket: int, clicks: pa.RecordBatch, directory: Path) -> Iterable[tuple[str, int]]:
    """Add up and write a whole bucket; return its file name and row count."""
    return [write_shard((bucket, add_up(clicks)), directory)]

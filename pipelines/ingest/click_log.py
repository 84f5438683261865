"""Click logs as batches of clean rows, what is not clean with its reason, and the log bucketed by query.

A log is any number of files, each tab-separated text (``image id <TAB> query <TAB> clicks``, or fields in another
order; UTF-8 with or without a byte-order mark, ``LF`` or ``CRLF``), the same gzipped, or Parquet with columns image_id,
query and clicks. What a row must be is said in pipelines/ingest/click_rows.py. Rows with the same image and query add
up.

    files = find_logs([Path("source/clicks.tsv")])
    rows = pipeline | "ClickLog" >> ReadClickLog(files)
    rows.clicks | "Clicks" >> WriteClicks(folder / "clicks", 4, packer)
    rows.quarantine | "Quarantine" >> WriteQuarantine(folder / "quarantine")
    rows.counts | "Counts" >> WriteCounts(folder / "counts.parquet")   # shards.read_counts reads them after the run
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from base.inputs import is_file
from base.raw_files import matches, walk, why_not_a_file
from base.schemas import CLICKS, QUARANTINE
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import WriteShards, write_shard
from pipelines.beam.shuffle import INLINE, GroupIntoShards, Packer
from pipelines.ingest.click_rows import COLUMNS, NEWLINE, CheckedRows, check_columns, check_lines

SLICE_BYTES = 1 << 24  # of a text file, read and parsed at once: some 400,000 rows
SLICE_ROWS = 1 << 18  # of a Parquet file
BUCKET_BYTES = 1 << 25  # of text in a bucket: as much as a few workers can have in memory at once
QUARANTINE_BYTES = 1 << 27  # of a log to a file of its quarantine, should all of its rows go there
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LogFile(NamedTuple):
    """One file of a log.

    Attributes:
        path: where it is.
        name: what quarantine calls it: its path below the folder that holds the whole log, the same on every machine.
    """

    path: str
    name: str


class LogSlice(NamedTuple):
    """A part of a log file that one worker reads: whole lines of text, whole row groups of Parquet, or a gzip file.

    Attributes:
        file: the file.
        form: text, gzip or parquet.
        start, end: bytes of a text file; row groups of a Parquet file; 0 and 0 for the whole of a gzip file.
        first_row: the 1-based number of its first row in the file.
    """

    file: LogFile
    form: str
    start: int
    end: int
    first_row: int


def find_logs(patterns: Sequence[str | Path], root: Path | None = None) -> list[LogFile]:
    """Return the files that paths, folders and globs name, each once, in name order.

    Args:
        patterns: files, folders (as :func:`files_below` takes them) or globs (``**`` too).
        root: the folder that names are relative to; by default the deepest one that holds all files.

    Raises:
        UserError: a pattern is empty or matches nothing.
    """
    paths: set[Path] = set()
    for pattern in patterns:
        if not str(pattern):  # to Path, the current folder
            raise UserError("'': no such click log; name a file, a folder or a glob (an unset variable?)")
        found = [Path(pattern)]
        if not found[0].exists():
            found = matches(str(pattern))
        files = [file for path in found for file in files_below(path)]
        if not files:
            raise UserError(
                f"{pattern}: no such click log; expected a file, a folder with files, or a glob that matches some"
            )
        paths.update(file.absolute() for file in files)  # not resolved: a linked log keeps its name below `root`
    base = root.absolute() if root else Path(os.path.commonpath([path.parent for path in paths]))
    return [LogFile(str(path), path.relative_to(base).as_posix()) for path in sorted(paths)]


def files_below(path: Path) -> Iterator[Path]:
    """Yield a file, or all files of a folder and of the folders in it; what is hidden in them is passed over.

    Links to folders are followed, a folder that is met again is not read again.

    Raises:
        UserError: something is neither file nor folder, or a link that leads nowhere.
    """
    if is_file(path):
        yield path
        return
    for found, kind in walk(path):
        if kind in ("broken", "odd"):
            raise UserError(f"{found}: {why_not_a_file(found)}; remove it or name the log's files one by one")
        if kind == "file":
            yield found


def plan_slices(file: LogFile) -> list[LogSlice]:
    """Cut a log file into slices that can be read apart from each other.

    Raises:
        UserError: the file is Parquet by its name but not by its content, damaged, or not of a log's columns.
    """
    with Path(file.path).open("rb") as stream:
        magic = stream.read(4)
        stream.seek(0)
        if magic == b"PAR1":
            return _parquet_slices(file)
        if file.path.endswith(".parquet"):
            raise UserError(f"{file.path}: named .parquet, but its content is not Parquet")
        if magic[:2] == b"\x1f\x8b":
            return [LogSlice(file, "gzip", 0, 0, 1)]
        return list(_text_slices(file, stream))


def _text_slices(file: LogFile, stream: BinaryIO) -> Iterator[LogSlice]:
    """Cut at the last line end of every 16 MiB; counting line ends here gives every slice its row numbers."""
    start = len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0
    stream.seek(start)
    position, first_row = start, 1
    while chunk := stream.read(SLICE_BYTES):
        if last := chunk.rfind(b"\n") + 1:
            yield LogSlice(file, "text", start, position + last, first_row)
            first_row += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == NEWLINE))  # bytes.count: twice as long
            start = position + last
        position += len(chunk)
    if start < position:
        yield LogSlice(file, "text", start, position, first_row)


def _parquet_slices(file: LogFile) -> list[LogSlice]:
    with reading(Path(file.path)):
        parquet = pq.ParquetFile(file.path)
    names = parquet.schema_arrow.names
    if any(names.count(column) != 1 for column in COLUMNS):
        found = ", ".join(names)
        raise UserError(f"{file.path}: a Parquet click log needs the columns {', '.join(COLUMNS)}; it has {found}")
    for column in ("image_id", "query"):
        kind = parquet.schema_arrow.field(column).type
        if pa.types.is_nested(kind):
            raise UserError(f"{file.path}: column {column} is {kind}; expected strings")
    kind = parquet.schema_arrow.field("clicks").type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or is_text):
        raise UserError(f"{file.path}: column clicks is {kind}; expected integers, floats or strings")
    slices, first_row = [], 1
    for group in range(parquet.num_row_groups):
        slices.append(LogSlice(file, "parquet", group, group + 1, first_row))
        first_row += parquet.metadata.row_group(group).num_rows
    return slices


def num_buckets(files: Sequence[LogFile]) -> int:
    """Return into how many buckets by query a log is cut while it is worked on; no artifact depends on it."""
    return min(1 + text_bytes(files) // BUCKET_BYTES, 32_767)


def num_quarantines(files: Sequence[LogFile], more_bytes: int = 0) -> int:
    """Return how many files the quarantine of a log has: a shard is sorted in memory, and all rows may be bad.

    Args:
        files: the log.
        more_bytes: of rows that go there, too.
    """
    return min(1 + (text_bytes(files) + more_bytes) // QUARANTINE_BYTES, 32_767)


def text_bytes(files: Sequence[LogFile]) -> int:
    """Return about how much text a log is; a packed file is taken for four times its size."""
    return sum(Path(path).stat().st_size * (4 if path.endswith((".gz", ".parquet")) else 1) for path, _ in files)


class Block(NamedTuple):
    """Some rows of a log file, read but not looked at.

    Attributes:
        name: the file's, for the quarantine.
        first_row: the 1-based number of its first row in the file.
        rows: whole lines of text, or columns.
    """

    name: str
    first_row: int
    rows: bytes | pa.RecordBatch


def read_slice(part: LogSlice) -> Iterator[Block]:
    """Read a slice, some 16 MiB at a time.

    Raises:
        UserError: a packed file is damaged or cut short.
    """
    path, row = Path(part.file.path), part.first_row
    if part.form == "parquet":
        groups = list(range(part.start, part.end))
        with reading(path):
            for batch in pq.ParquetFile(path).iter_batches(SLICE_ROWS, row_groups=groups, columns=list(COLUMNS)):
                yield Block(part.file.name, row, batch)
                row += batch.num_rows
    elif part.form == "gzip":
        for lines in _gzip_blocks(path):
            block = Block(part.file.name, row, lines)
            yield block
            row += num_rows(block)
    else:
        with path.open("rb") as stream:
            stream.seek(part.start)
            yield Block(part.file.name, row, stream.read(part.end - part.start))


def _gzip_blocks(path: Path) -> Iterator[bytes]:
    """Yield whole lines; only the last block may end without a line end."""
    with gzip.open(path) as stream:
        try:
            rest = [stream.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)]
            while chunk := stream.read(SLICE_BYTES):
                rest.append(chunk)
                if b"\n" in chunk:
                    block = b"".join(rest)
                    last = block.rfind(b"\n") + 1
                    yield block[:last]
                    rest = [block[last:]]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error
        if last_line := b"".join(rest):
            yield last_line


def read_columns(text: str) -> tuple[str, ...]:
    """Return what stands in a text log's fields, from ``image_id,query,clicks`` in any order.

    Any other name is a field to pass over, as in ``day,query,image_id,_,clicks``.

    Raises:
        UserError: one of the three is missing, or stands there twice.
    """
    columns = tuple(name.strip() for name in text.split(","))
    for name in COLUMNS:
        if columns.count(name) != 1:
            raise UserError(
                f"columns {text!r}: {name} stands there {columns.count(name)} times; expected each of "
                f"{', '.join(COLUMNS)} once, in the order of the log's fields, and any name for a field to pass over"
            )
    return columns


def num_rows(block: Block) -> int:
    """Count a block's rows without looking into them."""
    if not isinstance(block.rows, bytes):
        return block.rows.num_rows
    lines = int(np.count_nonzero(np.frombuffer(block.rows, np.uint8) == NEWLINE))
    return lines + (not block.rows.endswith(b"\n") and len(block.rows) > 0)


def check_block(block: Block, columns: Sequence[str] = COLUMNS) -> CheckedRows:
    """Check a block's rows; of text, ``columns`` says what stands in its fields."""
    if isinstance(block.rows, bytes):
        return check_lines(block.rows, block.name, block.first_row, columns)
    return check_columns(block.rows, block.name, block.first_row)


def checked_block(block: Block, columns: Sequence[str]) -> Iterable[beam.pvalue.TaggedOutput]:
    """Check a block's rows: clicks, quarantine and counts out, each under its tag."""
    checked = check_block(block, columns)
    yield beam.pvalue.TaggedOutput("counts", ("rows read", num_rows(block)))
    yield beam.pvalue.TaggedOutput("clicks", checked.clicks)
    if checked.quarantine.num_rows:
        yield beam.pvalue.TaggedOutput("quarantine", checked.quarantine)
    for count in checked.counts().items():
        yield beam.pvalue.TaggedOutput("counts", count)


@dataclass(eq=False)
class ReadClickLog(beam.PTransform):
    """A click log as three collections: ``clicks``, ``quarantine``, ``counts``.

    - clicks: record batches, schemas.CLICKS; some 400,000 rows of one file each, in no order, duplicates not added up;
    - quarantine: record batches, schemas.QUARANTINE;
    - counts: (name, count) pairs to be summed by name: ``rows read``, ``rows kept``, ``quarantined: <reason>``.

    Attributes:
        files: what :func:`find_logs` found. They are looked at when the pipeline is built, so that a file that
            cannot be a log is an error before anything runs.
        columns: what stands in the fields of text; Parquet names its columns itself.
    """

    files: Sequence[LogFile]
    columns: Sequence[str] = COLUMNS

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Wire: slices, spread over the workers, checked."""
        slices = [part for file in self.files for part in plan_slices(file)]
        return (
            begin
            | "Slices" >> beam.Create(slices)
            | "Blocks" >> beam.FlatMap(read_slice).with_output_types(Block)
            | "CheckedRows"
            >> concurrently("read", checked_block, self.columns).with_outputs("clicks", "quarantine", "counts")
        )


def add_up(clicks: pa.RecordBatch) -> pa.RecordBatch:
    """Add up the clicks of rows with the same image and query; rows by query, then image id, in code-point order."""
    frame = pl.DataFrame(pa.Table.from_batches([clicks]))
    summed = frame.group_by("query", "image_id").agg(pl.col("clicks").sum()).sort("query", "image_id")
    return pa.record_batch([summed[name].to_arrow().cast(CLICKS.field(name).type) for name in CLICKS.names], CLICKS)


@dataclass(eq=False)
class WriteClicks(beam.PTransform):
    """Click batches in; shards of whole queries on disk and (file name, rows) of each out: data/ingested/clicks.

    A shard is a bucket of the log by query: whatever concerns a query's words is done inside one.

    Attributes:
        directory: an existing folder.
        num_shards: 1 .. 32,767; about a million rows in each are a good size.
        packer: how rows travel.
    """

    directory: Path
    num_shards: int
    packer: Packer

    def expand(self, clicks: beam.PCollection) -> beam.PCollection:
        """Wire: bucket by query, add up, write."""
        finish = partial(write_bucket, directory=self.directory)
        return clicks | "WrittenBuckets" >> GroupIntoShards(
            CLICKS, "query", self.num_shards, finish, self.packer, "write"
        )


def write_bucket(bucket: int, clicks: pa.RecordBatch, directory: Path) -> Iterable[tuple[str, int]]:
    """Add up and write a whole bucket; return its file name and row count."""
    return [write_shard((bucket, add_up(clicks)), directory)]


@dataclass(eq=False)
class WriteQuarantine(beam.PTransform):
    """Quarantine batches in; shards, rows by file and row number, on disk, and (file name, rows) of each out.

    Attributes:
        directory: an existing folder.
        num_shards: as :func:`num_quarantines` gives it. A row's shard goes by its text: a log may be one file.
        packer: how rows travel; by default as their own bytes.
    """

    directory: Path
    num_shards: int = 1
    packer: Packer = INLINE

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Wire: gather, sort, write."""
        sort_by = ("file", "row", "reason", "raw")  # files of two logs may have the same name
        return rows | "Sorted" >> WriteShards(self.directory, QUARANTINE, "raw", self.num_shards, sort_by, self.packer)

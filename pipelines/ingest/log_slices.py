"""Cut the files of a click log into slices that workers read, and slices into blocks of bounded size.

The size of a packed file's contents is known only once it has been read. So everything is read in blocks of some
16 MiB. A line that is too long is cut while it is read; a cell of Parquet is measured before it is unpacked. Work that
takes memory for each row is done on pieces of blocks, which have a limited number of rows.
"""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from pipelines.ingest.click_rows import COLUMNS, LONGEST_LINE, NEWLINE, TAB, as_bytes, kept_of_long, row_bytes
from pipelines.ingest.extension_types import plain_batch, plain_type

SLICE_BYTES = 1 << 24  # of a file, read at once: some 400,000 rows
SLICE_ROWS = 1 << 18  # of a Parquet file, read at once
MOST_ROWS = 1 << 19  # of text, parsed at once
MOST_TABS = 4 * MOST_ROWS
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class LogFile(NamedTuple):
    """One file of a log.

    Attributes:
        path: of the file.
        name: its name in the quarantine: its path below the folder that holds the whole log, the same on every machine;
            bytes that are not UTF-8 are escaped.
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


def plan_slices(file: LogFile) -> list[LogSlice]:
    """Cut a log file into slices that can be read independently.

    Raises:
        UserError: the file is Parquet by its name but not by its content, is damaged, or lacks a log's columns.
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
    """Cut at the last line end of every 16 MiB; count line ends, so that every slice gets its row numbers."""
    start = len(BYTE_ORDER_MARK) if stream.read(3) == BYTE_ORDER_MARK else 0
    stream.seek(start)
    position, first_row = start, 1
    while chunk := stream.read(SLICE_BYTES):
        if last := chunk.rfind(b"\n") + 1:
            yield LogSlice(file, "text", start, position + last, first_row)
            first_row += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == NEWLINE))  # half bytes.count's time
            start = position + last
        position += len(chunk)
    if start < position:
        yield LogSlice(file, "text", start, position, first_row)


def _opened(path: str) -> pa.OSFile:
    """Open a file for Arrow, which accepts a path that is not UTF-8 only as bytes."""
    return pa.OSFile(os.fsencode(path))


def _parquet_slices(file: LogFile) -> list[LogSlice]:
    with reading(Path(file.path)):
        parquet = pq.ParquetFile(_opened(file.path))
    names = parquet.schema_arrow.names
    if any(names.count(column) != 1 for column in COLUMNS):
        found = ", ".join(names)
        raise UserError(f"{file.path}: a Parquet click log needs the columns {', '.join(COLUMNS)}; it has {found}")
    for column in ("image_id", "query"):
        kind = plain_type(parquet.schema_arrow.field(column).type)
        if pa.types.is_nested(kind) or not _has_text(kind):
            raise UserError(f"{file.path}: column {column} is {kind}; expected strings")
    kind = plain_type(parquet.schema_arrow.field("clicks").type)
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or is_text):
        raise UserError(f"{file.path}: column clicks is {kind}; expected integers, floats or strings")
    slices, first_row = [], 1
    for group in range(parquet.num_row_groups):
        slices.append(LogSlice(file, "parquet", group, group + 1, first_row))
        first_row += parquet.metadata.row_group(group).num_rows
    return slices


def _has_text(kind: pa.DataType) -> bool:
    """Return True if Arrow can turn the values of a type into text."""
    try:
        as_bytes(pa.array([], kind))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


class Block(NamedTuple):
    """Some rows of a log file, read but not yet checked.

    Attributes:
        name: the file's name in the quarantine.
        first_row: the 1-based number of its first row in the file.
        rows: whole lines of text, or columns.
    """

    name: str
    first_row: int
    rows: bytes | pa.RecordBatch


def read_slice(part: LogSlice, longest: int = LONGEST_LINE) -> Iterator[Block]:
    """Read a slice, some 16 MiB at a time, even if it unpacks to much more.

    Args:
        part: the slice.
        longest: bytes that a line may have. A longer line of text is cut, so that no more than ``longest`` + 2 bytes
            of it are in memory: enough to see that it is too long.

    Raises:
        UserError: a packed file is damaged or cut short.
    """
    row = part.first_row
    for rows in _batches(part, longest) if part.form == "parquet" else whole_lines(_chunks(part, longest), longest):
        block = Block(part.file.name, row, rows)
        yield block
        row += num_rows(block)


def _batches(part: LogSlice, longest: int) -> Iterator[pa.RecordBatch]:
    """Read row groups of Parquet; texts come as dictionaries, since a short file may repeat a long text for ever.

    Arrow unpacks whole pages: a page is in memory as a whole, however much its writer put into it.
    """
    path = Path(part.file.path)
    with reading(path):
        footer = pq.read_metadata(_opened(part.file.path))
        columns = [column for column in map(footer.schema.column, range(footer.num_columns)) if column.path in COLUMNS]
        texts = [
            column.path
            for column in columns
            if column.physical_type == "BYTE_ARRAY" and column.converted_type != "DECIMAL"
        ]
        uuids = frozenset(column.path for column in columns if column.logical_type.type == "UUID")
        parquet = pq.ParquetFile(_opened(part.file.path), metadata=footer, read_dictionary=texts, buffer_size=1 << 20)
        for group in range(part.start, part.end):
            num = batch_rows(footer.row_group(group))
            for batch in parquet.iter_batches(num, row_groups=[group], columns=list(COLUMNS)):
                yield from cut_batch(plain_batch(batch, uuids), longest)


def batch_rows(group: pq.RowGroupMetaData) -> int:
    """Return how many rows of a row group are read at once: those that take some SLICE_BYTES in its pages."""
    columns = [column for column in map(group.column, range(group.num_columns)) if column.path_in_schema in COLUMNS]
    unpacked = max(1, sum(column.total_uncompressed_size for column in columns))
    return max(1, min(SLICE_ROWS, group.num_rows * SLICE_BYTES // unpacked))


def cut_batch(batch: pa.RecordBatch, longest: int) -> Iterator[pa.RecordBatch]:
    """Cut rows of Parquet into batches that take some SLICE_BYTES each once their dictionaries are decoded."""
    sizes = row_bytes(batch)
    sizes[sizes > longest] = kept_of_long(longest)
    slices = np.cumsum(sizes) // SLICE_BYTES
    starts = [0, *(np.flatnonzero(np.diff(slices)) + 1).tolist(), batch.num_rows]
    for start, end in pairwise(starts):
        yield batch.slice(start, end - start)


def _chunks(part: LogSlice, longest: int) -> Iterator[bytes]:
    """Read some 16 MiB of text at a time."""
    path = Path(part.file.path)
    if part.form == "text":
        with path.open("rb") as stream:
            stream.seek(part.start)
            left = part.end - part.start  # if this is one line more than SLICE_BYTES, one read is enough
            while chunk := stream.read(left if left <= SLICE_BYTES + longest else SLICE_BYTES):
                yield chunk
                left -= len(chunk)
        return
    with gzip.open(path) as stream:
        try:
            yield stream.read(len(BYTE_ORDER_MARK)).removeprefix(BYTE_ORDER_MARK)
            while chunk := stream.read(SLICE_BYTES):
                yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path}: damaged or cut short ({error}); fetch it again") from error


def whole_lines(chunks: Iterable[bytes], longest: int) -> Iterator[bytes]:
    """Join chunks of text into blocks of whole lines; only the last block may end without a line end.

    Args:
        chunks: of any size, cut anywhere.
        longest: bytes that a line may have. A longer line that is spread over several chunks is cut to ``longest`` + 2
            bytes, one of which may be a carriage return; so it is still too long. A block has at most this many bytes
            more than a chunk.
    """
    enough = longest + 2
    rest = b""
    for chunk in chunks:
        last = chunk.rfind(b"\n") + 1
        if not last:
            rest += chunk[: enough - len(rest)]
            continue
        if rest:
            first = chunk.find(b"\n")
            yield b"".join([rest, chunk[: min(first, enough - len(rest))], memoryview(chunk)[first:last]])
        else:
            yield chunk[:last]
        rest = chunk[last : last + enough]
    if rest:
        yield rest


def num_rows(block: Block) -> int:
    """Count a block's rows without parsing them."""
    if not isinstance(block.rows, bytes):
        return block.rows.num_rows
    lines = int(np.count_nonzero(np.frombuffer(block.rows, np.uint8) == NEWLINE))
    return lines + (not block.rows.endswith(b"\n") and len(block.rows) > 0)


def pieces_of(block: Block) -> Iterator[Block]:
    """Halve a block of text until no piece has more than MOST_ROWS rows and MOST_TABS tabs, unless it is a single row.

    Parsing takes some 60 bytes for each line end and tab: 16 MiB of nothing but these would take a gigabyte.
    """
    codes = np.frombuffer(block.rows, np.uint8)
    if num_rows(block) > MOST_ROWS or np.count_nonzero(codes == TAB) > MOST_TABS:
        middle = len(block.rows) // 2
        cut = block.rows.rfind(b"\n", 0, middle) + 1 or block.rows.find(b"\n", middle) + 1
        if 0 < cut < len(block.rows):
            first = Block(block.name, block.first_row, block.rows[:cut])
            yield from pieces_of(first)
            yield from pieces_of(Block(block.name, block.first_row + num_rows(first), block.rows[cut:]))
            return
    yield block

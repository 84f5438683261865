"""Cut the files of a click log into slices that workers read, and slices into blocks of bounded size.

The size of a packed file's contents is known only once it has been read. So everything is read in blocks of some
16 MiB. A line that is too long is cut while it is read; a cell of Parquet is measured before it is unpacked. Work that
takes memory for each row is done on pieces of blocks, which have a limited number of rows.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from base.stores import StorePath, location
from pipelines.ingest.click_rows import COLUMNS, NEWLINE, as_bytes, kept_of_long, row_bytes
from pipelines.ingest.containers import PARQUET, TAR_HEADER, Document, documents, is_packed, unpacking
from pipelines.ingest.encodings import as_utf8
from pipelines.ingest.extension_types import plain_batch, plain_type
from pipelines.ingest.log_format import LogFormat
from pipelines.ingest.log_head import HEAD, Layout, Look, constants_of, look_at
from pipelines.ingest.log_records import csv_rows

SLICE_BYTES = 1 << 24  # of a file, read at once: some 400,000 rows
SLICE_ROWS = 1 << 18  # of a Parquet file, read at once
MOST_ROWS = 1 << 19  # of text, parsed at once
MOST_TABS = 4 * MOST_ROWS
TSV = LogFormat()
PLAIN_LAYOUT = Layout()


class LogFile(NamedTuple):
    """One file of a log.

    Attributes:
        path: of the file; an address in a store, or a path of this machine.
        name: its name in the quarantine: its path below the folder that holds the whole log, the same on every machine;
            bytes that are not UTF-8 are escaped.
    """

    path: str
    name: str


class LogSlice(NamedTuple):
    """A part of a log file that one worker reads: whole lines of text, whole row groups of Parquet, or a whole file.

    Attributes:
        file: the file.
        form: text or parquet; stream: text that can only be read from its beginning, as it is packed, CSV, or in
            another encoding than UTF-8.
        start, end: bytes of a text file; row groups of a Parquet file; 0 and 0 for a stream.
        first_row: the 1-based number of its first row in the file.
        look: what the first rows of a text file show; those of a stream are looked at while it is read.
    """

    file: LogFile
    form: str
    start: int
    end: int
    first_row: int
    look: Look | None = None


def plan_slices(file: LogFile, form: LogFormat = TSV) -> list[LogSlice]:
    """Cut a log file into slices that can be read independently.

    Args:
        file: the file.
        form: how its text is written.

    Raises:
        UserError: the file is Parquet by its name but not by its content, is damaged, lacks a log's columns, or its
            beginning shows that it is no log.
    """
    path = location(file.path)
    with path.open("rb") as stream:
        magic = stream.read(TAR_HEADER)
        stream.seek(0)
        if magic.startswith(PARQUET):
            return _parquet_slices(file, form)
        if file.path.endswith(".parquet"):
            raise UserError(f"{file.path}: named .parquet, but its content is not Parquet")
        if not is_packed(magic):
            look = look_at(stream.read(HEAD), file.path, form)
            if form.format != "csv" and form.encoding == "utf-8" and not look.has_cr_ends:
                return list(_text_slices(file, stream, look))
    for document in documents(path, file.name):
        with unpacking(path):
            look_at(document.stream.peek(HEAD), file.path, form)
        break  # of an archive the other members are looked at when it is read
    return [LogSlice(file, "stream", 0, 0, 1)]


def _text_slices(file: LogFile, stream: IO[bytes], look: Look) -> Iterator[LogSlice]:
    """Cut at the last line end of every 16 MiB; count line ends, so that every slice gets its row numbers."""
    stream.seek(0)
    start, position, first_row = 0, 0, 1
    while chunk := stream.read(SLICE_BYTES):
        if last := chunk.rfind(b"\n") + 1:
            yield LogSlice(file, "text", start, position + last, first_row, look)
            first_row += int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == NEWLINE))  # half bytes.count's time
            start = position + last
        position += len(chunk)
    if start < position:
        yield LogSlice(file, "text", start, position, first_row, look)


def _opened(path: str) -> pa.NativeFile:
    """Open a file for Arrow, which accepts a local path that is not UTF-8 only as bytes."""
    found = location(path)
    return pa.PythonFile(found.open("rb")) if isinstance(found, StorePath) else pa.OSFile(os.fsencode(path))


def _parquet_slices(file: LogFile, form: LogFormat) -> list[LogSlice]:
    with reading(location(file.path)):
        parquet = pq.ParquetFile(_opened(file.path))
    names = parquet.schema_arrow.names
    fields = parquet_fields(file.path, names, form)
    for column in ("image_id", "query"):
        if column not in fields:
            continue
        kind = plain_type(parquet.schema_arrow.field(fields[column]).type)
        if pa.types.is_nested(kind) or not _has_text(kind):
            raise UserError(f"{file.path}: column {fields[column]} is {kind}; expected strings")
    if "clicks" in fields:
        kind = plain_type(parquet.schema_arrow.field(fields["clicks"]).type)
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if not (is_number or is_text):
            raise UserError(f"{file.path}: column {fields['clicks']} is {kind}; expected integers, floats or strings")
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


def parquet_fields(path: str, names: list[str], form: LogFormat) -> dict[str, str]:
    """Return the columns of a Parquet file by their names in COLUMNS; the others have constant values.

    Raises:
        UserError: a column is missing, or stands there twice.
    """
    fields = {role: name for role, name in form.columns.names.items() if name in names}
    if any(names.count(name) != 1 for name in fields.values()):
        raise UserError(_wrong_columns(path, names, form))
    try:
        constants_of(path, form, fields)
    except UserError:
        raise UserError(_wrong_columns(path, names, form)) from None
    return fields


def _wrong_columns(path: str, names: list[str], form: LogFormat) -> str:
    found = ", ".join(names)
    return (
        f"{path}: a Parquet click log needs the columns {', '.join(form.columns.names.values())}; it has {found}; name "
        f"others with {form.spelled(columns='image_id=photo,query=keyword,clicks=n')} (without clicks each row is one)"
    )


class Block(NamedTuple):
    """Some rows of a log file, read but not yet checked.

    Attributes:
        name: the file's name in the quarantine.
        first_row: the 1-based number of its first row in the file.
        rows: whole lines of text, or columns: those of Parquet, or click_rows.RECORDS.
        layout: where the fields of text are.
        has_header: whether the first row holds names.
    """

    name: str
    first_row: int
    rows: bytes | pa.RecordBatch
    layout: Layout = PLAIN_LAYOUT
    has_header: bool = False


def read_slice(part: LogSlice, form: LogFormat = TSV) -> Iterator[Block]:
    """Read a slice, some 16 MiB at a time, even if it unpacks to much more.

    Args:
        part: the slice.
        form: how the log's text is written. Of a line that is longer than ``form.longest`` no more than that and 2
            bytes are in memory: enough to see that it is too long.

    Raises:
        UserError: a packed file is damaged or cut short, or holds something that is no log.
    """
    if part.form == "stream":
        for document in documents(location(part.file.path), part.file.name):
            yield from _read_document(document, part.file.path, form)
        return
    row = part.first_row
    layout, has_header = (part.look.layout, part.look.has_header) if part.look else (PLAIN_LAYOUT, False)
    for rows in _batches(part, form) if part.form == "parquet" else whole_lines(_chunks(part, form), form.longest):
        block = Block(part.file.name, row, rows, layout, has_header and row == 1)
        yield block
        row += num_rows(block)


def _read_document(document: Document, path: str, form: LogFormat) -> Iterator[Block]:
    """Read a text from its beginning to its end."""
    with unpacking(location(path)):
        look = look_at(document.stream.peek(HEAD), path, form)
    lines = whole_lines(_stream_chunks(document, path, form, look), form.longest)
    layout, row = look.layout, 1
    if layout.format == "csv":
        constants = layout.constants or {}
        for row, rows in csv_rows(lines, layout.columns, constants, layout.delimiter, form.longest, look.has_header):
            yield Block(document.name, row, rows, layout, look.has_header and row == 1)
        return
    for rows in lines:
        block = Block(document.name, row, rows, layout, look.has_header and row == 1)
        yield block
        row += num_rows(block)


def _stream_chunks(document: Document, path: str, form: LogFormat, look: Look) -> Iterator[bytes]:
    """Read some 16 MiB of text at a time, as UTF-8 with line feeds."""
    for chunk in as_utf8(_unpacked_chunks(document, path), form.encoding):
        yield chunk.replace(b"\r", b"\n") if look.has_cr_ends else chunk


def _unpacked_chunks(document: Document, path: str) -> Iterator[bytes]:
    with unpacking(location(path)):
        while chunk := document.stream.read(SLICE_BYTES):
            yield chunk


def _batches(part: LogSlice, form: LogFormat) -> Iterator[pa.RecordBatch]:
    """Read row groups of Parquet; texts come as dictionaries, since a short file may repeat a long text for ever.

    Arrow unpacks whole pages: a page is in memory as a whole, however much its writer put into it.
    """
    with reading(location(part.file.path)):
        footer = pq.read_metadata(_opened(part.file.path))
        fields = parquet_fields(part.file.path, footer.schema.to_arrow_schema().names, form)
        constants = constants_of(part.file.path, form, fields)
        columns = [footer.schema.column(number) for number in range(footer.num_columns)]
        texts = [
            column.path
            for column in columns
            if column.path in fields.values()
            and column.physical_type == "BYTE_ARRAY"
            and column.converted_type != "DECIMAL"
        ]
        uuids = frozenset(column.path for column in columns if column.logical_type.type == "UUID")
        parquet = pq.ParquetFile(_opened(part.file.path), metadata=footer, read_dictionary=texts, buffer_size=1 << 20)
        for group in range(part.start, part.end):
            num = batch_rows(footer.row_group(group), fields.values())
            for batch in parquet.iter_batches(num, row_groups=[group], columns=list(fields.values())):
                yield from cut_batch(with_constants(plain_batch(batch, uuids), fields, constants), form.longest)


def with_constants(batch: pa.RecordBatch, fields: Mapping[str, str], constants: Mapping[str, str]) -> pa.RecordBatch:
    """Return the columns of a Parquet file under the names of COLUMNS, with those that have a constant value."""
    same = pa.array(np.zeros(batch.num_rows, np.int32))
    return pa.record_batch(
        {
            role: batch.column(fields[role])
            if role in fields
            else pa.DictionaryArray.from_arrays(same, [constants[role]])
            for role in COLUMNS
        }
    )


def batch_rows(group: pq.RowGroupMetaData, names: Collection[str]) -> int:
    """Return how many rows of a row group are read at once: those that take some SLICE_BYTES in its pages."""
    columns = [column for column in map(group.column, range(group.num_columns)) if column.path_in_schema in names]
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


def _chunks(part: LogSlice, form: LogFormat) -> Iterator[bytes]:
    """Read some 16 MiB of text at a time."""
    with location(part.file.path).open("rb") as stream:
        stream.seek(part.start)
        left = part.end - part.start  # if this is one line more than SLICE_BYTES, one read is enough
        while chunk := stream.read(left if left <= SLICE_BYTES + form.longest else SLICE_BYTES):
            yield chunk
            left -= len(chunk)


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
    return num_lines(block.rows)


def num_lines(text: bytes) -> int:
    """Return the number of lines of a text; the last may lack its end."""
    ends = int(np.count_nonzero(np.frombuffer(text, np.uint8) == NEWLINE))
    return ends + (not text.endswith(b"\n") and len(text) > 0)


def pieces_of(block: Block) -> Iterator[Block]:
    """Halve a block of text until no piece has more than MOST_ROWS rows and MOST_TABS tabs, unless it is a single row.

    Parsing takes some 60 bytes for each line end and tab (or other delimiter): 16 MiB of nothing but these would take a
    gigabyte.
    """
    codes = np.frombuffer(block.rows, np.uint8)
    delimiter = ord(block.layout.delimiter or "\t")
    if num_rows(block) > MOST_ROWS or np.count_nonzero(codes == delimiter) > MOST_TABS:
        middle = len(block.rows) // 2
        cut = block.rows.rfind(b"\n", 0, middle) + 1 or block.rows.find(b"\n", middle) + 1
        if 0 < cut < len(block.rows):
            first = block._replace(rows=block.rows[:cut])
            yield from pieces_of(first)
            row = block.first_row + num_rows(first)
            yield from pieces_of(block._replace(first_row=row, rows=block.rows[cut:], has_header=False))
            return
    yield block

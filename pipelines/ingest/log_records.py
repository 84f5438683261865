"""Parse the rows of CSV and JSON Lines one by one, into batches for `click_rows.check_records`.

CSV is that of RFC 4180, with any delimiter: a field may be in double quotes, a quote in it is doubled, and a quoted
field may hold delimiters and line ends. A quote that is never closed would swallow the rest of the file; so a row that
has no end within the longest line is one bad line, and reading goes on with the next line. JSON Lines are UTF-8, one
object on each line.
"""

import csv
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipelines.ingest.click_rows import (
    BROKEN_QUOTES,
    COLUMNS,
    EMPTY_LINE,
    HEADER,
    KEPT,
    LARGEST_EXACT,
    MARK,
    MOST_LINE,
    NESTED,
    NOT_AN_OBJECT,
    NOT_UTF8,
    RECORDS,
    TOO_LONG,
    WRONG_NUMBER,
    kept_of_long,
)

MOST_RECORDS = 1 << 16  # in a batch
MOST_BYTES = 1 << 24  # of rows in a batch
PIECE = 1 << 20  # bytes whose lines are split at once: each line is an object of its own

csv.field_size_limit(MOST_LINE)  # the length of rows is limited here; Python's own limit is 128 KiB


class _Batch:
    """Collects rows until a batch is full."""

    def __init__(self, constants: Mapping[str, str]) -> None:
        self.constants = {name: value.encode() for name, value in constants.items()}
        self.rows: list[tuple[Any, ...]] = []
        self.bytes = 0

    def add(self, fields: Mapping[str, bytes], raw: bytes, row: int, reason: int) -> None:
        """Add a row; a field that it lacks has its constant value."""
        self.rows.append((*(fields.get(name, self.constants.get(name, b"")) for name in COLUMNS), raw, row, reason))
        self.bytes += len(raw) * 2

    def is_full(self) -> bool:
        """Return whether the rows are enough for a batch."""
        return len(self.rows) >= MOST_RECORDS or self.bytes >= MOST_BYTES

    def take(self) -> pa.RecordBatch:
        """Return the rows as a batch of RECORDS, and begin anew."""
        columns = zip(*self.rows, strict=True) if self.rows else ((),) * len(RECORDS)
        batch = pa.record_batch(
            [pa.array(column, field.type) for column, field in zip(columns, RECORDS, strict=True)], schema=RECORDS
        )
        self.rows, self.bytes = [], 0
        return batch


class _Lines:
    """The lines of a text as csv.reader takes them; those of a row that turns out bad can be given back.

    Attributes:
        number: the 1-based number of the next line.
        taken: the lines of the row that is being read.
        marks: bytes of byte-order marks before that row.
    """

    def __init__(self, blocks: Iterable[bytes], longest: int) -> None:
        self.blocks = (piece for block in blocks for piece in _pieces(block))
        self.longest = longest
        self.number = 1
        self.pending: deque[bytes] = deque()
        self.taken: list[bytes] = []
        self.size = self.marks = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self.taken and self.size > self.longest:
            raise StopIteration
        if not self.pending:
            self.pending.extend(_split(next(self.blocks)))
        line = self.pending.popleft()
        if not self.taken:
            whole, line = line, without_marks(line)
            self.marks = len(whole) - len(line)
        self.taken.append(line)
        self.size += len(line) + 1
        return line.decode("utf-8", "surrogateescape") + "\n"

    def next_row(self, lines: int) -> None:
        """Begin a new row after so many lines of this one; the others are read again."""
        self.pending.extendleft(reversed(self.taken[lines:]))
        self.number += lines
        self.taken, self.size, self.marks = [], 0, 0


def without_marks(line: bytes) -> bytes:
    """Return a line without the byte-order marks that it begins with."""
    while line.startswith(MARK):
        line = line.removeprefix(MARK)
    return line


def _pieces(block: bytes) -> Iterator[bytes]:
    """Cut whole lines into pieces of whole lines."""
    start = 0
    while start < len(block):
        end = block.find(b"\n", start + PIECE) + 1 or len(block)
        yield block[start:end]
        start = end


def _split(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def csv_rows(
    blocks: Iterable[bytes],
    columns: Sequence[str],
    constants: Mapping[str, str],
    delimiter: str,
    longest: int,
    has_header: bool,
) -> Iterator[tuple[int, bytes | pa.RecordBatch]]:
    """Parse the rows of a CSV text; blocks without a quote are returned as they are, as lines of fields.

    Args:
        blocks: whole lines, UTF-8; lines that are too long may be cut to ``longest`` + 2 bytes.
        columns: the names of a row's fields.
        constants: the values of those of COLUMNS that are no fields.
        delimiter: the character between fields.
        longest: bytes that a row may have.
        has_header: whether the first row holds names.

    Returns:
        (1-based number of the first line, lines or RECORDS); the first result holds the header.
    """
    lines = _Lines(blocks, longest)
    batch = _Batch(constants)
    places = [(columns.index(name), name) for name in COLUMNS if name in columns]
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    first = 1
    while True:
        if not lines.pending:
            block = next(lines.blocks, b"")
            if b'"' not in block:
                if batch.rows:
                    yield first, batch.take()
                if not block:
                    return
                yield lines.number, block
                lines.number += len(_split(block))
                continue
            lines.pending.extend(_split(block))
        if not batch.rows:
            first = lines.number
        fields: Sequence[str] | None
        number = 1
        if b'"' not in lines.pending[0]:
            fields = next(lines).removesuffix("\n").removesuffix("\r").split(delimiter)
        else:
            try:
                fields = next(reader)
                number = len(lines.taken)
            except csv.Error:
                fields = None
                reader = csv.reader(lines, delimiter=delimiter, strict=True)
        raw = b"\n".join(lines.taken[:number]).removesuffix(b"\r")
        found: dict[str, bytes] = {}
        if len(raw) + lines.marks > longest:
            reason, raw = TOO_LONG, raw[: kept_of_long(longest)]
        elif has_header and lines.number == 1:
            reason = HEADER
        elif fields is None:
            reason = BROKEN_QUOTES
        elif not raw:
            reason = EMPTY_LINE
        elif len(fields) != len(columns):
            reason = WRONG_NUMBER
        else:
            reason = KEPT
            found = {name: fields[place].encode("utf-8", "surrogateescape") for place, name in places}
        batch.add(found, raw, lines.number, reason)
        lines.next_row(number)
        if batch.is_full():
            yield first, batch.take()


def json_rows(
    block: bytes, first_row: int, names: Mapping[str, str], constants: Mapping[str, str], longest: int
) -> Iterator[pa.RecordBatch]:
    """Parse whole lines of JSON; return batches of RECORDS.

    Args:
        block: whole lines; lines that are too long may be cut to ``longest`` + 2 bytes.
        first_row: the 1-based number of the first line.
        names: the keys of the fields, by COLUMNS.
        constants: the values of the others of COLUMNS.
        longest: bytes that a line may have.
    """
    batch = _Batch(constants)
    lines = (line for piece in _pieces(block) for line in _split(piece))
    for row, line in enumerate(lines, start=first_row):
        raw = line.removesuffix(b"\r")
        is_long, raw = len(raw) > longest, without_marks(raw)
        if is_long:
            batch.add({}, raw[: kept_of_long(longest)], row, TOO_LONG)
        else:
            reason, fields = _json_fields(raw, names)
            batch.add(fields, raw, row, reason)
        if batch.is_full():
            yield batch.take()
    if batch.rows:
        yield batch.take()


def _json_fields(line: bytes, names: Mapping[str, str]) -> tuple[int, dict[str, bytes]]:
    """Return a line's reason or KEPT, and its fields; a field that is missing or null is empty."""
    if not line:
        return EMPTY_LINE, {}
    try:
        content = json.loads(line.decode())
    except UnicodeDecodeError:
        return NOT_UTF8, {}
    except (ValueError, RecursionError):
        return NOT_AN_OBJECT, {}
    if not isinstance(content, dict):
        return NOT_AN_OBJECT, {}
    values = {name: content.get(key) for name, key in names.items()}
    if any(isinstance(value, (bool, list, dict)) for value in values.values()):
        return NESTED, {}
    try:
        return KEPT, {name: _text_of(value).encode() for name, value in values.items()}
    except UnicodeEncodeError:  # half of a pair of surrogates
        return NOT_UTF8, {}


def _text_of(value: str | float | None) -> str:
    """Return a text, a number with whole numbers written as integers, or an empty text for None."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT:
        return str(int(value))
    return "" if value is None else str(value)

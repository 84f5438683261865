"""Check the rows of a click log, column by column: is a row a click, and if not, why not.

A row is an image id, a query and a number of clicks. It is kept if none of these reasons applies; otherwise it is
quarantined with the first reason that applies:

- ``line too long``: it has more bytes than the longest line allowed; only its beginning is read and quarantined;
- ``header row``: the first row of a file, if it holds the names of the fields;
- ``empty line``: the line is empty;
- ``not UTF-8``, or another encoding that the log was said to have: some byte sequence in it is not text;
- ``NUL byte``: a text row has one, as binary data and damaged files have;
- ``broken quotes``: a quote of a CSV row is not closed, or followed by something other than a delimiter;
- ``not a JSON object``, ``nested value``: a row of JSON Lines is no object, or a field is no text or number;
- ``wrong number of fields``: a text row has too few or too many tabs (a tab within a query is one too many);
- ``empty image id``, ``empty query``: nothing, or white space only;
- ``clicks not an integer``: other than ASCII digits with an optional minus sign; ``3.0`` is 3;
- ``clicks below 1``: no clicks, or a negative number;
- ``clicks above 10^12``: no real log has as many, and sums of such counts would overflow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from base.schemas import CLICKS, QUARANTINE
from pipelines.ingest.image_ids import composed_ids

MOST_CLICKS = 10**12
LARGEST_EXACT = 2**53  # up to this number a float64 stands for one integer only
LONGEST_LINE = 1 << 20  # bytes; the default of --longest-line
MOST_LINE = 1 << 30  # bytes; the largest --longest-line: a block of lines has less than 2 GiB
BEGINNING = 1 << 10  # bytes of a line that is too long that the quarantine keeps

REASONS = (
    "",
    "empty line",
    "line too long",
    "not UTF-8",
    "wrong number of fields",
    "empty image id",
    "empty query",
    "clicks not an integer",
    "clicks below 1",
    "clicks above 10^12",
    "header row",
    "NUL byte",
    "broken quotes",
    "not a JSON object",
    "nested value",
)
(
    KEPT,
    EMPTY_LINE,
    TOO_LONG,
    NOT_UTF8,
    WRONG_NUMBER,
    EMPTY_IMAGE_ID,
    EMPTY_QUERY,
    NOT_AN_INTEGER,
    TOO_SMALL,
    TOO_LARGE,
    HEADER,
    NUL,
    BROKEN_QUOTES,
    NOT_AN_OBJECT,
    NESTED,
) = range(len(REASONS))

NEWLINE, TAB, CARRIAGE_RETURN = b"\n\t\r"

MARK = b"\xef\xbb\xbf"  # UTF-8's byte-order mark

COLUMNS = ("image_id", "query", "clicks")  # the default order of a log's fields

# Rows of CSV and JSON Lines: the bytes of their fields and of the whole row, their number, and a reason or KEPT.
RECORDS = pa.schema([*((name, pa.binary()) for name in (*COLUMNS, "raw")), ("row", pa.int64()), ("reason", pa.int64())])


@dataclass(frozen=True)
class CheckedRows:
    """The checked rows of one file, or of a part of it.

    Attributes:
        clicks: the kept rows, in order, image ids in NFC; schemas.CLICKS.
        quarantine: the other rows, equal ones as one record, by row; schemas.QUARANTINE.
    """

    clicks: pa.RecordBatch
    quarantine: pa.RecordBatch

    def counts(self) -> dict[str, int]:
        """Return the number of kept rows, and of quarantined rows by reason, under their names in summaries."""
        counts = {"rows kept": self.clicks.num_rows}
        reasons, rows = (self.quarantine.column(name).to_pylist() for name in ("reason", "rows"))
        for reason, number in zip(reasons, rows, strict=True):
            name = f"quarantined: {reason}"
            counts[name] = counts.get(name, 0) + number
        return counts


def check_lines(
    block: bytes,
    file: str,
    first_row: int,
    columns: Sequence[str] = COLUMNS,
    longest: int = LONGEST_LINE,
    *,
    delimiter: int = TAB,
    constants: Mapping[str, str] | None = None,
    encoding: str = "utf-8",
    has_header: bool = False,
) -> CheckedRows:
    r"""Check whole lines whose fields are separated by one character; a line ends with ``\n`` or ``\r\n``.

    Nothing is done line by line: delimiters and line ends are found in the whole block, and each column is gathered
    from their positions. A byte-order mark at the beginning of a line is no part of it: where files were joined, one
    stands in the middle.

    Args:
        block: whole lines, less than 2 GiB; the last line may lack its end.
        file: the log's name, for the quarantine.
        first_row: the 1-based number of the block's first line in the file.
        columns: the names of a line's fields: each of COLUMNS at most once, other names for fields to ignore.
        longest: bytes that a line may have without its end. A longer line may have been cut to ``longest`` + 2 bytes.
        delimiter: the code of the character between fields.
        constants: the values of those of COLUMNS that are no fields.
        encoding: in which the file is written, for the reason of rows that are not.
        has_header: whether the first line holds names.
    """
    if block and not block.endswith(b"\n"):
        block += b"\n"
    codes = np.frombuffer(block, np.uint8)
    marks = np.flatnonzero((codes == delimiter) | (codes == NEWLINE))
    is_line_end = codes[marks] == NEWLINE
    line_ends, between = marks[is_line_end], marks[~is_line_end]
    starts = np.r_[0, line_ends[:-1] + 1] if len(line_ends) else line_ends
    ends = line_ends - ((line_ends > starts) & (codes[line_ends - 1] == CARRIAGE_RETURN))
    is_long = ends - starts > longest
    if (codes[starts] == MARK[0]).any():
        starts = behind_marks(codes, starts, ends)

    num_between = np.diff(np.flatnonzero(np.r_[True, is_line_end])) - 1
    reasons = np.where(num_between == len(columns) - 1, KEPT, WRONG_NUMBER)
    if b"\0" in block:
        reasons[np.searchsorted(line_ends, np.flatnonzero(codes == 0))] = NUL
    reasons[starts == ends] = EMPTY_LINE
    if not is_utf8(block):
        lines = gather(block, starts, ends)
        reasons[[not is_utf8(line) for line in lines.to_pylist()]] = NOT_UTF8
    reasons[is_long] = TOO_LONG
    if has_header:
        reasons[:1][reasons[:1] != TOO_LONG] = HEADER

    rows = np.flatnonzero(reasons == KEPT)
    between = between[np.repeat(reasons == KEPT, num_between)].reshape(-1, len(columns) - 1).T
    field_starts, field_ends = [starts[rows], *(between + 1)], [*between, ends[rows]]

    def field(name: str) -> pa.Array:
        if name not in columns:
            return pa.repeat((constants or {})[name], len(rows))
        index = list(columns).index(name)
        return gather(block, field_starts[index], field_ends[index]).view(pa.string())

    image_ids, queries, texts = map(field, COLUMNS)
    reasons[rows], clicks = check_fields(image_ids, queries, texts)

    kept = pa.array(reasons[rows] == KEPT)
    bad = np.flatnonzero(reasons != KEPT)
    shown = np.where(is_long, np.minimum(ends, starts + kept_of_long(longest)), ends)
    return CheckedRows(
        clicks=pa.record_batch([composed_ids(image_ids), queries, clicks], schema=CLICKS).filter(kept),
        quarantine=quarantine(file, first_row + bad, reasons[bad], gather(block, starts[bad], shown[bad]), encoding),
    )


def behind_marks(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the beginnings of lines, behind the byte-order marks that some begin with.

    Shape:
        codes: bytes of a block; starts, ends, result: integers (n,)
    """
    starts = starts.copy()
    rows = np.arange(len(starts))
    while len(rows):
        rows = rows[ends[rows] - starts[rows] >= len(MARK)]
        rows = rows[np.logical_and.reduce([codes[starts[rows] + n] == byte for n, byte in enumerate(MARK)])]
        starts[rows] += len(MARK)
    return starts


def check_records(records: pa.RecordBatch, file: str, encoding: str = "utf-8") -> CheckedRows:
    """Check rows that were parsed one by one, as those of CSV and JSON Lines.

    Args:
        records: RECORDS; bytes that are not UTF-8 are allowed.
        file: the log's name, for the quarantine.
        encoding: in which the file is written, for the reason of rows that are not.
    """
    reasons = records.column("reason").to_numpy().copy()
    fields = [records.column(name) for name in COLUMNS]
    is_open = np.isin(reasons, (KEPT, WRONG_NUMBER, BROKEN_QUOTES))  # as in check_lines, these reasons come last
    with_nul = [pc.match_substring(column, "\0") for column in (*fields, records.column("raw"))]
    reasons[is_open & np.logical_or.reduce([np.asarray(column) for column in with_nul])] = NUL
    reasons[is_open & ~valid_rows(records.column("raw"))] = NOT_UTF8
    rows = np.flatnonzero(reasons == KEPT)
    checked = [column.take(pa.array(rows)).cast(pa.string()) for column in fields]
    reasons[rows], clicks = check_fields(*checked)
    kept = pa.array(reasons[rows] == KEPT)
    bad = np.flatnonzero(reasons != KEPT)
    numbers = records.column("row").to_numpy()[bad]
    return CheckedRows(
        clicks=pa.record_batch([composed_ids(checked[0]), checked[1], clicks], schema=CLICKS).filter(kept),
        quarantine=quarantine(file, numbers, reasons[bad], records.column("raw").take(pa.array(bad)), encoding),
    )


def check_columns(batch: pa.RecordBatch, file: str, first_row: int, longest: int = LONGEST_LINE) -> CheckedRows:
    """Check rows that come as columns, as from a Parquet log.

    Args:
        batch: columns image_id, query (strings or bytes) and clicks (integers, floats or strings).
        file: the log's name, for the quarantine.
        first_row: the 1-based number of the batch's first row in the file.
        longest: bytes that a row may have as a line of text; see :func:`row_bytes`.
    """
    reasons = np.where(row_bytes(batch) > longest, TOO_LONG, KEPT)
    fields = [as_bytes(column) for column in shortened(batch, reasons == TOO_LONG, kept_of_long(longest))]
    valid = np.logical_and.reduce([valid_rows(column) for column in fields])
    reasons[(reasons == KEPT) & ~valid] = NOT_UTF8
    rows = np.flatnonzero(reasons == KEPT)
    checked = [column.take(pa.array(rows)).view(pa.string()) for column in fields]
    reasons[rows], clicks = check_fields(*checked)

    kept = pa.array(reasons[rows] == KEPT)
    bad = np.flatnonzero(reasons != KEPT)
    lines = pc.binary_join_element_wise(*(column.take(pa.array(bad)) for column in fields), b"\t")
    if TOO_LONG in reasons:
        is_long = pa.array(reasons[bad] == TOO_LONG)
        lines = pc.if_else(is_long, pc.binary_slice(lines, 0, kept_of_long(longest)), lines)
    return CheckedRows(
        clicks=pa.record_batch([composed_ids(checked[0]), checked[1], clicks], schema=CLICKS).filter(kept),
        quarantine=quarantine(file, first_row + bad, reasons[bad], lines),
    )


def kept_of_long(longest: int) -> int:
    """Return how many bytes the quarantine keeps of a line of more than ``longest`` bytes."""
    return min(longest, BEGINNING)


def row_bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Return how many bytes each row of a Parquet log would have as a line of text, without its end.

    Nothing is unpacked for this: only the lengths of a dictionary's values are computed and looked up.

    Shape:
        batch: (n,), columns COLUMNS; result: int64 (n,)
    """
    lengths = np.stack([cell_bytes(batch.column(name)) for name in COLUMNS])
    return lengths.sum(axis=0, dtype=np.int64) + len(COLUMNS) - 1  # plus the tabs between the fields


def cell_bytes(column: pa.Array) -> np.ndarray:
    """Return how many bytes each cell of a column has as text; 0 for a null.

    Shape:
        column: (n,); result: integers (n,)
    """
    if pa.types.is_dictionary(column.type):
        lengths = np.append(cell_bytes(column.dictionary), 0)
        return lengths[pc.fill_null(column.indices, len(column.dictionary)).to_numpy()]
    return pc.binary_length(as_bytes(column)).to_numpy()


def shortened(batch: pa.RecordBatch, is_long: np.ndarray, length: int) -> list[pa.Array]:
    """Return the columns of a Parquet log, with the cells of some rows cut to their beginnings.

    Args:
        batch: columns COLUMNS.
        is_long: which rows to cut.
        length: bytes.

    Shape:
        batch, is_long: (n,); results: (n,)
    """
    columns = [batch.column(name) for name in COLUMNS]
    if not is_long.any():
        return columns
    others, long = pa.array(np.flatnonzero(~is_long)), pa.array(np.flatnonzero(is_long))
    back = pa.array(np.argsort(np.r_[others, long]))
    return [
        pa.concat_arrays([as_bytes(column.take(others)), beginnings(column.take(long), length)]).take(back)
        for column in columns
    ]


def beginnings(column: pa.Array, length: int) -> pa.Array:
    """Return the first bytes of each cell of a column; a dictionary's values are cut before they are looked up."""
    if pa.types.is_dictionary(column.type):
        values = beginnings(column.dictionary, length)
        return as_bytes(pa.DictionaryArray.from_arrays(column.indices, values))
    return pc.binary_slice(as_bytes(column), 0, length)


def check_fields(image_ids: pa.Array, queries: pa.Array, texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return each row's reason code (KEPT for a good row) and its clicks (0 if the text is not a number in range).

    Shape:
        image_ids, queries, texts: strings (n,); results: integers (n,), int64 (n,)
    """
    texts, is_decimal = without_zeros(texts)
    digits = pc.ascii_ltrim(texts, "0")
    is_small = pc.less(pc.binary_length(digits), len(str(MOST_CLICKS)) + 1)
    has_digits = pc.greater(pc.binary_length(digits), 0)
    usable = pc.and_(is_decimal, pc.and_(is_small, has_digits))
    clicks = pc.if_else(usable, digits, "0").cast(pa.int64())

    numbers = clicks.to_numpy()
    decimal, small = np.asarray(is_decimal), np.asarray(is_small)
    reasons = np.full(len(numbers), KEPT)
    reasons[decimal & (~small | (numbers > MOST_CLICKS))] = TOO_LARGE
    reasons[decimal & small & (numbers < 1)] = TOO_SMALL
    odd = np.flatnonzero(~decimal)
    if len(odd):
        is_negative = pc.match_substring_regex(texts.take(pa.array(odd)), r"\A-[0-9]+\z")
        reasons[odd] = np.where(np.asarray(is_negative), TOO_SMALL, NOT_AN_INTEGER)
    reasons[is_blank(queries)] = EMPTY_QUERY
    reasons[is_blank(image_ids)] = EMPTY_IMAGE_ID
    return reasons, clicks


def without_zeros(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return texts with whole decimals as integers (``3.0`` as 3), and which of them consist of ASCII digits.

    Shape:
        texts: strings (n,); results: strings (n,), booleans (n,)
    """
    is_decimal = pc.ascii_is_decimal(texts)
    odd = np.flatnonzero(~np.asarray(is_decimal))
    whole = (
        odd[np.asarray(pc.match_substring_regex(texts.take(pa.array(odd)), r"\A-?[0-9]+\.0+\z"))] if len(odd) else odd
    )
    if not len(whole):
        return texts, is_decimal
    mask = np.zeros(len(texts), bool)
    mask[whole] = True
    integers = pc.replace_substring_regex(texts.take(pa.array(whole)), r"\.0+\z", "")
    texts = pc.replace_with_mask(texts, pa.array(mask), integers)
    return texts, pc.ascii_is_decimal(texts)


def is_blank(texts: pa.Array) -> np.ndarray:
    """Return which texts are empty or only white space."""
    return np.asarray(pc.or_(pc.equal(pc.binary_length(texts), 0), pc.utf8_is_space(texts)))


def gather(block: bytes, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """Return the pieces of a block as an Arrow array of bytes.

    The pieces *and* the gaps between them form an Arrow array that needs only offsets; every second value is a piece.

    Shape:
        starts, ends: integers (n,), ascending, starts[i] <= ends[i] <= starts[i + 1]; result: binary (n,)
    """
    if not len(starts):
        return pa.array([], pa.binary())
    offsets = np.stack([starts, ends], axis=1).astype(np.int32).ravel()
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    pieces_and_gaps = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
    return pieces_and_gaps.take(pa.array(np.arange(0, len(offsets), 2)))


def is_utf8(text: bytes) -> bool:
    """Return True if the bytes are UTF-8."""
    offsets = pa.py_buffer(np.array([0, len(text)], np.int32))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(text)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def valid_rows(column: pa.Array) -> np.ndarray:
    """Return which values of a column of bytes are UTF-8; a clean column is checked as a whole."""
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([is_utf8(value) for value in column.to_pylist()], bool)
    return np.ones(len(column), bool)


def as_bytes(column: pa.Array) -> pa.Array:
    """Return a column of strings or bytes, however encoded, as bytes; a null becomes an empty value."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary_view(column.type):
        column = column.cast(pa.binary())
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        column = integers_as_text(column).cast(pa.string())  # ids may be numbers
    return pc.fill_null(column.cast(pa.binary()), b"")


def integers_as_text(column: pa.Array) -> pa.Array:
    """Return a column of floats as text, with whole numbers written as integers; return other columns unchanged."""
    if pa.types.is_float16(column.type):  # Arrow rounds only wider floats
        column = column.cast(pa.float32())
    if not pa.types.is_floating(column.type):
        return column
    whole = pc.and_(pc.is_finite(column), pc.equal(pc.trunc(column), column))
    within = pc.and_(whole, pc.less_equal(pc.abs(column), float(LARGEST_EXACT)))
    integers = pc.if_else(within, column, None).cast(pa.int64())
    return pc.coalesce(integers.cast(pa.string()), column.cast(pa.string()))


def quarantine(
    file: str,
    rows: np.ndarray,
    reasons: np.ndarray,
    lines: pa.Array,
    encoding: str = "utf-8",
    names: Sequence[str] = (),
) -> pa.RecordBatch:
    """Return a quarantine batch of a file's rows; equal rows are one record, and records are in row order.

    Args:
        file: the log's name.
        rows: row numbers, ascending.
        reasons: reason codes.
        lines: the text of the rows.
        encoding: of the file.
        names: the reasons by their codes, for another log than a click log.

    Shape:
        rows, reasons: integers (n,); lines: bytes (n,)
    """
    if not len(rows):
        return pa.record_batch([pa.array([], field.type) for field in QUARANTINE], schema=QUARANTINE)
    frame = pl.DataFrame({"row": rows, "reason": reasons, "raw": pl.Series(lines, dtype=pl.Binary)})
    records = frame.group_by("reason", "raw").agg(pl.col("row").min(), pl.len().alias("rows")).sort("row")
    return pa.record_batch(
        [
            pa.repeat(file, len(records)),
            records["row"].to_arrow(),
            pa.array(names or reasons_in(encoding)).take(records["reason"].to_arrow()),
            pa.array([as_text(raw) for raw in records["raw"]], pa.string()),
            records["rows"].to_arrow().cast(pa.int64()),
        ],
        schema=QUARANTINE,
    )


def reasons_in(encoding: str) -> list[str]:
    """Return the reasons for the rows of a file in some encoding, by their codes."""
    name = REASONS[NOT_UTF8] if encoding == "utf-8" else f"not {encoding.upper()}"
    return [name if code == NOT_UTF8 else reason for code, reason in enumerate(REASONS)]


def as_text(raw: bytes) -> str:
    r"""Return bytes as text; bytes that are not UTF-8 become ``\xNN``."""
    return raw.decode("utf-8", "backslashreplace")

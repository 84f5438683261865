"""Look at the first rows of a log's text: is it text, has it a header, where are its fields, how might it be meant.

:func:`look_at` decides what can be decided before any row is read, and refuses what is no log. :func:`advice` is asked
only once most rows were bad.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np

from base.console import UserError
from pipelines.ingest.click_rows import COLUMNS, MARK, as_text, is_utf8
from pipelines.ingest.containers import refused_kind
from pipelines.ingest.encodings import MARKS, as_utf8, guessed_encoding
from pipelines.ingest.log_format import PLAIN, LogFormat

HEAD = 1 << 16  # bytes that are looked at
MOST_UNDECODABLE = 0.5  # share of the first lines
SHOWN = 120  # characters of an example
MOST_CONTROLS = 0.01  # share of bytes; text in any encoding has next to none, packed data has a tenth
CONTROLS = bytes(code for code in range(32) if code not in b"\x01\t\n\v\f\r\x1b")  # without the delimiter of Hive
NAME_LIKE = re.compile(r"[^\W\d][\w .:/()#-]*")
NUMBER_LIKE = re.compile(r"[+-]?\d[\d.,:/+ TZ-]*")
NULLS = {"na", "nan", "null", "none", "unknown"}
HIVE = re.compile(r"(\w+)=(.*)")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
# Names under which logs have the three fields, in lower case and without what stands between words.
KNOWN = {
    "image_id": "imageid image img imgid imageurl imagekey imagehash photo photoid photourl picture pictureid pic "
    "picid itemid item docid doc documentid url productid asin assetid mediaid fileid filename file",
    "query": "query q queries querytext keyword keywords search searchterm searchterms searchquery searchtext term "
    "text words phrase userquery rawquery",
    "clicks": "clicks click count counts clickcount clickcounts numclicks nclicks n frequency freq num number total "
    "hits",
}
ROLE_OF = {name: role for role, names in KNOWN.items() for name in names.split()}
DELIMITERS = "\t,;|\x01"


class Layout(NamedTuple):
    """Where the fields of a text's rows are.

    Attributes:
        format: tsv, csv or jsonl.
        delimiter: the character between fields.
        columns: the fields' names by position; () for JSON Lines.
        names: for JSON Lines: the keys of image_id, query and clicks.
        constants: the values of those of COLUMNS that are no fields.
        encoding: of the file, for reasons: the text itself is UTF-8 by now.
    """

    format: str = "tsv"
    delimiter: str = "\t"
    columns: tuple[str, ...] = COLUMNS
    names: Mapping[str, str] = PLAIN.names
    constants: Mapping[str, str] | None = None
    encoding: str = "utf-8"


class Look(NamedTuple):
    """What the first rows of a text show.

    Attributes:
        layout: where the fields are.
        has_header: whether the first row holds names.
        has_cr_ends: whether lines end with a carriage return alone.
    """

    layout: Layout
    has_header: bool
    has_cr_ends: bool


def look_at(raw: bytes, path: str, form: LogFormat) -> Look:
    """Return what the first bytes of a text show.

    Args:
        raw: the first HEAD bytes, as in the file.
        path: the file; its folders may have values of columns, as in ``query=dog/``.
        form: how the log is written, as the user says.

    Raises:
        UserError: this is no text of that encoding, the header contradicts the columns, or a column is missing.
    """
    _check_text(raw, path, form)
    head = _decoded(raw, form)
    has_cr_ends = b"\n" not in head and b"\r" in head
    _check_encoding(raw, head, path, form)
    lines = _lines(head, has_cr_ends, is_whole=len(raw) < HEAD)
    if form.format == "jsonl":
        names = form.columns.names
        constants = constants_of(path, form, names)
        return Look(Layout("jsonl", "", (), names, constants, form.encoding), False, has_cr_ends)
    rows = [_fields(line, form) for line in lines]
    has_header = bool(rows) and (form.header == "yes" or (form.header == "auto" and _is_header(rows, path, form)))
    is_named = has_header or not form.columns.order
    columns = _columns(rows[0] if rows and is_named else [], path, form)
    has_cr_ends = has_cr_ends and bool(rows) and len(rows[0]) == len(columns)  # else it is one long line
    _check_quotes(rows, columns, path, form)
    layout = Layout(form.format, form.delimiter, columns, {}, constants_of(path, form, columns), form.encoding)
    return Look(layout, has_header, has_cr_ends)


def _check_text(raw: bytes, path: str, form: LogFormat) -> None:
    """Raise an error if the bytes are no text, or that of another encoding that is known by its mark."""
    wide = form.encoding.startswith(("utf-16", "utf-32"))
    guess = "" if wide else next((name for mark, name in MARKS.items() if raw.startswith(mark)), "")
    controls = np.isin(np.frombuffer(raw, np.uint8), np.frombuffer(CONTROLS, np.uint8)).sum()
    is_binary = not wide and controls >= max(1, MOST_CONTROLS * len(raw))
    if kind := ("" if wide else refused_kind(raw)):
        raise UserError(f"{path}: is {kind}, which is not read; unpack it or write it as text, and name that file")
    if is_binary and not guess:
        guess = guessed_encoding(raw)
        guess = guess if guess.startswith("utf-16") else ""
    if guess:
        raise UserError(f"{path}: is not UTF-8 but {guess.upper()}; give {form.spelled(encoding=guess)}")
    if is_binary:
        raise UserError(
            f"{path}: is not text: {controls:,} of its first {len(raw):,} bytes are NULs or other control characters; "
            "name the log's text files, or packed ones (gzip, bzip2, xz, zstd, lz4, zip, tar)"
        )


def _check_encoding(raw: bytes, head: bytes, path: str, form: LogFormat) -> None:
    """Raise an error if most lines are not text of the log's encoding: those that are would be so by chance."""
    lines = head.split(b"\n")
    if len(raw) == HEAD:
        lines.pop()  # it may be cut within a character
    lines = [line for line in lines if line]
    bad = [line for line in lines if not is_utf8(line)]
    if len(bad) > MOST_UNDECODABLE * len(lines):
        guess = guessed_encoding(raw)
        advised = f"; try {form.spelled(encoding=guess)}" if guess and guess != form.encoding else ""
        raise UserError(
            f"{path}: {len(bad):,} of its first {len(lines):,} rows are not {form.encoding.upper()}, as "
            f"{as_text(bad[0])[:SHOWN]!r}{advised}"
        )


def _decoded(raw: bytes, form: LogFormat) -> bytes:
    return b"".join(as_utf8([raw], form.encoding))


def _lines(head: bytes, has_cr_ends: bool, is_whole: bool) -> list[str]:
    """Return the whole lines of a text's beginning, without empty ones and byte-order marks."""
    lines = head.removeprefix(MARK).split(b"\r" if has_cr_ends else b"\n")
    if not is_whole and len(lines) > 1:
        lines.pop()
    return [text for line in lines if (text := line.decode("utf-8", "replace").removesuffix("\r"))]


def _fields(line: str, form: LogFormat) -> list[str]:
    if form.format == "tsv":
        return line.split(form.delimiter)
    return _split(line, form.delimiter)


def _split(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line, which may be quoted; of one that a quote leaves open, what is there."""
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return line.split(delimiter)


def _plain(name: str) -> str:
    """Return a column's name for comparisons: ``Image-ID`` is ``imageid``."""
    return "".join(letter for letter in name.strip().strip('"').casefold() if letter.isalnum())


def _is_header(rows: Sequence[Sequence[str]], path: str, form: LogFormat) -> bool:
    """Return whether a log's first row looks like the names of its fields.

    All fields must look like different names. Then either those of image_id and query are well known, or a column that
    is neither has numbers or times in nearly all other rows. If the user gives names, they must be there.
    """
    first, others = (
        [field.strip().strip('"') for field in rows[0]],
        [row for row in rows[1:] if len(row) == len(rows[0])],
    )
    names = first[first[0] == "" :]  # R and pandas leave the column of row numbers without a name
    if len(names) < 2 or not all(NAME_LIKE.fullmatch(name) for name in names):
        return False
    if len(set(first)) < len(first) or any(name.casefold() in NULLS for name in first):
        return False
    if not form.columns.order:
        return {*form.columns.names.values()} <= {*first, *partitions_of(path)}
    roles = [ROLE_OF.get(_plain(name)) for name in first]
    if {"image_id", "query"} <= set(roles):
        return True
    ignored = [n for n, name in enumerate(form.columns.order[: len(first)]) if name not in ("image_id", "query")]
    return any(
        sum(bool(NUMBER_LIKE.fullmatch(row[n].strip('" '))) for row in others) > len(others) * 0.9 for n in ignored
    ) and bool(others)


def _columns(header: Sequence[str], path: str, form: LogFormat) -> tuple[str, ...]:
    """Return the names of a text's fields: as the user names them, or as the header does.

    Raises:
        UserError: the header lacks the names that the user gives, or has them in another order.
    """
    names = [name.strip() for name in header]
    if not form.columns.order:
        if not header:
            return COLUMNS  # of no row
        role_of = {field: role for role, field in form.columns.names.items()}
        found = tuple(role_of.get(name, "") for name in names)
        folders = partitions_of(path)
        missing = [field for role, field in form.columns.names.items() if role not in found and field not in folders]
        if missing:
            raise UserError(
                f"{path}: its first row has no field {', '.join(missing)}; it has {', '.join(names)}; if it is no "
                f"header, name the fields in their order, as in {form.spelled(columns='query,image_id,clicks')}"
            )
        return found
    roles = [ROLE_OF.get(_plain(name), _plain(name)) for name in names]
    if not form.are_columns_given and sorted(role for role in roles if role in COLUMNS) == sorted(COLUMNS):
        return tuple(role if role in COLUMNS else "" for role in roles)
    for role, given in zip(roles, form.columns.order, strict=False):
        if role != given and role in COLUMNS and given in COLUMNS:
            meant = ",".join(role if role in COLUMNS else "_" for role in roles)
            raise UserError(
                f"{path}: its header ({', '.join(names)}) has the fields in another order than "
                f"{','.join(form.columns.order)}; give {form.spelled(columns=meant)}, or {form.spelled(header='no')}"
            )
    return form.columns.order


def _check_quotes(rows: Sequence[Sequence[str]], columns: Sequence[str], path: str, form: LogFormat) -> None:
    """Raise an error if all ids are in quotes and the user didn't say that they belong to them."""
    if form.format != "tsv" or form.is_format_given or "image_id" not in columns:
        return
    place = columns.index("image_id")
    ids = [row[place] for row in rows if len(row) == len(columns)]
    if len(ids) > 1 and all(len(name) > 1 and name[0] == name[-1] == '"' for name in ids):
        raise UserError(
            f"{path}: every image id is in double quotes, as {ids[0]}; give "
            f"{form.spelled(format='csv', delimiter=form.delimiter)} to read the fields without them, or "
            f"{form.spelled(format='tsv')} to keep them"
        )


def constants_of(path: str, form: LogFormat, present: Collection[str]) -> Mapping[str, str]:
    """Return the values of those of COLUMNS that are no fields of a file.

    The values are those of the folders above the file, named as in Hive's partitions (``query=red%20cat/``). A row
    without a number of clicks is one click, if the user left clicks out of the columns.

    Args:
        path: the file.
        form: how the log is written.
        present: those of COLUMNS that are fields.

    Raises:
        UserError: the file has no image ids, no queries, or no clicks though the columns have them.
    """
    values = partitions_of(path)
    constants = {}
    for role in COLUMNS:
        name = form.columns.names.get(role, role)
        if role in present:
            continue
        if name in values:
            constants[role] = values[name]
        elif role == "clicks" and role not in form.columns.names:
            constants[role] = "1"
        else:
            raise UserError(
                f"{path}: has no field {name} and lies in no folder {name}=…/; name the fields, as in "
                f"{form.spelled(columns='day,image_id,query')} (without clicks each row is one click)"
            )
    return constants


def partitions_of(path: str) -> dict[str, str]:
    """Return the values of the folders above a file that are named as Hive names them, by their names."""
    found = [match.groups() for part in Path(path).parts[:-1] if (match := HIVE.fullmatch(part))]
    return {name: "" if value == HIVE_NULL else unquote(value) for name, value in found}


def advice(raw: bytes, form: LogFormat, reasons: Mapping[str, int]) -> str:
    """Return what is odd about a log most of whose rows are bad, and which parameter to try; may be an empty text.

    Args:
        raw: the first HEAD bytes of a file with bad rows.
        form: how the log was read.
        reasons: the number of bad rows by reason.
    """
    worst = max(reasons, key=lambda reason: reasons[reason], default="")
    if worst.startswith("not ") and worst.casefold() == f"not {form.encoding}":
        guess = guessed_encoding(raw)
        return f"the text is not {form.encoding.upper()}" + (f"; try {form.spelled(encoding=guess)}" if guess else "")
    head = _decoded(raw, form)
    lines = _lines(head, False, is_whole=len(raw) < HEAD)[:1000]
    if not lines:
        return ""
    if lines[0].lstrip().startswith("{") and form.format != "jsonl":
        return f"its first row looks like JSON; try {form.spelled(format='jsonl')}"
    if lines[0].lstrip().startswith("[") and "{" in head.decode("utf-8", "replace"):
        return "it looks like a JSON array; write one object on each line"
    return _advice_on_fields(lines, form)


def _advice_on_fields(lines: Sequence[str], form: LogFormat) -> str:
    """Return the number of fields and the delimiter that lines seem to have, if they were read with others."""
    order = form.columns.order or tuple(form.columns.names)
    best = max(DELIMITERS, key=lambda delimiter: _evenness(lines, delimiter, len(order)))
    _, share, number = _evenness(lines, best, len(order))
    if not share:
        has_any = any(delimiter in line for line in lines for delimiter in DELIMITERS)
        return "" if has_any else f"its first rows have none of the usual delimiters: {lines[0][:SHOWN]!r}"
    is_quoted = any(f'{best}"' in f"{best}{line}" for line in lines)
    are_quotes_read = form.format == "csv" or not is_quoted
    if best != form.delimiter or not are_quotes_read:
        is_csv = is_quoted or best == "," or form.format == "csv"
        values = {"format": "csv"} if is_csv and form.format != "csv" else {}
        if best != ("," if is_csv else "\t"):
            values["delimiter"] = best
        seen = "no tabs and are" if best != "\t" and form.delimiter == "\t" else "fields that are"
        quoted = " and in double quotes" if is_quoted else ""
        return f"its first rows have {seen} separated by {best!r}{quoted}; try {form.spelled(**values)}"
    if number == len(order):
        return ""
    return (
        f"its first rows have {number} fields, as {lines[0][:SHOWN]!r}, where {len(order)} are expected; name all of "
        f"them in order, as in {form.spelled(columns='day,image_id,query')} (without clicks each row is one click)"
    )


def _evenness(lines: Sequence[str], delimiter: str, expected: int) -> tuple[bool, float, int]:
    """Return whether the commonest number of fields is the expected one, the share of lines with it, and the number."""
    numbers = Counter(len(_split(line, delimiter)) for line in lines)
    number, times = numbers.most_common(1)[0]
    share = times / len(lines)
    return (number == expected, share, number) if number > 1 and share >= 0.6 else (False, 0.0, number)

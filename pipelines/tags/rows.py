"""Check the rows of a tag log: is a row somebody's tag of an image, and if not, why not.

A row is kept if none of these reasons applies; otherwise the first that applies counts:

- ``line too long``, ``not UTF-8``, ``NUL byte``, ``header row``, ``empty line``, ``broken quotes``: as in a click log;
- ``wrong number of fields``;
- ``empty user id``, ``empty image id``, ``empty tag``: nothing, or white space only;
- ``time not a number or date``: neither whole seconds since 1970 nor ``2015-03-31``, perhaps with ``12:30:00``; an
  empty time is unknown.

Rows that are good but say nothing are *left out* and not quarantined: ``without tags`` (where a row has several tags),
``a video`` (YFCC100M) and ``of a user to leave out``. Rows read = kept + quarantined + left out.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_plus

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingest.click_rows import (
    CARRIAGE_RETURN,
    EMPTY_LINE,
    HEADER,
    KEPT,
    NEWLINE,
    NOT_UTF8,
    NUL,
    REASONS,
    TOO_LONG,
    WRONG_NUMBER,
    gather,
    is_utf8,
)
from pipelines.ingest.click_rows import quarantine as quarantine_of
from pipelines.ingest.image_ids import composed, composed_ids
from pipelines.tags.layouts import IMAGE, TAG, TIME, USER, TagLayout
from pipelines.words.normal_form import normalise_text, visible_text

# What `str.strip` takes off, as from the ids of pictures and of users to leave out (all up to U+3000); Polars alone
# keeps U+001C to U+001F.
SPACE = "".join(letter for letter in map(chr, range(0x3001)) if letter.isspace())
TAG_ROWS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("tag", pa.string(), nullable=False),
        pa.field("time", pa.int64()),  # seconds since 1970
    ]
)
OWN_REASONS = ("empty user id", "empty image id", "empty tag", "time not a number or date")
LEFT_OUT = ("without tags", "a video", "of a user to leave out")
# Codes of reasons are places in OUTCOMES; those of a click log come first, so they have the same codes there.
OUTCOMES = (*REASONS, *OWN_REASONS, *LEFT_OUT)
NO_USER, NO_IMAGE, NO_TAG, BAD_TIME, NO_TAGS, VIDEO, UNWANTED_USER = range(len(REASONS), len(OUTCOMES))
LONGEST_NUMBER = 18  # digits of which any number fits into 64 bits


@dataclass(frozen=True)
class Rows:
    """Rows of a log whose fields have been looked for.

    Attributes:
        numbers: the 1-based number of each row.
        reasons: the code of why a row's fields could not be found, or KEPT; those with KEPT are *open*.
        fields: of the open rows, in order: `user_id`, `image_id`, `tag`, and if the log has them `time` and `marker`,
            which is "1" for a video.
        raws: returns the bytes of the rows at some places.

    Shape:
        numbers, reasons: integers (n,); each of fields: strings (number of open rows,), no nulls
    """

    numbers: np.ndarray
    reasons: np.ndarray
    fields: Mapping[str, pa.Array]
    raws: Callable[[np.ndarray], pa.Array]

    def __len__(self) -> int:
        return len(self.numbers)


class CheckedTags(NamedTuple):
    """The checked rows of a part of a log.

    Attributes:
        tags: one row for each tag of the kept rows; TAG_ROWS.
        quarantine: schemas.QUARANTINE.
        counts: of rows, under their names in summaries.
    """

    tags: pa.RecordBatch
    quarantine: pa.RecordBatch
    counts: dict[str, int]


def check_rows(rows: Rows, file: str, layout: TagLayout, fold: bool, left_out: Collection[str]) -> CheckedTags:
    """Check rows whose fields have been found.

    Args:
        rows: the rows.
        file: the log's name, for the quarantine.
        layout: how tags stand in their field.
        fold: whether tags that differ in case or compatibility forms are one tag.
        left_out: users whose rows are left out, from the quarantine too; in NFC.
    """
    users, images = (normal_ids(rows.fields[name]) for name in (USER, IMAGE))
    tags = rows.fields[TAG].dictionary_encode()
    seconds, is_time_bad = seconds_of(rows.fields.get(TIME), len(users))
    found = np.full(len(users), KEPT)
    found[is_time_bad] = BAD_TIME
    found[is_empty(stripped(tags.dictionary))[tags.indices.to_numpy()]] = (
        NO_TAG if layout.separator is None else NO_TAGS
    )
    if "marker" in rows.fields:
        found[np.asarray(pc.equal(rows.fields["marker"], "1"))] = VIDEO
    found[is_empty(images)] = NO_IMAGE
    if left_out:
        found[np.asarray(pc.is_in(users, pa.array(list(left_out), pa.string())))] = UNWANTED_USER
    found[is_empty(users)] = NO_USER

    reasons = rows.reasons.copy()
    reasons[reasons == KEPT] = found
    bad = np.flatnonzero((reasons != KEPT) & (reasons < NO_TAGS))
    if left_out:
        is_unwanted = np.array([_names_one(raw, left_out) for raw in rows.raws(bad).to_pylist()], bool)
        reasons[bad[is_unwanted]] = UNWANTED_USER
        bad = bad[~is_unwanted]
    counts = {_counted(code): number for code, number in enumerate(np.bincount(reasons).tolist()) if number}
    columns = {USER: users, IMAGE: images, TAG: tags, TIME: seconds}
    if (found != KEPT).any():
        kept = pa.array(found == KEPT)
        columns = {name: column.filter(kept) for name, column in columns.items()}
    quarantine = quarantine_of(file, rows.numbers[bad], reasons[bad], rows.raws(bad), names=OUTCOMES)
    return CheckedTags(_tags_of(columns, layout, fold), quarantine, counts)


def _counted(code: int) -> str:
    """Return the name in summaries of the rows with a code."""
    if code == KEPT:
        return "rows kept"
    return f"{'quarantined' if code < NO_TAGS else 'left out'}: {OUTCOMES[code]}"


def _names_one(raw: bytes, users: Collection[str]) -> bool:
    """Return whether a row whose fields could not be found seems to name a user: by any part between delimiters."""
    parts = re.split(r'[\t,;"]', raw.decode("utf-8", "replace"))
    return any(composed(part.strip()) in users for part in parts)


def is_empty(texts: pa.Array) -> np.ndarray:
    """Return which texts have no character."""
    return np.asarray(pc.equal(pc.binary_length(texts), 0))


def stripped(texts: pa.Array) -> pa.Array:
    """Return texts without white space at both ends."""
    return pl.Series(texts, dtype=pl.String).str.strip_chars(SPACE).to_arrow().cast(pa.string())


def normal_ids(ids: pa.Array) -> pa.Array:
    """Return ids in NFC, without white space at both ends; only distinct ids are stripped, and only if any needs it.

    Shape:
        ids: strings (n,); result: the same
    """
    if has_plain_ends(ids):
        return composed_ids(ids)
    distinct = ids.dictionary_encode()
    return composed_ids(stripped(distinct.dictionary)).take(distinct.indices)


def has_plain_ends(texts: pa.Array) -> bool:
    """Return True if every text begins and ends with a visible ASCII character, as ids do; then none has white space.

    Only the bytes at both ends are looked at.
    """
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    starts, ends = offsets[:-1], offsets[1:]
    if not len(texts) or (starts == ends).any():
        return not len(texts)
    codes = np.frombuffer(texts.buffers()[2], np.uint8)
    return all(((codes[places] > ord(" ")) & (codes[places] < 0x7F)).all() for places in (starts, ends - 1))


def seconds_of(texts: pa.Array | None, number: int) -> tuple[pa.Array, np.ndarray]:
    """Return times as seconds since 1970, null where they are unknown, and which are neither number nor date.

    Args:
        texts: the times; None: all are unknown.
        number: of rows, n.

    Shape:
        texts: strings (n,); results: int64 (n,), booleans (n,)
    """
    is_bad = np.zeros(number, bool)
    if texts is None:
        return pa.nulls(number, pa.int64()), is_bad
    is_number = pc.and_(pc.ascii_is_decimal(texts), pc.less_equal(pc.binary_length(texts), LONGEST_NUMBER))
    seconds = pc.if_else(is_number, texts, None).cast(pa.int64())
    odd = np.flatnonzero(~np.asarray(is_number))
    if not len(odd):
        return seconds, is_bad
    distinct = texts.take(pa.array(odd)).dictionary_encode()
    parsed = pl.DataFrame({"text": pl.Series(distinct.dictionary, dtype=pl.String)}).select(
        seconds=_seconds(pl.col("text")), is_given=pl.col("text").str.strip_chars(SPACE).str.len_bytes() > 0
    )
    is_bad[odd] = (parsed["is_given"] & parsed["seconds"].is_null()).to_numpy()[distinct.indices.to_numpy()]
    is_odd = np.zeros(number, bool)
    is_odd[odd] = True
    return pc.replace_with_mask(seconds, pa.array(is_odd), parsed["seconds"].to_arrow().take(distinct.indices)), is_bad


def _tags_of(columns: Mapping[str, pa.Array], layout: TagLayout, fold: bool) -> pa.RecordBatch:
    """Return one row for each tag; a tag that is empty or repeated within its field is none.

    Args:
        columns: of the kept rows; fields with tags as a dictionary.
        layout: how tags stand in their field.
        fold: see :func:`check_rows`.
    """
    fields, places = columns[TAG], None
    tags = [
        [text] if layout.separator is None else text.split(layout.separator) for text in fields.dictionary.to_pylist()
    ]
    distinct = {text: normal_tag(text, layout.are_escaped, fold) for of_field in tags for text in of_field}
    if layout.separator is None:
        names = pa.array([distinct[text] for [text] in tags], pa.string())
        if is_empty(names).any():
            places = np.flatnonzero(~is_empty(names)[fields.indices.to_numpy()])
            fields = fields.take(pa.array(places))
        found = names.take(fields.indices)
    else:
        normal = [list(dict.fromkeys(filter(None, (distinct[text] for text in of_field)))) for of_field in tags]
        lists = pa.array(normal, pa.list_(pa.string())).take(fields.indices)
        places, found = pc.list_parent_indices(lists), pc.list_flatten(lists)
    others = {
        name: columns[name] if places is None else columns[name].take(pa.array(places)) for name in (USER, IMAGE, TIME)
    }
    return pa.record_batch([others.get(field.name, found) for field in TAG_ROWS], schema=TAG_ROWS)


def normal_tag(text: str, is_escaped: bool, fold: bool) -> str:
    """Return a tag in the form in which tags are compared.

    >>> normal_tag("Golden+Retriever%21", True, True)
    'golden retriever!'
    """
    if is_escaped:
        text = unquote_plus(text)
    text = visible_text(text)
    return " ".join((normalise_text(text) if fold else composed(text)).split())


def _seconds(texts: pl.Expr) -> pl.Expr:
    """Return seconds since 1970 of whole numbers and of dates (UTC); null for other texts."""
    texts = texts.str.strip_chars()
    day = texts.str.replace("T", " ", literal=True)
    dates = [
        day.str.to_datetime(form, strict=False, time_unit="us", exact=True).dt.epoch("s")
        for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
    ]
    return pl.coalesce(texts.cast(pl.Int64, strict=False), *dates)


def split_lines(
    block: bytes,
    first_row: int,
    places: Mapping[int, Mapping[str, int]],
    delimiter: str,
    longest: int,
    has_header: bool,
) -> Rows:
    r"""Split whole lines into fields, for :func:`check_rows`; a line ends with ``\n`` or ``\r\n``.

    Nothing is done line by line: delimiters and line ends are found in the whole block.

    Args:
        block: whole lines, less than 2 GiB; the last may lack its end.
        first_row: the 1-based number of the first line.
        places: for each permitted number of fields, the position of each field.
        delimiter: between fields, an ASCII character.
        longest: bytes that a line may have.
        has_header: whether the first line holds names.
    """
    if block and not block.endswith(b"\n"):
        block += b"\n"
    codes = np.frombuffer(block, np.uint8)
    marks = np.flatnonzero((codes == ord(delimiter)) | (codes == NEWLINE))
    is_line_end = codes[marks] == NEWLINE
    line_ends, between = marks[is_line_end], marks[~is_line_end]
    starts = np.r_[0, line_ends[:-1] + 1] if len(line_ends) else line_ends
    ends = line_ends - ((line_ends > starts) & (codes[line_ends - 1] == CARRIAGE_RETURN))
    number = np.diff(np.flatnonzero(np.r_[True, is_line_end]))  # of fields

    reasons = np.full(len(starts), WRONG_NUMBER)
    for num in places:
        reasons[number == num] = KEPT
    if b"\0" in block:
        reasons[np.searchsorted(line_ends, np.flatnonzero(codes == 0))] = NUL
    if not is_utf8(block):
        reasons[[not is_utf8(line) for line in gather(block, starts, ends).to_pylist()]] = NOT_UTF8
    reasons[starts == ends] = EMPTY_LINE
    reasons[ends - starts > longest] = TOO_LONG
    if has_header:
        reasons[:1] = HEADER

    is_open = reasons == KEPT
    parts = {}
    for num, of_number in places.items():
        is_chosen = is_open & (number == num)
        chosen = np.flatnonzero(is_chosen)
        inner = between if is_chosen.all() else between[np.repeat(is_chosen, number - 1)]
        inner = inner.reshape(-1, num - 1).T
        firsts, lasts = [starts[chosen], *(inner + 1)], [*inner, ends[chosen]]
        parts[num] = (
            chosen,
            {name: gather(block, firsts[place], lasts[place]).view(pa.string()) for name, place in of_number.items()},
        )
    return Rows(
        numbers=first_row + np.arange(len(starts)),
        reasons=reasons,
        fields=_joined(list(parts.values())),
        raws=lambda some: gather(block, starts[some], ends[some]),
    )


def _joined(parts: Sequence[tuple[np.ndarray, Mapping[str, pa.Array]]]) -> Mapping[str, pa.Array]:
    """Return the fields of rows with different numbers of fields, in the rows' order; a field that one lacks is empty.

    Args:
        parts: the places of rows, and their fields.
    """
    filled = [part for part in parts if len(part[0])] or parts[:1]
    if len(filled) == 1:
        return filled[0][1]
    names = sorted({name for _, fields in filled for name in fields})
    order = pa.array(np.argsort(np.concatenate([rows for rows, _ in filled])))
    return {
        name: pa.concat_arrays([fields.get(name, pa.repeat("", len(rows))) for rows, fields in filled]).take(order)
        for name in names
    }


def of_fields(
    numbers: np.ndarray,
    raws: pa.Array,
    reasons: np.ndarray,
    fields: Sequence[Sequence[str]],
    places: Mapping[int, Mapping[str, int]],
) -> Rows:
    """Return rows that were parsed one by one.

    Args:
        numbers: the rows' numbers.
        raws: the rows' bytes.
        reasons: why a row is bad, or KEPT.
        fields: of the rows with KEPT.
        places: for each permitted number of fields, the position of each field.

    Shape:
        numbers, raws, reasons: (n,)
    """
    reasons = reasons.copy()
    num = np.array([len(row) for row in fields], np.int64)
    is_open = np.isin(num, list(places))
    reasons[np.flatnonzero(reasons == KEPT)[~is_open]] = WRONG_NUMBER
    rows = [row for row, found in zip(fields, is_open, strict=True) if found]
    names = sorted({name for of_number in places.values() for name in of_number})
    columns = {
        name: pa.array([row[places[len(row)][name]] if name in places[len(row)] else "" for row in rows], pa.string())
        for name in names
    }
    return Rows(numbers, reasons, columns, lambda some: raws.take(pa.array(some)))

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
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.ingest.click_rows import (
    EMPTY_LINE,
    HEADER,
    NOT_UTF8,
    NUL,
    REASONS,
    TOO_LONG,
    WRONG_NUMBER,
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
KEPT = ""


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


def check_rows(rows: pl.DataFrame, file: str, layout: TagLayout, fold: bool, left_out: Collection[str]) -> CheckedTags:
    """Check rows whose fields have been found.

    Args:
        rows: `row` (1-based number), `raw` (the row's bytes), `reason` (why its fields could not be found, or ""), and
            the texts `user_id`, `image_id`, `tag` and `time`, null or empty where a row lacks them; `marker` is "1" for
            a video.
        file: the log's name, for the quarantine.
        layout: how tags stand in their field.
        fold: whether tags that differ in case or compatibility forms are one tag.
        left_out: users whose rows are left out, from the quarantine too; in NFC.
    """
    several = layout.separator is not None
    blank = {
        name: pl.col(name).fill_null("").str.strip_chars(SPACE).str.len_bytes() == 0 for name in (USER, IMAGE, TAG)
    }
    rows = rows.with_columns(seconds=_seconds(pl.col(TIME)))
    is_time_bad = (pl.col(TIME).fill_null("").str.strip_chars(SPACE).str.len_bytes() > 0) & pl.col("seconds").is_null()
    is_open = pl.col("reason") == KEPT
    of_video = pl.col("marker") == "1" if "marker" in rows.columns else pl.lit(value=False)
    reason = (
        pl.when(~is_open).then("reason")
        .when(blank[USER]).then(pl.lit(OWN_REASONS[0]))
        .when(pl.col(USER).str.strip_chars(SPACE).str.normalize("NFC").is_in(list(left_out))).then(pl.lit(LEFT_OUT[2]))
        .when(blank[IMAGE]).then(pl.lit(OWN_REASONS[1]))
        .when(of_video).then(pl.lit(LEFT_OUT[1]))
        .when(blank[TAG]).then(pl.lit(LEFT_OUT[0] if several else OWN_REASONS[2]))
        .when(is_time_bad).then(pl.lit(OWN_REASONS[3]))
        .otherwise(pl.lit(KEPT))
    )  # fmt: skip
    rows = rows.with_columns(reason=reason)
    if left_out:
        is_bad = ~pl.col("reason").is_in([KEPT, *LEFT_OUT])
        names_one = pl.Series([_names_one(raw, left_out) for raw in rows["raw"]], dtype=pl.Boolean)
        rows = rows.with_columns(reason=pl.when(is_bad & names_one).then(pl.lit(LEFT_OUT[2])).otherwise("reason"))
    counts = {
        "rows kept" if name == KEPT else f"{'left out' if name in LEFT_OUT else 'quarantined'}: {name}": number
        for name, number in rows["reason"].value_counts().iter_rows()
    }
    bad = rows.filter(~pl.col("reason").is_in([KEPT, *LEFT_OUT]))
    return CheckedTags(_tags_of(rows.filter(reason=KEPT), layout, fold), _quarantine(bad, file), counts)


def _names_one(raw: bytes, users: Collection[str]) -> bool:
    """Return whether a row whose fields could not be found seems to name a user: by any part between delimiters."""
    parts = re.split(r'[\t,;"]', raw.decode("utf-8", "replace"))
    return any(composed(part.strip()) in users for part in parts)


def _tags_of(rows: pl.DataFrame, layout: TagLayout, fold: bool) -> pa.RecordBatch:
    """Return one row for each tag; a tag that is empty or repeated within its field is none."""
    tags = pl.col(TAG) if layout.separator is None else pl.col(TAG).str.split(layout.separator)
    found = rows.select(USER, IMAGE, tags, "seconds", "row")
    if layout.separator is not None:
        found = found.explode(TAG, empty_as_null=True, keep_nulls=True)
    for name in (USER, IMAGE):
        found = found.with_columns(pl.Series(name, composed_ids(found[name].str.strip_chars(SPACE).to_arrow())))
    found = found.with_columns(_mapped(found[TAG], lambda text: normal_tag(text, layout.are_escaped, fold)))
    found = found.filter(pl.col(TAG) != "")
    if layout.separator is not None:
        found = found.unique(["row", TAG], maintain_order=True)
    found = found.rename({"seconds": TIME})
    return pa.record_batch([found[field.name].to_arrow().cast(field.type) for field in TAG_ROWS], schema=TAG_ROWS)


def _mapped(texts: pl.Series, change: Callable[[str], str]) -> pl.Series:
    """Return changed texts; each distinct text is changed once."""
    distinct = texts.unique()
    return texts.replace_strict(distinct, pl.Series([change(text) for text in distinct], dtype=pl.String))


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


def _quarantine(bad: pl.DataFrame, file: str) -> pa.RecordBatch:
    known = [*REASONS, *OWN_REASONS]
    return quarantine_of(
        file,
        bad["row"].to_numpy(),
        np.array([known.index(reason) for reason in bad["reason"]], np.int64),
        bad["raw"].to_arrow().cast(pa.binary()),
        names=known,
    )


def split_lines(
    block: bytes,
    first_row: int,
    places: Mapping[int, Mapping[str, int]],
    delimiter: str,
    longest: int,
    has_header: bool,
) -> pl.DataFrame:
    r"""Split whole lines into fields, for :func:`check_rows`; a line ends with ``\n`` or ``\r\n``.

    Args:
        block: whole lines; the last may lack its end.
        first_row: the 1-based number of the first line.
        places: for each permitted number of fields, the position of each field.
        delimiter: between fields.
        longest: bytes that a line may have.
        has_header: whether the first line holds names.
    """
    lines = block.removesuffix(b"\n").split(b"\n") if block else []
    raws = [line.removesuffix(b"\r") for line in lines]
    texts, reasons = [], []
    for raw in raws:
        try:
            texts.append(raw.decode())
            reasons.append(REASONS[NUL] if b"\0" in raw else KEPT)
        except UnicodeDecodeError:
            texts.append("")
            reasons.append(REASONS[NOT_UTF8])
        if not raw:
            reasons[-1] = REASONS[EMPTY_LINE]
        if len(raw) > longest:
            reasons[-1] = REASONS[TOO_LONG]
    if has_header and reasons:
        reasons[0] = REASONS[HEADER]
    fields = pl.Series(texts, dtype=pl.String).str.split(delimiter)
    numbers = pl.Series(range(first_row, first_row + len(raws)), dtype=pl.Int64)
    return placed(numbers, pl.Series(raws, dtype=pl.Binary), fields, pl.Series(reasons, dtype=pl.String), places)


def placed(
    numbers: pl.Series, raws: pl.Series, fields: pl.Series, reasons: pl.Series, places: Mapping[int, Mapping[str, int]]
) -> pl.DataFrame:
    """Return rows for :func:`check_rows`, with each field taken from its place.

    Args:
        numbers: the rows' numbers.
        raws: the rows' bytes.
        fields: the rows' fields, lists of texts.
        reasons: why a row is bad, or KEPT.
        places: for each permitted number of fields, the position of each field.
    """
    frame = pl.DataFrame({"row": numbers, "raw": raws, "fields": fields, "reason": reasons})
    number = pl.col("fields").list.len()
    frame = frame.with_columns(
        reason=pl.when((pl.col("reason") == KEPT) & ~number.is_in(list(places)))
        .then(pl.lit(REASONS[WRONG_NUMBER]))
        .otherwise("reason"),
    )
    columns = {}
    for name in sorted({USER, IMAGE, TAG, TIME}.union(*places.values())):
        taken: pl.Expr = pl.lit(None, pl.String)
        for num, of_number in places.items():
            if name in of_number:
                field = pl.col("fields").list.get(of_number[name], null_on_oob=True)
                taken = pl.when(number == num).then(field).otherwise(taken)
        columns[name] = taken
    return frame.select("row", "raw", "reason", **columns)

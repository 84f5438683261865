"""How a tag log is written: the parameters of its reading, and where the fields of a row are.

| layout | a row |
|---|---|
| ``table`` | TSV, CSV or Parquet with names in its header: user_id, image_id, tag and, if known, time |
| ``yfcc100m`` | YFCC100M's own TSV, of 23 columns or, in its later release, 25; the tags of a photograph in one field |
| ``movielens`` | MovieLens's ``tags.csv``: userId, movieId, tag, timestamp |
| ``nus-wide`` | three lists, line by line: ``trainimgs.txt``, and beside it ``trainusrs.txt`` and ``traintags.txt`` |

The lists of ``nus-wide`` are those that the released code of the tag recommendation paper writes
(``preprocessing/dumpUsrsPhotosImgs.py``): NUS-WIDE itself has no users.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field, field_validator

from base.console import UserError
from base.params import Params

USER, IMAGE, TAG, TIME = FIELDS = ("user_id", "image_id", "tag", "time")
# YFCC100M's columns by position, in its release of 23 columns; the one of 25 has a line number before the photo's id,
# and a hash after it.
YFCC_COLUMNS = {
    23: {IMAGE: 0, USER: 1, TIME: 4, TAG: 8, "marker": 22},
    25: {IMAGE: 1, USER: 3, TIME: 6, TAG: 10, "marker": 24},
}
MOVIELENS = {USER: "userId", IMAGE: "movieId", TAG: "tag", TIME: "timestamp"}
NUS_LISTS = ("imgs.txt", "usrs.txt", "tags.txt")


class TagLogParams(Params):
    """How a tag log is written, and which tags are kept; section `tags` of a parameter file."""

    layout: Literal["table", "yfcc100m", "movielens", "nus-wide"] = Field(description="pipelines/tags/layouts.py")
    columns: str | None = Field(
        description="the names under which a table has its fields, as in image_id=photo,tag=tags; null: their own names"
    )
    separator: str | None = Field(
        description="between several tags of a table's field, one character; null: each row has one tag"
    )
    fold: bool = Field(description="whether tags that differ in case or compatibility forms (NFKC) are one tag")
    top_tags: int = Field(description="the number of most used tags to keep, N", ge=1, le=1_000_000)
    least_users: int = Field(description="tags of fewer users are left out", ge=1)
    most_bad_rows: float = Field(description="the largest share of bad rows; above it the job fails", ge=0, le=1)
    shards: int = Field(description="files of posts; about a million posts in each is a good size", ge=1, le=32_767)

    @field_validator("separator")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in "\n\r\t\0"):
            raise ValueError("expected one character other than a tab or a line end, or null")
        return value


class TagLayout(NamedTuple):
    """How the rows of a log are read.

    Attributes:
        names: under which name a table's header has each of the fields; empty where fields are found by position.
        separator: between several tags of a field; None: a field is one tag.
        are_escaped: whether tags are URL-encoded, with ``+`` for a space.
        kind: the layout's name.
    """

    names: Mapping[str, str]
    separator: str | None
    are_escaped: bool
    kind: str


def layout_of(params: TagLogParams) -> TagLayout:
    """Return the layout that some parameters describe.

    Raises:
        UserError: `columns` or `separator` are given for a layout that has its own, or `columns` are not readable.
    """
    if params.layout == "table":
        return TagLayout(_names(params.columns), params.separator, False, "table")
    for name in ("columns", "separator"):
        if (value := getattr(params, name)) is not None:
            raise UserError(f"tags.{name} = {value!r}: the layout {params.layout} has its own; set it to null")
    return {
        "yfcc100m": TagLayout({}, ",", True, "yfcc100m"),
        "movielens": TagLayout(MOVIELENS, None, False, "movielens"),
        "nus-wide": TagLayout({}, " ", False, "nus-wide"),
    }[params.layout]


def _names(text: str | None) -> dict[str, str]:
    names = {name: name for name in FIELDS}
    given = set[str]()
    for pair in [] if text is None else text.split(","):
        field, _, name = (part.strip() for part in pair.partition("="))
        if field not in FIELDS or not name or field in given:
            raise UserError(
                f"tags.columns = {text!r}: {pair.strip()!r}: expected FIELD=NAME, each field once, with FIELD one of "
                f"{', '.join(FIELDS)}"
            )
        given.add(field)
        names[field] = name
    return names


def places_in(header: Sequence[str], names: Mapping[str, str], path: str) -> dict[str, int]:
    """Return the position of each field in a header; the time may be missing.

    Raises:
        UserError: a field is missing or stands there twice.
    """
    places = {}
    for field, name in names.items():
        found = [place for place, heading in enumerate(header) if heading.strip() == name]
        if len(found) > 1 or (not found and field != TIME):
            raise UserError(
                f"{path}: its header has {name!r} ({field}) {len(found)} times, expected it once; found "
                f"{', '.join(map(repr, header[:12]))}; name the fields by tags.columns, as in {field}=NAME"
            )
        if found:
            places[field] = found[0]
    return places

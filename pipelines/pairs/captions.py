"""Texts of images that have no text of their own: captions, or the queries clicked for them.

Captions are a table of tab-separated text with a header: `image_id`, `sentence` and, if languages are chosen,
`language`. The sentences of an image are joined to one text, in the table's order. Of queries, the most clicked are
taken, first those with more clicks, then by code points.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from base.artifacts import reading
from base.console import UserError
from base.inputs import is_file
from pipelines.ingest.image_catalogue import BYTE_ORDER_MARK, Refused, show
from pipelines.ingest.image_ids import composed

IMAGE_ID, SENTENCE, LANGUAGE = "image_id", "sentence", "language"
OTHER_LANGUAGE, OTHER_IMAGE, MORE_TEXTS = "in another language", "of an image elsewhere", "more texts than are used"
BETWEEN = " "  # two sentences of a text


@dataclass
class Texts:
    """Texts by image, and what was not used.

    Attributes:
        by_image: the text of each image that has one.
        read: rows of the table.
        kept: rows that are part of a text.
        refused: rows that cannot be used, for the quarantine.
        left_out: number of good rows that are not used, by reason.
    """

    by_image: dict[str, str] = field(default_factory=dict)
    read: int = 0
    kept: int = 0
    refused: list[Refused] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def read_captions(
    path: Path, images: Collection[str], languages: Sequence[str] | None = None, most: int | None = None
) -> Texts:
    """Read the captions of images.

    Args:
        path: the table.
        images: the ids of the images; captions of others are counted and left out.
        languages: those to take; None takes all.
        most: sentences of an image that are taken at most, the first ones; None takes all.

    Raises:
        UserError: there is no such file, or it lacks a column.
    """
    if not is_file(path):
        raise UserError(f"{path}: no such file; expected a table with the columns {IMAGE_ID} and {SENTENCE}")
    texts = Texts()
    sentences: dict[str, list[str]] = {}
    with path.open("rb") as stream:
        names = stream.readline().removeprefix(BYTE_ORDER_MARK).decode("utf-8", "replace").rstrip("\r\n").split("\t")
        needed = [IMAGE_ID, SENTENCE] + ([LANGUAGE] if languages is not None else [])
        if missing := [name for name in needed if name not in names]:
            raise UserError(f"{path}: lacks the column {missing[0]}; its first line has {', '.join(names)}")
        for number, line in enumerate(stream, start=2):
            texts.read += 1
            row, reason = _row(line.rstrip(b"\r\n"), names)
            if reason:
                texts.refused.append(Refused(path.name, number, reason, show(line.rstrip(b"\r\n"))))
                continue
            image_id = composed(row[IMAGE_ID])
            found = sentences.setdefault(image_id, []) if image_id in images else []
            if languages is not None and row[LANGUAGE] not in languages:
                texts.left_out[OTHER_LANGUAGE] += 1
            elif image_id not in images:
                texts.left_out[OTHER_IMAGE] += 1
            elif most is not None and len(found) >= most:
                texts.left_out[MORE_TEXTS] += 1
            else:
                found.append(row[SENTENCE].strip())
                texts.kept += 1
    texts.by_image = {image_id: BETWEEN.join(found) for image_id, found in sentences.items() if found}
    return texts


def _row(line: bytes, names: Sequence[str]) -> tuple[Mapping[str, str], str]:
    """Return the cells of a line by column, and why it cannot be used; empty if it can."""
    if not line:
        return {}, "empty line"
    try:
        fields = line.decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return {}, "not UTF-8"
    if len(fields) != len(names):
        return {}, f"not {len(names)} fields"
    row = dict(zip(names, fields, strict=True))
    return row, "empty image id" if not row[IMAGE_ID].strip() else "" if row[SENTENCE].strip() else "empty sentence"


def read_queries(clicks: Path, images: Collection[str], most: int | None = None) -> Texts:
    """Read the queries clicked for images, as their texts.

    Args:
        clicks: folder of `schemas.CLICKS`.
        images: the ids of the images.
        most: queries of an image that are taken at most; None takes all.

    Raises:
        UserError: there are no clicks.
    """
    files = sorted(clicks.glob("*.parquet"))
    if not files:
        raise UserError(f"{clicks}: no shards of clicks here, and no captions are named; ingest the data set first")
    parts = []
    read = 0
    for file in files:
        with reading(file):
            rows = pl.read_parquet(file)
        read += len(rows)
        parts.append(rows.filter(pl.col("image_id").is_in(list(images))))
    rows = pl.concat(parts)
    ranked = rows.sort("image_id", "clicks", "query", descending=[False, True, False])
    taken = ranked if most is None else ranked.group_by("image_id", maintain_order=True).head(most)
    joined = taken.group_by("image_id", maintain_order=True).agg(pl.col("query").str.join(BETWEEN))
    left_out = Counter({OTHER_IMAGE: read - len(rows), MORE_TEXTS: len(rows) - len(taken)})
    return Texts(dict(joined.iter_rows()), read, len(taken), left_out=+left_out)

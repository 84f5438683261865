"""The plain layout: a Parquet table, or tab-separated tables beside images.

A folder has ``items.parquet`` with a row for each image, whose columns `annotation.ingest.columns` names: the image's
id and bytes, lists of labels and of tags, and optionally the split. Or it has

| file | columns |
|---|---|
| ``label_sets.tsv`` | ``image_id``, ``label``; a row for each label of an image |
| ``tags.tsv`` (optional) | ``image_id``, ``tag``; more columns are ignored |
| ``splits.tsv`` (optional) | ``image_id``, ``split`` (train, validation, test) |
| ``images/``, or an archive of that name | files; an image's id is its path below it without the suffix |

In the place of ``images/`` the images may be those of a click data set (``source/``, ``target/``), as the toy's are.
"""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from base.artifacts import reading, write_table
from base.console import UserError
from base.params import Params
from pipelines.annotations.source import (
    GIVEN,
    LABEL_ROWS,
    TAG_LOG,
    Images,
    Source,
    folder_of_images,
    given_splits,
    images_of_table,
    read_rows,
)
from pipelines.ingest.click_log import find_logs
from pipelines.ingest.image_archives import ARCHIVES
from pipelines.ingest.image_catalogue import Refused, list_images

ITEMS, LABELS, TAGS, SPLITS, IMAGES = "items.parquet", "label_sets.tsv", "tags.tsv", "splits.tsv", "images"
TOO_LONG = "tag too long"


class ColumnParams(Params):
    """The names of the columns of ``items.parquet``."""

    image_id: str = Field(description="text; an image's id")
    image: str = Field(description="the bytes of an image file, or a struct with a field bytes")
    labels: str = Field(description="a list of texts")
    tags: str | None = Field(description="a list of texts; null: the table has none")
    split: str | None = Field(description="train, validation or test; null: splits are drawn")


def read_table(raw: Path, scratch: Path, columns: ColumnParams, longest_tag: int) -> Source:
    """Read ``items.parquet``.

    Args:
        raw: its folder.
        scratch: an existing folder, which gets copies of the images and of the tags as a log.
        columns: their names.
        longest_tag: bytes; longer ones are refused.

    Raises:
        UserError: the file is damaged, or a column is missing or has another type.
    """
    path = raw / ITEMS
    table = _text_columns(path, columns)
    images = images_of_table(path, table["image_id"].to_list(), columns.image, scratch)
    rows = table.with_row_index("row", offset=1).with_columns(pl.lit(ITEMS).alias("file"), pl.col("row").cast(pl.Int64))
    labels = rows.explode("labels", empty_as_null=False).rename({"labels": "label"}).select(LABEL_ROWS.names())
    given = pl.DataFrame(schema=GIVEN)
    if columns.split is not None:
        of_images = rows.filter(pl.col("split").is_not_null()).select("image_id", "split")
        given = given_splits(of_images.iter_rows(), f"{path}, column {columns.split}")
    if columns.tags is None:
        return Source(images, labels, given)
    tags = (
        rows.filter(pl.col("tags").is_not_null())
        .explode("tags", empty_as_null=False)
        .select("row", "image_id", pl.col("tags").alias("tag"))
    )
    long = pl.col("tag").str.len_bytes().fill_null(0) > longest_tag
    refused = [Refused(ITEMS, row, TOO_LONG, tag[:100] + "…") for row, _, tag in tags.filter(long).iter_rows()]
    log = scratch / "items.tags.parquet"
    write_table(tags.filter(~long).select("image_id", "tag").to_arrow().cast(TAG_LOG), log)
    return Source(images, labels, given, find_logs([log], root=scratch), refused_tags=refused)


def _text_columns(path: Path, columns: ColumnParams) -> pl.DataFrame:
    """Return `image_id`, `labels`, and `tags` and `split` if they are named."""
    named = {name: column for name, column in columns if column is not None and name != "image"}
    with reading(path):
        found = pq.read_schema(path)
    for name, column in named.items():
        if column not in found.names:
            raise UserError(f"{path}: no column {column!r} (annotation.ingest.columns.{name}); it has {found.names}")
        kind = found.field(column).type
        if pa.types.is_list(kind) != (name in ("labels", "tags")):
            expected = "a list of texts" if name in ("labels", "tags") else "text"
            raise UserError(f"{path}: column {column!r} is {kind}; annotation.ingest.columns.{name} is {expected}")
    with reading(path):
        table = pl.DataFrame(pq.read_table(path, columns=list(dict.fromkeys(named.values()))))
    texts = [pl.col(column).cast(_kind(name)).alias(name) for name, column in named.items()]
    return table.select(texts)


def _kind(name: str) -> pl.DataType:
    return pl.List(pl.String) if name in ("labels", "tags") else pl.String()


def read_tables(raw: Path) -> Source:
    """Read ``label_sets.tsv`` and what is beside it.

    Raises:
        UserError: a file is missing or is not such a table.
    """
    labels = read_rows(raw / LABELS, ("image_id", "label")).with_columns(file=pl.lit(LABELS)).select(LABEL_ROWS.names())
    given = pl.DataFrame(schema=GIVEN)
    if (raw / SPLITS).is_file():
        given = given_splits(read_rows(raw / SPLITS, ("image_id", "split")).drop("row").iter_rows(), str(raw / SPLITS))
    tags = find_logs([raw / TAGS], root=raw) if (raw / TAGS).is_file() else []
    return Source(_images(raw), labels, given, tags)


def _images(raw: Path) -> Images:
    for name in (IMAGES, *(IMAGES + suffix for suffix in ARCHIVES)):
        if (raw / name).exists():
            return folder_of_images(raw, name)
    if (raw / "source").is_dir():
        catalogue = list_images(raw)
        refused = [row for row in catalogue.refused if row.file != "source/labels.tsv"]
        return Images(raw, [(entry.image_id, entry.place) for entry in catalogue.entries], refused)
    raise UserError(
        f"{raw}: no images: expected a folder or archive {IMAGES}, or a click data set's source/ and target/"
    )

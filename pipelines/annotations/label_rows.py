"""Check rows of (image, label): every row is kept or refused with a reason."""

from typing import NamedTuple

import polars as pl

from pipelines.annotations.source import LABEL_ROWS
from pipelines.ingest.categories import normalise_category
from pipelines.ingest.image_catalogue import Refused, show
from pipelines.ingest.image_ids import composed

EMPTY_ID, EMPTY_LABEL, TWICE, NO_IMAGE = "empty image id", "empty label", "label given twice", "label without image"


class CheckedLabels(NamedTuple):
    """The labels of the images that exist.

    Attributes:
        sets: `image_id`, `labels` (list, ascending), rows by image id.
        refused: the rows that are not kept.
    """

    sets: pl.DataFrame
    refused: list[Refused]


def check_labels(rows: pl.DataFrame, image_ids: pl.Series) -> CheckedLabels:
    """Check rows of labels. Names are normalised as categories are; two spellings of one name are one label.

    The first reason that applies: `EMPTY_ID`, `EMPTY_LABEL`, `NO_IMAGE`, `TWICE` (all but the first row).

    Args:
        rows: `LABEL_ROWS`.
        image_ids: the images that exist.
    """
    if dict(rows.schema) != dict(LABEL_ROWS):
        raise ValueError(f"columns {rows.schema}; expected {LABEL_ROWS}")
    texts = pl.col("image_id", "label").fill_null("")
    named = rows.with_columns(texts).with_columns(
        pl.col("label").alias("raw"),
        pl.col("image_id").map_elements(composed, return_dtype=pl.String),
        pl.col("label").map_elements(normalise_category, return_dtype=pl.String),
    )
    is_empty = pl.col("image_id").str.strip_chars() == ""
    reason = (
        pl.when(is_empty)
        .then(pl.lit(EMPTY_ID))
        .when(pl.col("label") == "")
        .then(pl.lit(EMPTY_LABEL))
        .when(~pl.col("image_id").is_in(image_ids.implode()))
        .then(pl.lit(NO_IMAGE))
        .when(~pl.struct("image_id", "label").is_first_distinct())
        .then(pl.lit(TWICE))
    )
    judged = named.with_columns(reason.alias("reason"))
    bad = judged.filter(pl.col("reason").is_not_null())
    refused = [
        Refused(file, row, why, show(f"{image_id}\t{raw}".encode()))
        for file, row, why, image_id, raw in bad.select("file", "row", "reason", "image_id", "raw").iter_rows()
    ]
    kept = judged.filter(pl.col("reason").is_null())
    sets = kept.group_by("image_id").agg(pl.col("label").sort().alias("labels")).sort("image_id")
    return CheckedLabels(sets, refused)

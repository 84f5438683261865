"""A small data set's folder in the artifacts' schemas, for the tests of recipes: images are never read."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from base import schemas
from base.artifacts import shard_name, write_table

CATEGORIES = ("ant", "bee", "cat")
SOURCE = {"ant": 9, "bee": 8, "cat": 6}
TARGET = {"ant": 8, "bee": 7, "cat": 5}


def table(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([row[column] for row in rows], field.type) for column, field in enumerate(schema)]
    return pa.Table.from_arrays(columns, schema=schema)


def named(domain: str, sizes: dict[str, int]) -> list[tuple[str, str, str]]:
    return [(f"{domain[0]}-{name}-{index}", domain, name) for name, size in sizes.items() for index in range(size)]


def write_data_set(data: Path, labels: Path) -> None:
    """Write a data set, and denoised labels of it.

    By given labels there are 9, 8 and 6 source images. Clicks name the first ant a bee and the last cat nothing.
    Denoising keeps what clicks name but the first two images, and renames the third ant to cat.
    """
    source, target = named("source", SOURCE), named("target", TARGET)
    images = [(name, domain, category, 9, 9, {"bytes": b"", "path": ""}) for name, domain, category in source + target]
    write_table(table(sorted(images), schemas.IMAGES), data / "ingested/images" / shard_name(0))
    write_table(schemas.DUPLICATES.empty_table(), data / "ingested/duplicates.parquet")
    kept = [(name, category, 3, 9, "first", 0.5, 0.2, name != "s-bee-0", "a cell") for name, _, category in source]
    write_table(table(sorted(kept), schemas.CLEANED), data / "cleaned/images.parquet")
    splits = [
        (name, domain, category, True, ("train", "train", "validation", "test")[int(name[-1]) % 4])
        for name, domain, category in source + target
    ]
    splits.sort(key=lambda row: (row[1], row[0]))
    write_table(table(splits, schemas.SPLITS), data / "splits/seed-3.parquet")
    write_table(table([row[:4] for row in splits], schemas.SELECTED), data / "splits/images.parquet")
    clicked = dict.fromkeys((name for name, _, _ in source), "") | {name: category for name, _, category in source}
    clicked |= {"s-ant-0": "bee", "s-cat-5": None, "not-of-the-data-set": "bee"}
    of_clicks = [(name, category, 1.0, 1.0, 2, 1, [], []) for name, category in sorted(clicked.items())]
    write_table(table(of_clicks, schemas.CLICK_LABELS), data / "click_labels/labels" / shard_name(0))
    denoised = [
        (name, "cat" if name == "s-ant-2" else category, category, 0.9, 0.8, name not in ("s-ant-0", "s-ant-1"), [], [])
        for name, category in sorted(clicked.items())
        if category is not None
    ]
    write_table(table(denoised, schemas.DENOISED), labels / "denoised-clicks/images.parquet")


def categories_of(rows: pl.DataFrame) -> dict[str, str]:
    """Return each source image's category."""
    return dict(rows.filter(domain="source").select("image_id", "category").iter_rows())

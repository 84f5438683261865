"""The images of a run: source images with labels, selected and split as `select` does it, and target images."""

from pathlib import Path

import polars as pl

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from pipelines.splits.copies import NO_GROUPS, groups_of_copies
from pipelines.splits.select import (
    SelectParams,
    check_something_selected,
    judge_categories,
    leaking_images,
    select_images,
)
from pipelines.splits.split import hash_ranks, split_images
from systems.siamese.config import Labels

LEFT_OUT = "left out"  # `split` of target images that are neither tested nor trained on


def read_labels(kind: Labels, data: Path, denoised: Path) -> pl.DataFrame:
    """Return labels of source images: `image_id`, `category`, rows by image id. Images without a label are left out.

    Args:
        kind: where the labels come from.
        data: the data set's folder.
        denoised: the folder with the folders ``denoised-given`` and ``denoised-clicks``.

    Raises:
        UserError: no image has a label, or an image has several.
    """
    if kind == "clicks":
        rows = pl.DataFrame(read_tables(data / "click_labels/labels", ["image_id", "category"]))
    elif kind in ("given-denoised", "clicks-denoised"):
        path = denoised / f"denoised-{kind.removesuffix('-denoised')}" / "images.parquet"
        rows = pl.DataFrame(read_tables(path, ["image_id", "category", "kept"])).filter("kept")
    else:
        rows = pl.DataFrame(read_tables(data / "ingested/images", ["image_id", "domain", "category"]))
        rows = rows.filter(domain="source")
        if kind == "given-cleaned":
            kept = pl.DataFrame(read_tables(data / "cleaned/images.parquet", ["image_id", "kept"])).filter("kept")
            rows = rows.join(kept, on="image_id", how="semi")
    rows = rows.select("image_id", "category").drop_nulls().sort("image_id")
    if rows.is_empty():
        raise UserError(f"{data}: labels {kind}: no image has a label")
    twice = rows.filter(pl.col("image_id").is_duplicated())
    if len(twice):
        raise UserError(f"{data}: labels {kind}: image {twice['image_id'][0]!r} has several labels")
    return rows


def select_rows(
    labels: pl.DataFrame, source_ids: pl.Series, target: pl.DataFrame, duplicates: pl.DataFrame, params: SelectParams
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the labelled source images that take part, and the groups of copies that stay in one split.

    Args:
        labels: `image_id`, `category` of source images.
        source_ids: the ids of all source images; labels of other images of the log are ignored.
        target: `image_id`, `category` of the target's selected images.
        duplicates: the columns of `schemas.DUPLICATES`.
        params: minimum, cap and what is done with duplicates.

    Returns:
        The columns of `schemas.SELECTED` of the source; and groups as `groups_of_copies` returns them.

    Raises:
        UserError: no category is left.
    """
    source = labels.filter(pl.col("image_id").is_in(source_ids.implode()))
    images = pl.concat(
        [
            rows.select("image_id", pl.lit(domain).alias("domain"), "category")
            for domain, rows in (("source", source), ("target", target))
        ]
    )
    usable = images
    if params.duplicates == "drop_leaks":
        usable = images.join(leaking_images(duplicates), on=["domain", "image_id"], how="anti")
    groups = groups_of_copies(duplicates) if params.copies == "together" else NO_GROUPS
    categories = judge_categories(images, usable, params, groups)
    check_something_selected(categories)
    selected = select_images(usable, categories, params.seed).filter(domain="source")
    return selected, groups


def with_targets(target: pl.DataFrame, seed: int, targets: int | None) -> pl.DataFrame:
    """Return the target rows with the split of this run: a few of them are trained on, none validates.

    Args:
        target: the columns of `schemas.SPLITS`, of the target.
        seed: of the choice; with the same seed, a smaller choice is part of a larger one.
        targets: images of each category to train on; None: all but the test images.
    """
    is_test = pl.col("split") == "test"
    place = pl.int_range(pl.len()).over("category", "split_is_test", order_by=["rank", "image_id"])
    chosen = pl.lit(True) if targets is None else place < targets
    split = pl.when(is_test).then("split").when(chosen).then(pl.lit("train")).otherwise(pl.lit(LEFT_OUT))
    return (
        target.with_columns(hash_ranks(seed, "targets"), is_test.alias("split_is_test"))
        .with_columns(split.alias("split"))
        .select(schemas.SPLITS.names)
    )


def split_rows(
    selected: pl.DataFrame,
    groups: pl.DataFrame,
    target: pl.DataFrame,
    seed: int,
    params: SelectParams,
    targets: int | None,
) -> pl.DataFrame:
    """Return a run's images of both domains for one seed: the columns of `schemas.SPLITS`.

    Args:
        selected, groups: from :func:`select_rows`.
        target: the target's rows in the data set's split of the same seed.
        seed: of the split, and of the choice of target images.
        params: the shares of the splits.
        targets: as in :func:`with_targets`.
    """
    source = split_images(selected, seed, params.shares.model_dump(), groups)
    known = pl.col("category").is_in(selected["category"].unique().implode())
    trained = with_targets(target, seed, targets)
    # a target image of a category that the source lacks can't be learned from; a test image of one is counted
    split = pl.when(known | (pl.col("split") == "test")).then("split").otherwise(pl.lit(LEFT_OUT))
    return pl.concat([source, trained.with_columns(split.alias("split"))]).sort("domain", "image_id")

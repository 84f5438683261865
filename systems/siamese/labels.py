"""The images of a run: source images with labels, selected and split as `select` does it, and target images."""

from pathlib import Path

import polars as pl

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from base.inputs import check_file
from pipelines.ingest.categories import normalise_category
from pipelines.splits.copies import NO_GROUPS, groups_of_copies
from pipelines.splits.select import (
    SelectParams,
    check_something_selected,
    judge_categories,
    leaking_images,
    select_images,
)
from pipelines.splits.split import hash_ranks, split_images
from systems.siamese.config import DENOISED, LEFT_OUT, Labels


def read_labels(kind: Labels, data: Path, denoised: Path, truth: Path | None = None) -> pl.DataFrame:
    """Return labels of source images: `image_id`, `category`, rows by image id. Images without a label are left out.

    Args:
        kind: where the labels come from.
        data: the data set's folder.
        denoised: the folder with folders such as ``denoised-given``.
        truth: the key, for the kind `truth`.

    Raises:
        UserError: no image has a label, or an image has several.
    """
    if kind == "clicks":
        rows = pl.DataFrame(read_tables(data / "click_labels/labels", ["image_id", "category"]))
    elif kind in DENOISED:
        rows = _denoised(kind, denoised, ["image_id", "category"])
    elif kind == "truth":
        assert truth is not None, "PlanParams requires a key"
        rows = read_key(truth)
    else:
        rows = pl.DataFrame(read_tables(data / "ingested/images", ["image_id", "domain", "category"]))
        rows = rows.filter(domain="source")
        if kind != "given":
            judged = pl.DataFrame(read_tables(data / "cleaned/images.parquet"))
            rows = rows.join(filtered(kind, judged), on="image_id", how="semi")
    rows = rows.select("image_id", "category").drop_nulls().sort("image_id")
    if rows.is_empty():
        raise UserError(f"{data}: labels {kind}: no image has a label")
    twice = rows.filter(pl.col("image_id").is_duplicated())
    if len(twice):
        raise UserError(f"{data}: labels {kind}: image {twice['image_id'][0]!r} has several labels")
    return rows


def _denoised(kind: Labels, denoised: Path, columns: list[str]) -> pl.DataFrame:
    """Return columns of the denoised images that are kept."""
    path = denoised / f"denoised-{kind.removesuffix('-denoised')}" / "images.parquet"
    return pl.DataFrame(read_tables(path, [*columns, "kept"])).filter("kept").drop("kept")


def read_key(path: Path) -> pl.DataFrame:
    """Return a key's images and true categories: `image_id`, `category`.

    Args:
        path: lines of image id, tab, category; more columns are ignored, as is a first line that begins with
            ``image_id``. Categories are normalised as those of a data set.

    Raises:
        UserError: the file doesn't exist, is not UTF-8, or a line has no category.
    """
    check_file(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(f"{path}: no such key (siamese.plan.truth)") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: the key (siamese.plan.truth) is not UTF-8") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        image_id, _, rest = line.partition("\t")
        category = normalise_category(rest.partition("\t")[0])
        if number == 1 and image_id == "image_id":
            continue
        if not category or category in ("0", "1"):
            found = f"{path} (siamese.plan.truth): line {number}: {line[:80]!r}"
            raise UserError(f"{found}: expected image id, tab, category")
        rows.append((image_id, category))
    return pl.DataFrame(rows, schema={"image_id": pl.String, "category": pl.String}, orient="row")


def filtered(kind: Labels, judged: pl.DataFrame) -> pl.DataFrame:
    """Return the images that a filter keeps of the given labels: as many for each filter, k of n.

    - ``given-cleaned``: what `cleaning:clean` keeps, by clicks and probability together;
    - ``given-most-clicked``: clicks alone; the same share k / n of every category, those with the most clicks;
    - ``given-most-probable``: the probability alone; the k most probable labels, which one threshold would keep;
    - ``given-drawn``: neither; the same share of every category, by a hash of the image id.

    Shares are rounded so that k images remain in all. Ties are broken by image id. Labels without a probability, of
    categories that the cleaner was not trained on, come last.

    Args:
        kind: the filter.
        judged: the columns of `schemas.CLEANED`.

    Returns:
        Rows of `judged`.
    """
    kept = int(judged["kept"].sum())
    if kind == "given-cleaned":
        return judged.filter("kept")
    unscored = pl.col("probability").is_null()
    if kind == "given-most-probable":
        return judged.sort(unscored, -pl.col("probability"), "image_id").head(kept)
    first = -pl.col("clicks") if kind == "given-most-clicked" else pl.col("drawn")
    ranked = judged.with_columns(domain=pl.lit("source")).with_columns(hash_ranks(0, "filters").alias("drawn"))
    place = pl.int_range(pl.len()).over("category", order_by=[unscored, first, "image_id"])
    ranked = ranked.with_columns(place=(place + 0.5) / pl.len().over("category"))
    return ranked.sort(unscored, "place", "category").head(kept)


def soft_labels(kind: Labels, denoised: Path) -> pl.DataFrame:
    """Return the probabilities of the denoised images that are kept: `image_id`, `categories`, `probabilities`.

    Raises:
        UserError: denoising wrote none.
    """
    rows = _denoised(kind, denoised, ["image_id", "categories", "probabilities"])
    if (rows["categories"].list.len() == 0).any():
        raise UserError(f"{denoised}: labels {kind}: no soft labels; set cleaning.denoise.soft_labels, such as 0.01")
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

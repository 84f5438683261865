"""Select labels and images, and split the images for every seed: splits that are given stay, others are drawn.

    python -m pipelines.annotations.split --ingested data/annotation/ingested --output data/annotation/splits

In: what `pipelines.annotations.ingest` writes.
Out: images.parquet, the selected images (image_id, domain), for the word jobs; labels.parquet (`schemas.LABELS`);
seed-N.parquet for every seed (`schemas.LABEL_SPLITS`); summary.json.

A label is left out if it has fewer than `minimum_images` images, or if splits are given and no image outside the test
split has it: it could not be learned. An image without a remaining label is left out. Drawn splits are stratified by
label sets (`pipelines.splits.label_sets`), with copies of an image in one split. Where the data set gives training and
test images, only the validation images are drawn, from the training images. A seed's file is independent of the others.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from base import schemas
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.console import UserError, as_counts, stage
from base.params import DEFAULT_PATH, Params, load_section, read_seeds
from pipelines.splits.label_sets import stratify

SELECTED, FEW, UNLEARNED = "selected", "too few images", "no image outside the test split"


class SplitParams(Params):
    """Section `annotation.split`: which labels take part, and the shares of the splits."""

    minimum_images: int = Field(description="a label with fewer images is left out", ge=1)
    validation: float = Field(description="share of the images that are no test images", gt=0, lt=1)
    test: float = Field(
        description="share of all images; not used where the data set gives the test images", gt=0, lt=1
    )


def select_labels(sets: pl.DataFrame, minimum: int) -> pl.DataFrame:
    """Return `schemas.LABELS` as a data frame: the number of images of every label, and whether it takes part.

    Args:
        sets: `schemas.LABEL_SETS`.
        minimum: see `SplitParams.minimum_images`.
    """
    rows = sets.explode("labels", empty_as_null=False).rename({"labels": "label"})
    learned = (pl.col("split") != "test").fill_null(True)
    counted = rows.group_by("label").agg(pl.len().cast(pl.Int64).alias("images"), learned.sum().alias("learned"))
    status = (
        pl.when(pl.col("images") < minimum)
        .then(pl.lit(FEW))
        .when(pl.col("learned") == 0)
        .then(pl.lit(UNLEARNED))
        .otherwise(pl.lit(SELECTED))
    )
    return counted.with_columns(status.alias("status")).select("label", "images", "status").sort("label")


def select_images(sets: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the images with at least one selected label, with these labels only; rows by image id."""
    chosen = labels.filter(status=SELECTED)["label"]
    kept = pl.col("labels").list.eval(pl.element().filter(pl.element().is_in(chosen.implode())))
    return sets.with_columns(kept).filter(pl.col("labels").list.len() > 0).sort("image_id")


def label_matrix(sets: pl.Series, labels: Sequence[str]) -> np.ndarray:
    """Return whether each image has each label: bool (images, labels).

    Args:
        sets: lists of labels, each of them among `labels`.
        labels: ascending.
    """
    matrix = np.zeros((len(sets), len(labels)), bool)
    rows = np.repeat(np.arange(len(sets)), sets.list.len().to_numpy())
    matrix[rows, np.searchsorted(list(labels), sets.explode(empty_as_null=False).to_numpy())] = True
    return matrix


def split_images(images: pl.DataFrame, duplicates: pl.DataFrame, seed: int, params: SplitParams) -> pl.DataFrame:
    """Return `schemas.LABEL_SPLITS` as a data frame for one seed.

    Args:
        images: `image_id`, `labels`, `split` (given or null), rows by image id.
        duplicates: `schemas.DUPLICATES`.
        seed: of the split.
        params: the shares.

    Raises:
        UserError: a split gets no image, or only some images have a given split.
    """
    given = images["split"]
    if given.null_count() not in (0, len(images)):
        raise UserError(
            f"{given.null_count():,} of {len(images):,} images have no given split; give one for all or none"
        )
    names = sorted(set(images["labels"].explode(empty_as_null=False)))
    matrix = label_matrix(images["labels"], names)
    copies = images.join(
        duplicates.select("image_id", "group").unique(), on="image_id", how="left", maintain_order="left"
    )
    groups = copies["group"].fill_null(copies["image_id"]).rank("dense").to_numpy().astype(np.int64)
    if given.null_count():
        test = params.test
        shares = {
            "train": (1 - test) * (1 - params.validation),
            "validation": (1 - test) * params.validation,
            "test": test,
        }
        found = stratify(matrix, images["image_id"].to_list(), shares, seed, groups)
        split = np.array(list(shares))[found]
    else:
        split = given.to_numpy().astype(object)
        if not (given == "validation").any():
            rows = np.flatnonzero(split == "train")
            shares = {"train": 1 - params.validation, "validation": params.validation}
            found = stratify(matrix[rows], images["image_id"].gather(rows).to_list(), shares, seed, groups[rows])
            split[rows] = np.array(list(shares))[found]
    for name in ("train", "validation", "test"):
        if not (split == name).any():
            raise UserError(f"seed {seed}: split {name} has none of the {len(images):,} images; give it a larger share")
    found_splits = pl.Series(split.astype(str), dtype=pl.String)
    return images.with_columns(domain=pl.lit("source"), split=found_splits).select(schemas.LABEL_SPLITS.names)


def summarise(sets: pl.DataFrame, labels: pl.DataFrame, splits: dict[int, pl.DataFrame]) -> dict[str, Any]:
    """Return numbers of labels by status, of images, and for each seed of images and unseen labels by split."""
    by_status = dict(labels["status"].value_counts().sort("status").iter_rows())
    first = next(iter(splits.values()))
    seeds = {}
    for seed, rows in splits.items():
        trained = set(rows.filter(split="train")["labels"].explode())
        unseen = sorted(set(rows.filter(pl.col("split") != "train")["labels"].explode()) - trained)
        sizes = dict(rows["split"].value_counts().sort("split").iter_rows())
        seeds[str(seed)] = {"images": sizes, "labels without a training image": unseen}
    return {
        "labels": by_status,
        "images": {"selected": len(first), "without a selected label": len(sets) - len(first)},
        "seeds": seeds,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingested", type=Path, required=True, help="folder from pipelines.annotations.ingest")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("annotation split") as closing:
        params = load_section(SplitParams, "annotation.split", arguments.params)
        sets = pl.DataFrame(read_tables(arguments.ingested / "labels.parquet"))
        duplicates = pl.DataFrame(read_tables(arguments.ingested / "duplicates.parquet"))
        labels = select_labels(sets, params.minimum_images)
        images = select_images(sets, labels)
        if images.is_empty():
            raise UserError(
                f"{arguments.ingested}: none of {len(labels):,} labels has annotation.split.minimum_images = "
                f"{params.minimum_images} images; lower it"
            )
        splits = {seed: split_images(images, duplicates, seed, params) for seed in read_seeds(arguments.params)}
        summary = summarise(sets, labels, splits)
        with whole_directory(arguments.output) as folder:
            selected = images.select("image_id", pl.lit("source").alias("domain"))
            write_table(selected.to_arrow(), folder / "images.parquet")
            write_table(labels.to_arrow().cast(schemas.LABELS), folder / "labels.parquet")
            for seed, rows in splits.items():
                write_table(rows.to_arrow().cast(schemas.LABEL_SPLITS), folder / f"seed-{seed}.parquet")
            write_json(summary, folder / "summary.json")
        closing.counts = as_counts("labels", summary["labels"]) | as_counts("images", summary["images"])
        closing.wrote[str(arguments.output)] = f"{len(images):,} images, splits of {len(splits)} seeds"
        closing.next_command = "python -m pipelines.words.vocabulary (see stages/annotation/dvc.yaml)"


if __name__ == "__main__":
    main()

"""Train the classifiers that find doubtful labels, on the noisy source images.

    python -m systems.cleaning.train --images data/sets/toy/ingested/images --output data/sets/toy/cleaner

In: the ingested images (`schemas.IMAGES`), source domain only.
Out: `folds.parquet` (`schemas.FOLDS`: which network scores which image) and one model folder `fold-N/` per fold, as
`model.training.trainer` writes it, with the single phase `cleaner`.

With `cleaning.train.folds: 1`, as in the paper (section IV-A), one network learns from all images and scores the same
images. With k > 1 folds the network of fold f learns from the images of all other folds, so that no image is scored
by a network that has seen it. Neither case has validation images: the weights after the last epoch are taken.

Categories with fewer images than `cleaning.train.minimum_category_size` are left out and named in the closing
lines; their images get no probability, and Table II drops them.

On several GPUs, of one machine or more: accelerate launch .. -m systems.cleaning.train .. (docs/scaling.md).
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
from pydantic import Field, model_validator

from base import schemas
from base.artifacts import read_tables, whole_directory, write_table
from base.console import UserError, log, stage
from base.params import DEFAULT_PATH, Params, load_section
from base.seeding import derive_seed
from model.classification import LabelledImages, classifier_run
from model.classifier_params import ClassifierParams, TrainParams
from model.training.curves import run_name

PHASE = "cleaner"
HELD_OUT = "held out"  # `split` of the images that a fold's network scores


class CleanerParams(Params):
    """The classifier that finds doubtful labels; its network is the section `cleaning.network`."""

    minimum_category_size: int = Field(description="smaller source categories are dropped before training", ge=1)
    folds: int = Field(
        description="1: one network scores the images it learned from (the paper); k: each image is scored by the one "
        "of k networks that has not seen it",
        ge=1,
    )
    seed: int = Field(description="of initialisation, batches, crops and folds; all `seeds` use the same cleaner", ge=0)
    train: TrainParams

    @model_validator(mode="after")
    def _no_fold_holds_a_whole_category(self) -> "CleanerParams":
        if self.folds > 1 and self.minimum_category_size < 2:
            raise ValueError(
                f"with folds = {self.folds}, minimum_category_size must be 2 or more: the only image of a category "
                "cannot be scored by a network that has not seen it"
            )
        return self


def training_rows(images: pl.DataFrame, minimum_category_size: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the source images to train on, and the categories that are too small.

    Args:
        images: `image_id`, `domain`, `category` of all ingested images.
        minimum_category_size: number of images that a category needs.

    Returns:
        Rows with a `split` of train, by image id; and `category`, `images` of the categories left out.

    Raises:
        UserError: fewer than two categories are large enough.
    """
    source = images.filter(pl.col("domain") == "source")
    sizes = source.group_by("category").agg(pl.len().alias("images")).sort("category")
    too_small = sizes.filter(pl.col("images") < minimum_category_size)
    if len(sizes) - len(too_small) < 2:
        raise UserError(
            f"{len(sizes) - len(too_small)} of {len(sizes)} source categories have "
            f"cleaning.train.minimum_category_size = {minimum_category_size} images or more, but a classifier needs "
            "two categories; lower the minimum"
        )
    rows = source.join(too_small, on="category", how="anti").sort("image_id")
    return rows.with_columns(pl.lit("train").alias("split")), too_small


def assign_folds(rows: pl.DataFrame, folds: int, seed: int) -> pl.DataFrame:
    """Return the fold of each image, whose network scores it.

    Each category's images are dealt out to the folds in turn, in the order of a hash of the image id, beginning with a
    fold that is a hash of the category. So the sizes of a category's folds differ by at most one, small categories do
    not all begin with fold 0, and a new image moves no image of another category.

    Args:
        rows: `image_id`, `category` of the images to train on.
        folds: number of folds, k.
        seed: the cleaner's seed.

    Returns:
        The columns of `schemas.FOLDS`, rows by image id.

    Raises:
        UserError: there are more folds than images in the largest category, so a fold might stay empty.
    """
    largest = rows["category"].value_counts()["count"].max()
    assert isinstance(largest, int)
    if folds > largest:
        raise UserError(
            f"cleaning.train.folds = {folds}, but the largest source category has {largest} images; set fewer folds"
        )
    order = [derive_seed(seed, "fold of image", image_id) for image_id in rows["image_id"]]
    first = {name: derive_seed(seed, "first fold", name) % folds for name in rows["category"].unique()}
    return (
        rows.select("image_id", "category", order=pl.Series(order, dtype=pl.UInt64))
        .with_columns(
            fold=(
                pl.int_range(pl.len()).over("category", order_by=["order", "image_id"])
                + pl.col("category").replace_strict(first, return_dtype=pl.Int64)
            )
            % folds
        )
        .select("image_id", "category", pl.col("fold").cast(pl.Int32))
        .sort("image_id")
    )


def images_of_fold(images: LabelledImages, folds: pl.DataFrame, fold: int) -> LabelledImages:
    """Return the images that a fold's network learns from: those of the other folds, or all if there is one fold.

    Args:
        images: all images to train on.
        folds: the folds of the same images, from :func:`assign_folds`.
        fold: number of the fold, from 0.
    """
    if folds["fold"].n_unique() == 1:
        return images
    rows = images.rows.join(folds, on=["image_id", "category"], how="left", validate="1:1", maintain_order="left")
    split = pl.when(pl.col("fold") == fold).then(pl.lit(HELD_OUT)).otherwise("split").alias("split")
    return replace(
        images,
        rows=rows.with_columns(split).drop("fold"),
        fingerprint=f"{images.fingerprint}, without fold {fold} of {folds['fold'].n_unique()}",
    )


def train_folds(
    network: ClassifierParams, params: CleanerParams, images: LabelledImages, folds: pl.DataFrame, output: Path
) -> None:
    """Train one network per fold and write `folds.parquet` and the model folders, whole or not at all.

    A repeated call continues an interrupted one in the fold where it stopped: finished folds are kept beside the
    checkpoints.

    Args:
        network: parameters of each fold's network.
        params: how the networks are trained, and the seed.
        images: all images to train on.
        folds: the folds of the same images, from :func:`assign_folds`.
        output: the folder to write.
    """
    # imported here, because torch takes seconds to import and bad parameters are reported first
    from model.training.checkpoints import DIGESTS, Checkpoints, seal
    from model.training.ranks import training_processes, writes_alone
    from model.training.trainer import train

    numbers = sorted(folds["fold"].unique())
    name = run_name(output, "data")  # unique: another data set's cleaner may be trained at the same time
    runs = {
        fold: classifier_run(
            f"{name}/fold-{fold}",
            PHASE,
            network,
            params.train,
            images_of_fold(images, folds, fold),
            params.seed,
            "source",
        )
        for fold in numbers
    }
    fingerprint = " ".join(run.fingerprint for run in runs.values())
    finished = Checkpoints(f"{name}/finished", fingerprint, training_processes().num_processes)
    with writes_alone() as this_process:
        if this_process:
            finished.drop_damaged({})
    for fold, run in runs.items():
        if (finished.folder / f"fold-{fold}").is_dir():
            log.info("cleaner, fold %d of %d: already trained", fold + 1, len(numbers))
            continue
        train(run, finished.folder / f"fold-{fold}")
        with writes_alone() as this_process:
            if this_process:
                seal(finished.folder / f"fold-{fold}")
    with writes_alone() as this_process:
        if this_process:
            with whole_directory(output) as folder:
                for fold in numbers:
                    trained, left_out = finished.folder / f"fold-{fold}", shutil.ignore_patterns(DIGESTS)
                    shutil.copytree(trained, folder / f"fold-{fold}", ignore=left_out)
                write_table(folds.to_arrow().cast(schemas.FOLDS), folder / "folds.parquet")
            finished.remove()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("train cleaner") as closing:
        params = load_section(CleanerParams, "cleaning.train", arguments.params)
        network = load_section(ClassifierParams, "cleaning.network", arguments.params)
        table = read_tables(arguments.images, columns=["image_id", "domain", "category"])
        rows, too_small = training_rows(pl.DataFrame(table), params.minimum_category_size)
        folds = assign_folds(rows, params.folds, params.seed)
        cache = params.train.cache_images
        images = LabelledImages.read(arguments.images, rows, network.resize, cache, read=False)
        train_folds(network, params, images, folds, arguments.output)
        closing.counts = {
            "folds": params.folds,
            "source images trained on": len(rows),
            "source categories trained on": rows["category"].n_unique(),
            "source images in categories too small": int(too_small["images"].sum()),
        }
        for row in too_small.iter_rows(named=True):
            closing.counts[f"category too small: {row['category']}, images"] = row["images"]
        closing.wrote[str(arguments.output)] = (
            f"{params.folds} classifier{'s' if params.folds > 1 else ''} of {rows['category'].n_unique()} categories"
        )
        closing.next_command = "python -m systems.cleaning.score (see stages/cleaning/dvc.yaml)"


if __name__ == "__main__":
    main()

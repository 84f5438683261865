"""Train the classifier on the noisy source images, all of them: it is to say which labels it doubts.

    python -m model.train_cleaner --images data/ingested/images --output data/cleaner

In: the ingested images (`schemas.IMAGES`), source domain only.
Out: a model folder, as `model.train` writes it, with the one phase `cleaner`.

Categories with fewer images than `cleaner.minimum_category_size` are left out and named in the closing lines; their
images get no probability and Table II drops them. As in the paper (section IV-A) there are no held-out images: the
last epoch is taken, and the images scored later are those trained on.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import Field

from model.config import LossTerm, NetworkParams, Phase, Recipe, TrainParams
from model.examples import Examples
from pipelines.artifacts import read_tables
from pipelines.console import UserError, stage
from pipelines.params import DEFAULT_PATH, Params, load_section

PHASE = "cleaner"


class CleanerParams(Params):
    """The classifier that finds doubtful labels; its network is that of the section `network`."""

    minimum_category_size: int = Field(description="smaller source categories are dropped before training", ge=1)
    seed: int = Field(description="of initialisation, batches and crops; one cleaner serves all `seeds`", ge=0)
    train: TrainParams


def cleaner_recipe(network: NetworkParams, train: TrainParams) -> Recipe:
    """Return the recipe of a plain classifier of the source domain: one phase, cross-entropy, visual feature."""
    return Recipe(
        method="cleaner",
        network=network.model_copy(update={"embedding": None}),
        train=train,
        phases=[
            Phase(
                name=PHASE,
                losses=[LossTerm(domain="source", kind="recognition", weight=1.0)],
                start="backbone",
                frozen=[],
                features="visual",
            )
        ],
    )


def training_rows(images: pl.DataFrame, minimum_category_size: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the source images to train on, and the categories that are too small.

    Args:
        images: `image_id`, `domain`, `category` of all ingested images.
        minimum_category_size: images.

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
            f"{len(sizes) - len(too_small)} of {len(sizes)} source categories have cleaner.minimum_category_size = "
            f"{minimum_category_size} images or more: a classifier needs two categories"
        )
    rows = source.join(too_small, on="category", how="anti").sort("image_id")
    return rows.with_columns(pl.lit("train").alias("split")), too_small


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--output", type=Path, required=True, help="model folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args(argv)
    with stage("train_cleaner") as closing:
        params = load_section(CleanerParams, "cleaner", arguments.params)
        recipe = cleaner_recipe(load_section(NetworkParams, "network", arguments.params), params.train)
        table = read_tables(arguments.images, columns=["image_id", "domain", "category"])
        rows, too_small = training_rows(pl.DataFrame(table), params.minimum_category_size)
        examples = Examples.read(arguments.images, rows, None, recipe.network, params.train.cache_images)
        from model.trainer import train  # torch takes seconds to import: bad parameters are found first

        train(recipe, examples, params.seed, arguments.output, run="cleaner")
        closing.counts = {
            "source images trained on": len(rows),
            "source categories trained on": rows["category"].n_unique(),
            "source images in categories too small": int(too_small["images"].sum()),
        }
        for row in too_small.iter_rows(named=True):
            closing.counts[f"category too small: {row['category']}, images"] = row["images"]
        closing.wrote[str(arguments.output)] = f"a classifier of {rows['category'].n_unique()} categories"
        closing.next_command = "python -m pipelines.score"


if __name__ == "__main__":
    main()

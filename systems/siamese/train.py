"""Train one recipe with one seed: softmax on the source, then the control and the siamese fine-tuning from its weights.

    python -m systems.siamese.train --recipe data/siamese/recipes/clicks.json --seed 0 \\
        --images data/sets/toy/ingested/images --split data/siamese/recipes/clicks/seed-0.parquet \\
        --output data/siamese/models/clicks/seed-0

In: a recipe, its images of that seed (train and validation are used; test images are not read), the ingested images.
Out: a model folder, see `model.training.trainer.train`.

The epoch of each phase is chosen by the accuracy on the source's validation images, whose labels are the run's own. A
repeated call continues an interrupted run.

On several GPUs, of one machine or more: accelerate launch .. -m systems.siamese.train .. (docs/scaling.md).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from base.artifacts import read_tables
from base.console import stage
from model.training.curves import run_name
from systems.siamese.config import read_recipe

COLUMNS, SOFT = ["domain", "image_id", "category", "split"], ["categories", "probabilities"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe, from systems.siamese.recipes")
    parser.add_argument("--seed", type=int, required=True, help="of initialisation, batches, crops and dropout")
    parser.add_argument("--images", type=Path, required=True, help="folder of the ingested images")
    parser.add_argument("--split", type=Path, required=True, help="the run's images of the same seed")
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    arguments = parser.parse_args(argv)
    name = f"siamese/{run_name(arguments.output)}"
    with stage(f"train {name}") as closing:
        recipe = read_recipe(arguments.recipe)
        # imported here, because torch takes seconds to import and a wrong recipe is reported first
        from model.classification import LabelledImages
        from model.training.trainer import train
        from systems.siamese.soft_labels import label_matrix
        from systems.siamese.task import training_run

        split = pl.DataFrame(read_tables(arguments.split, [*COLUMNS, *(SOFT if recipe.soft else [])]))
        rows = split.filter(pl.col("split").is_in(["train", "validation"])).sort("domain", "image_id")
        resize, cache = recipe.network.resize, recipe.train.cache_images
        images = LabelledImages.read(arguments.images, rows.select(COLUMNS), resize, cache, read=False)
        targets = label_matrix(rows, images.categories) if recipe.soft else None
        chosen = train(training_run(recipe, images, arguments.seed, name, targets), arguments.output)
        for part in ("train", "validation"):
            closing.counts[f"{part} images"] = len(images.row_numbers(part))
        phases = ", ".join(f"{epoch.phase}: epoch {epoch.epoch} of {epoch.of}" for epoch in chosen)
        closing.wrote[str(arguments.output)] = phases
        closing.next_command = f"python -m systems.siamese.evaluate --model {arguments.output} ..."


if __name__ == "__main__":
    main()

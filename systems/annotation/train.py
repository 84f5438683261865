"""Train a recipe for one seed.

    python -m systems.annotation.train --recipe data/annotation/evaluations/recipes/MS-CNN.json --seed 0 \\
        --data data/annotation/sets/toy --output data/annotation/models/MS-CNN/seed-0

In: a recipe; the data set's folder with images, tags and the seed's split (test images are not read).
Out: a model folder, see `model.training.trainer.train`.

The epoch of each phase is chosen by the validation images: by H-F1 of the top labels (of `joint`, of the predicted
number of labels), or by the squared error of the predicted number. A repeated call continues an interrupted run.

On several GPUs, of one machine or more: accelerate launch .. -m systems.annotation.train .. (docs/scaling.md).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from model.training.curves import run_name
from systems.annotation.config import read_recipe


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe, from systems.annotation.recipes")
    parser.add_argument("--seed", type=int, required=True, help="of split, initialisation, batches, crops and dropout")
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    arguments = parser.parse_args(argv)
    name = f"annotation/{run_name(arguments.output)}"
    with stage(f"train {name}") as closing:
        recipe = read_recipe(arguments.recipe)
        # imported here, because torch takes seconds to import and a wrong recipe is reported first
        from model.training.trainer import train
        from systems.annotation.data import AnnotatedImages
        from systems.annotation.task import training_run

        data = AnnotatedImages.read(
            arguments.data,
            arguments.seed,
            recipe.network.resize,
            recipe.train.cache_images,
            ("train", "validation"),
            shuffled=recipe.tags == "shuffled",
            read=False,
        )
        chosen = train(training_run(recipe, data, arguments.seed, name), arguments.output)
        for part in ("train", "validation"):
            closing.counts[f"{part} images"] = len(data.row_numbers(part))
        phases = ", ".join(f"{epoch.phase}: epoch {epoch.epoch} of {epoch.of}" for epoch in chosen)
        closing.wrote[str(arguments.output)] = phases
        closing.next_command = f"python -m systems.annotation.evaluate --model {arguments.output} ..."


if __name__ == "__main__":
    main()

"""Train one recipe with one seed.

    python -m systems.tagging.train --recipe data/tagging/results/recipes/A6.json --seed 0 \\
        --tags data/sets/toy/tags --splits data/sets/toy/tag_splits --images data/sets/toy/ingested/images \\
        --output data/tagging/models/A6/seed-0

In: a recipe, the posts of that seed (train and validation are used; test posts are not), and the pictures or, with
features as input, their frozen features.
Out: a model folder, see `model.training.trainer.train`. It names no user.

The epoch is chosen by the precision of five recommended tags on the validation posts. A repeated call continues an
interrupted run.

On several GPUs, of one machine or more: accelerate launch .. -m systems.tagging.train .. (docs/scaling.md).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from model.training.curves import run_name
from systems.tagging.config import read_recipe
from systems.tagging.sources import add_sources, sources_of


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe, from systems.tagging.recipes")
    parser.add_argument("--seed", type=int, required=True, help="of split, initialisation, batches and crops")
    add_sources(parser)
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    arguments = parser.parse_args(argv)
    name = f"tagging/{run_name(arguments.output)}"
    with stage(f"train {name}") as closing:
        recipe = read_recipe(arguments.recipe)
        # imported here, because torch takes seconds to import and a wrong recipe is reported first
        from model.training.trainer import train
        from systems.tagging.posts import Posts
        from systems.tagging.task import training_run

        sources = sources_of(arguments, arguments.seed)
        pixels, cache = recipe.network.pixels, recipe.train.cache_images
        posts = Posts.read(sources, ["train", "validation"], pixels, cache, read=False)
        chosen = train(training_run(recipe, posts, arguments.seed, name), arguments.output)
        for part in ("train", "validation"):
            closing.counts[f"{part} posts"] = len(posts.row_numbers(part))
        phases = ", ".join(f"{epoch.phase}: epoch {epoch.epoch} of {epoch.of}" for epoch in chosen)
        closing.wrote[str(arguments.output)] = phases
        closing.next_command = f"python -m systems.tagging.evaluate --model {arguments.output} ..."


if __name__ == "__main__":
    main()

"""Train one recipe with one seed.

    python -m systems.mtmdd.train --recipe data/mtmdd/recipes/TDL.json --seed 0 \\
        --images data/sets/toy/ingested/images --split data/sets/toy/splits/seed-0.parquet \\
        --features data/sets/toy/features --output data/mtmdd/models/TDL/seed-0

In: a recipe, the ingested images, a split file (train and validation are used; test images are not read), vocabulary
and click features.
Out: a model folder, see `model.training.trainer.train`.

A repeated call continues an interrupted run. During the training its curves are in .state/curves, with images per
second and the share of time spent waiting for data.

A recipe of the cross-object study uses the source of another data set: give --source-images, --source-split and
--features of that data set.

On several GPUs, of one machine or more: accelerate launch .. -m systems.mtmdd.train .. (docs/scaling.md). The batch
size is that of all processes together; with train.groups each process reads images of its own.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from base.console import stage
from base.params import load_recipe
from model.training.curves import live_folder, run_name
from systems.mtmdd.config import Recipe
from systems.mtmdd.dispatch import run_command_of
from systems.mtmdd.examples import Examples, add_data, add_other_source, other_source, read_rows

if TYPE_CHECKING:
    from systems.mtmdd.task import PhaseTask

COMMAND = "systems.mtmdd.train"


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        UserError: the file doesn't exist, is not a regular file, or is not a recipe (the message lists the problems).
    """
    return load_recipe(Recipe, path, "systems.mtmdd.recipes")


def main(
    argv: Sequence[str] | None = None, command: str = COMMAND, kind: "Callable[..., PhaseTask] | None" = None
) -> None:
    """Run the stage.

    Args:
        argv: the arguments; None: those of the process.
        command: the module that runs; a recipe may name another, which then replaces this process.
        kind: makes a phase's task (`systems.mtmdd.task.training_run`); None: `PhaseTask`.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--recipe", type=Path, required=True, help="the recipe to train (.json, from systems.mtmdd.recipes)"
    )
    parser.add_argument("--seed", type=int, required=True, help="of initialisation, batches, crops and dropout")
    add_data(parser, split="split file, normally of the same seed")
    add_other_source(parser)
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    arguments = parser.parse_args(argv)
    run = run_name(arguments.output)
    with stage(f"train {run}") as closing:
        recipe = read_recipe(arguments.recipe)
        given = sys.argv[1:] if argv is None else argv
        run_command_of(recipe.train_command, command, COMMAND, str(arguments.recipe), given)
        uses_clicks = any(phase.uses_clicks for phase in recipe.phases)
        other = other_source(recipe, arguments.source_images, arguments.source_split)
        examples = Examples.read(
            arguments.images if other is None else {"source": other.images, "target": arguments.images},
            read_rows(arguments.split, recipe, arguments.seed, other),
            arguments.features if uses_clicks else None,
            recipe.network,
            recipe.train.cache_images,
            read=False,
        )
        # imported here, so that --help and a wrong recipe don't wait for torch's optimiser
        from model.training.trainer import train
        from systems.mtmdd.task import PhaseTask, training_run

        training = training_run(recipe, examples, arguments.seed, run, kind=kind or PhaseTask)
        chosen = train(training, arguments.output)
        for split in ("train", "validation"):
            closing.counts[f"{split} images"] = sum(len(examples.row_numbers(d, split)) for d in ("source", "target"))
        phases = ", ".join(f"{epoch.phase}: epoch {epoch.epoch} of {epoch.of}" for epoch in chosen)
        closing.wrote[str(arguments.output)] = phases
        watched = live_folder(run, "")
        if watched is not None:
            closing.wrote[str(watched)] = "curves with images per second and share of time spent waiting for data"
        closing.next_command = f"python -m systems.mtmdd.evaluate --model {arguments.output} ..."


if __name__ == "__main__":
    main()

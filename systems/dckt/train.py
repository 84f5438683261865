"""Train one recipe with one seed: each domain alone, then the transfer from both.

    python -m systems.dckt.train --recipe data/dckt/recipes/DCKT.json --seed 0 --data data/dckt \\
        --output data/dckt/models/DCKT/seed-0

In: a recipe, the features and the split of both domains (`systems.dckt.features`), and the target's texts; training and
validation pairs are used, test pairs are not.
Out: a model folder, see `model.training.trainer.train`, with ``texts.parquet`` (`schemas.INDEXED`): the texts of the
target's training pairs with their codes, among which the model finds texts for pictures.

The epoch of each phase, also the iteration of the transfer, is chosen by the MAP on validation pairs: the source's for
its pre-training, the target's for the others. A repeated call continues an interrupted run.

On several GPUs, of one machine or more: accelerate launch .. -m systems.dckt.train .. (docs/scaling.md).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.console import stage
from model.training.curves import run_name
from systems.dckt.config import SOURCE, TARGET, read_recipe


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, required=True, help="the recipe, from systems.dckt.recipes")
    parser.add_argument("--seed", type=int, required=True, help="of splits, initialisation, batches and selection")
    parser.add_argument("--data", type=Path, required=True, help="folder of the domains' folders, source and target")
    parser.add_argument("--output", type=Path, required=True, help="the model folder")
    arguments = parser.parse_args(argv)
    name = f"dckt/{run_name(arguments.output)}"
    with stage(f"train {name}") as closing:
        recipe = read_recipe(arguments.recipe)
        # imported here, because torch takes seconds to import and a wrong recipe is reported first
        from model.training.trainer import train
        from systems.dckt.features import read_features
        from systems.dckt.task import training_run
        from systems.dckt.texts import read_texts

        source, target = (read_features(arguments.data / domain, arguments.seed) for domain in (SOURCE, TARGET))
        texts = read_texts(arguments.data / TARGET)
        run = training_run(recipe, source, target, arguments.seed, name, texts)
        chosen = train(run, arguments.output)
        closing.counts |= {f"{name} pairs": number for name, number in run.description["pairs"].items()}
        phases = ", ".join(f"{epoch.phase}: epoch {epoch.epoch} of {epoch.of}" for epoch in chosen)
        closing.wrote[str(arguments.output)] = phases
        closing.next_command = f"python -m systems.dckt.evaluate --model {arguments.output} ..."


if __name__ == "__main__":
    main()

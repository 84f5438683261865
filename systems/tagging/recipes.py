"""Resolve the runs into recipes: what each training depends on besides data and seed.

    python -m systems.tagging.recipes --output data/tagging/results/recipes

In: the parameter file's sections tagging.plan, .network, .loss and .train. Out: ``<run>.json`` for each run, with the
same bytes as before unless something changed that the run uses.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_directory, write_json
from base.console import stage
from base.params import DEFAULT_PATH, load_section
from systems.tagging.config import LossParams, NetworkParams, PlanParams, TrainParams, recipe_of


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("tagging recipes") as closing:
        plan = load_section(PlanParams, "tagging.plan", arguments.params)
        network = load_section(NetworkParams, "tagging.network", arguments.params)
        loss = load_section(LossParams, "tagging.loss", arguments.params)
        train = load_section(TrainParams, "tagging.train", arguments.params)
        recipes = [recipe_of(point, network, loss, train) for point in plan.points]
        with whole_directory(arguments.output) as folder:
            for recipe in recipes:
                write_json(recipe.model_dump(mode="json"), folder / f"{recipe.run}.json")
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes"
        first = f"{recipes[0].run}.json" if recipes else "RUN.json"
        closing.next_command = f"python -m systems.tagging.train --recipe {arguments.output}/{first} ..."


if __name__ == "__main__":
    main()

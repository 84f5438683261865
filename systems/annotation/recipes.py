"""Resolve the runs into recipes: what each training depends on besides its data.

    python -m systems.annotation.recipes --output data/annotation/evaluations/recipes

In: the parameter file's sections annotation.plan, .network, .train, .stages and .evaluate (`top`).
Out: ``<run>.json`` for each run, with the same bytes as before unless something changed that the run uses.

The folder lies below the evaluations, so that these exist, and the report can depend on them, even without a run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_directory, write_json
from base.console import stage
from base.params import DEFAULT_PATH, load_section
from model.classifier_params import TrainParams
from systems.annotation.config import NetworkParams, PlanParams, StagesParams, recipe_of
from systems.annotation.rules import RuleParams


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("annotation recipes") as closing:
        plan = load_section(PlanParams, "annotation.plan", arguments.params)
        network = load_section(NetworkParams, "annotation.network", arguments.params)
        train = load_section(TrainParams, "annotation.train", arguments.params)
        stages = load_section(StagesParams, "annotation.stages", arguments.params)
        top = load_section(RuleParams, "annotation.evaluate", arguments.params).top
        recipes = [recipe_of(point, top, network, train, stages) for point in plan.points]
        with whole_directory(arguments.output) as folder:
            for recipe in recipes:
                write_json(recipe.model_dump(mode="json"), folder / f"{recipe.run}.json")
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes"
        closing.next_command = "python -m systems.annotation.train (see stages/annotation/dvc.yaml)"


if __name__ == "__main__":
    main()

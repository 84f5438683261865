"""Resolve the runs into recipes, each with all that its training depends on besides data and seed.

    python -m systems.dckt.recipes --output data/dckt/recipes --plan data/dckt/evaluations/runs.json

In: the parameter file's sections dckt.runs, .network, .objective, .train and .transfer, and the seeds.
Out: ``<run>.json`` for each of `dckt.runs.networks`. A recipe has the same bytes as before unless a parameter changed
that the run uses, so a training isn't stale because of another run. Comparison methods have no recipe. And the plan,
the runs and seeds that the report expects; it is beside the evaluations, so that their folder always exists.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_directory, write_json
from base.console import stage
from base.params import DEFAULT_PATH, load_section, read_seeds
from systems.dckt.config import (
    NetworkParams,
    ObjectiveParams,
    PhasesParams,
    RunsParams,
    TransferParams,
    read_run,
    recipe_of,
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--plan", type=Path, required=True, help="file to write: the declared runs")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("dckt recipes") as closing:
        runs = load_section(RunsParams, "dckt.runs", arguments.params)
        network = load_section(NetworkParams, "dckt.network", arguments.params)
        objective = load_section(ObjectiveParams, "dckt.objective", arguments.params)
        train = load_section(PhasesParams, "dckt.train", arguments.params)
        transfer = load_section(TransferParams, "dckt.transfer", arguments.params)
        recipes = [recipe_of(read_run(run), network, objective, train, transfer) for run in runs.networks]
        with whole_directory(arguments.output) as folder:
            for recipe in recipes:
                write_json(recipe.model_dump(mode="json"), folder / f"{recipe.run}.json")
        seeds = read_seeds(arguments.params)
        plan = {"networks": runs.networks, "baselines": runs.baselines, "seeds": seeds, "alpha": transfer.alpha}
        write_json(plan, arguments.plan)
        closing.wrote[str(arguments.output)] = f"{len(recipes)} recipes"
        closing.wrote[str(arguments.plan)] = f"{len(runs.every)} runs, {len(seeds)} seeds"
        first = f"{recipes[0].run}.json" if recipes else "RUN.json"
        closing.next_command = f"python -m systems.dckt.train --recipe {arguments.output}/{first} ..."


if __name__ == "__main__":
    main()

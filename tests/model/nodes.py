"""The script that each of two machines runs in `test_several_processes.py`: it trains, then the second one dies.

accelerate launch --num_machines 2 --machine_rank RANK .. tests/model/nodes.py DATA OUTPUT
"""

import os
import signal
import sys
from pathlib import Path

import polars as pl
from training_runs import train_recipe

from base.console import stage
from model.training.ranks import training_processes
from systems.mtmdd import task
from systems.mtmdd.config import Recipe
from systems.mtmdd.examples import Examples

DATA, OUTPUT = Path(sys.argv[1]), Path(sys.argv[2])


def main() -> None:
    """Train a whole run, then one in which the second process is killed in its second epoch."""
    params = Recipe.model_validate_json((DATA / "recipe.json").read_text())
    rows = pl.read_parquet(DATA / "seed-0.parquet").select("image_id", "domain", "category", "split")
    examples = Examples.read(
        DATA / "images", rows.sort("domain", "image_id"), DATA / "features", params.network, cache=True
    )
    recipe = params.model_copy(update={"train": params.train.model_copy(update={"epochs": 2})})
    train_recipe(recipe, examples, 0, OUTPUT / "nodes", "nodes")
    step = task.PhaseTask.step

    def stepped(self, learner):
        if learner.step == 4 and training_processes().process_index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, learner)

    task.PhaseTask.step = stepped
    with stage("train dying"):
        train_recipe(recipe, examples, 0, OUTPUT / "dying", "dying")


if __name__ == "__main__":
    main()

"""Trains and kills itself; `test_killed_training.py` starts this script.

    python tests/model/killed_training.py DATA OUTPUT KILLS [KILLS ..]

KILLS is a list of moments, as in ``7,12s,31``: the run kills itself with SIGKILL before its seventh step, is started
again, kills itself while it saves its state after its twelfth step, and so on; the last start runs to the end. With
``-`` the run is never killed. Every run is a process of its own, forked from this one, which has only imported modules.
"""

import os
import signal
import sys
from pathlib import Path

import dvclive  # noqa: F401 - imported here once for all runs
import polars as pl
import torch
from training_runs import train_recipe

from model.training import trainer
from systems.mtmdd.config import Recipe
from systems.mtmdd.examples import Examples
from systems.mtmdd.task import PhaseTask


def train(data: Path, output: Path, run: str, moment: str) -> None:
    recipe = Recipe.model_validate_json((data / "recipe.json").read_text())
    rows = pl.read_parquet(data / "seed-0.parquet").select("image_id", "domain", "category", "split")
    examples = Examples.read(
        data / "images", rows.sort("domain", "image_id"), data / "features", recipe.network, cache=True
    )
    step, save_state, taken = PhaseTask.step, trainer.Accelerator.save_state, []
    number, while_saving = int(moment.strip("s") or -1), moment.endswith("s")

    def stepped(self, learner):
        taken.append(learner.step)
        if len(taken) == number and not while_saving:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, learner)

    def saved(self, folder, **options):
        save_state(self, folder, **options)
        if while_saving and len(taken) >= number:
            (Path(folder) / "model.safetensors").write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)

    PhaseTask.step, trainer.Accelerator.save_state = stepped, saved
    train_recipe(recipe, examples, 0, output, run)


def main() -> None:
    data, output = Path(sys.argv[1]), Path(sys.argv[2])
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])  # the first optimiser of a process imports the compiler
    for number, kills in enumerate(sys.argv[3:]):
        moments = [] if kills == "-" else kills.split(",")
        for moment in [*moments, ""]:
            child = os.fork()
            if not child:
                train(data, output / str(number), str(number), moment)
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            expected = signal.SIGKILL if moment else 0
            assert status == expected, f"run {number}, {moment!r}: status {status}"


if __name__ == "__main__":
    main()

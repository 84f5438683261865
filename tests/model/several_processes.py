"""The script that each process runs in `test_several_processes.py`: it trains and writes what it found to a file.

accelerate launch --multi_gpu --num_processes 2 tests/model/several_processes.py DATA OUTPUT
"""

import hashlib
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import torch
from accelerate.utils import gather_object
from phase_tasks import Adversarial, NowAndThen
from training_runs import Killed, contents, train_recipe
from unnormalised import build_network_without_norms, unnormalised_recipe

from base.console import UserError
from model.training import trainer
from model.training.params import ScheduleParams
from model.training.ranks import training_processes
from systems.mtmdd import task
from systems.mtmdd.config import Recipe, TrainParams
from systems.mtmdd.examples import Examples

DATA, OUTPUT = Path(sys.argv[1]), Path(sys.argv[2])
PARAMS = Recipe.model_validate_json((DATA / "recipe.json").read_text())
FOUND: dict = {"states": []}


def read_examples() -> Examples:
    rows = pl.read_parquet(DATA / "seed-0.parquet").select("image_id", "domain", "category", "split")
    return Examples.read(
        DATA / "images", rows.sort("domain", "image_id"), DATA / "features", PARAMS.network, cache=True
    )


def watch_states() -> None:
    """Record a digest of each process's network after each epoch."""
    validate = trainer.PhaseTraining._validate

    def watched(self, epoch):
        assert self.accelerator.num_processes == 2
        digest = hashlib.sha256()
        for value in self.network.state_dict().values():
            digest.update(value.numpy().tobytes())
        FOUND["states"].append(gather_object([digest.hexdigest()]))
        return validate(self, epoch)

    trainer.PhaseTraining._validate = watched


def watch_dropout() -> None:
    """Record torch's seed in the first step of each epoch, which dropout uses."""
    train_epoch, FOUND["dropout"] = trainer.PhaseTraining._train_epoch, []

    def watched(self, *arguments):
        FOUND["dropout"].append(torch.initial_seed())
        return train_epoch(self, *arguments)

    trainer.PhaseTraining._train_epoch = watched


def rank_by(numbers: list[float]) -> None:
    """Let each epoch have a given rank, so that it is known when a plateau schedule drops the rate."""
    validate = task.PhaseTask.validate

    def ranked(self, learner):
        return replace(validate(self, learner), rank=[numbers[learner.step // learner.steps_per_epoch]])

    task.PhaseTask.validate = ranked


def watch_choices() -> None:
    """Record the images that each process chooses."""
    choose, FOUND["chosen"] = NowAndThen.choose, []

    def watched(self, learner, epoch):
        rows = choose(self, learner, epoch)
        FOUND["chosen"].append(rows and {domain: of_domain.tolist() for domain, of_domain in rows.items()})
        return rows

    NowAndThen.choose = watched


def at_step(number: int, act) -> None:
    """Call `act` once, before the step with this number, in every process."""
    step, left = task.PhaseTask.step, [number]

    def stepped(self, learner):
        if left and learner.step == left[0]:
            left.clear()
            act(learner)
        return step(self, learner)

    task.PhaseTask.step = stepped


def train_in_groups(examples: Examples, plain: TrainParams) -> None:
    """Train with groups of images, and record what each process reads and keeps decoded."""
    recipe = unnormalised_recipe(plain, batch_size=8, groups=4)
    own = Examples.read(DATA / "images", examples.rows, DATA / "features", recipe.network, cache=True, read=False)
    draws, load = [], task.PhaseTask.load

    def noted(self, stream, drawn):
        draws.extend((stream, draw.row, draw.pass_number) for draw in drawn)
        return load(self, stream, drawn)

    task.PhaseTask.load = noted
    train_recipe(recipe, own, 0, OUTPUT / "groups", "groups")
    task.PhaseTask.load = load
    FOUND["draws"], FOUND["decoded"] = draws, own.images.num_decoded
    at_step(3, kill)  # in the second epoch
    try:
        train_recipe(recipe, own, 0, OUTPUT / "groups-continued", "groups-continued")
    except Killed:
        train_recipe(recipe, own, 0, OUTPUT / "groups-continued", "groups-continued")
    FOUND["same groups"] = contents(OUTPUT / "groups") == contents(OUTPUT / "groups-continued")


def kill(learner) -> None:
    raise Killed


def spoil(learner) -> None:
    """Make the loss of the second process NaN."""
    if training_processes().process_index == 1:
        FOUND["images"] = learner._loaded[0].rows["target"]
        learner.network.recogniser.heads["target"].bias.data[0] = float("nan")


def main() -> None:
    process = training_processes().process_index
    examples = read_examples()
    watch_states()
    watch_dropout()
    plain: TrainParams = PARAMS.train.model_copy(update={"epochs": 2})
    # without computations per batch, the result equals that of one process
    built, task.build_network = task.build_network, build_network_without_norms
    for accumulation in (1, 2):
        recipe = unnormalised_recipe(plain, batch_size=8, accumulation=accumulation)
        train_recipe(recipe, examples, 0, OUTPUT / f"parts-{accumulation}", "unnormalised")
    train_in_groups(examples, plain)
    task.build_network = built
    # killed and continued, with everything that a checkpoint holds
    schedule = ScheduleParams(kind="plateau", warm_up=0.0, drop_factor=0.5, patience=1, drops=9)
    options = plain.model_copy(
        update={"ema": 0.8, "accumulation": 2, "batch_size": 8, "epochs": 6, "schedule": schedule}
    )
    recipe = PARAMS.model_copy(update={"train": options})
    validate = task.PhaseTask.validate
    rank_by([1, 2, 2, 3, 3, 3])
    FOUND["drops"] = train_recipe(recipe, examples, 0, OUTPUT / "whole", "whole")[0].drops
    at_step(9, kill)  # two steps per epoch
    try:
        train_recipe(recipe, examples, 0, OUTPUT / "continued", "continued")
    except Killed:
        FOUND["killed"] = True
    train_recipe(recipe, examples, 0, OUTPUT / "continued", "continued")
    FOUND["same"] = contents(OUTPUT / "whole") == contents(OUTPUT / "continued")
    task.PhaseTask.validate = validate
    # two optimisers, and a module around the network
    recipe = PARAMS.model_copy(update={"train": plain})
    train_recipe(recipe, examples, 0, OUTPUT / "adversarial", "adversarial", kind=Adversarial)
    # images that are chosen at random: equal in both processes
    watch_choices()
    train_recipe(PARAMS, examples, 0, OUTPUT / "chosen", "chosen", kind=NowAndThen)
    # as on two machines (nodes.py)
    train_recipe(PARAMS.model_copy(update={"train": plain}), examples, 0, OUTPUT / "nodes", "nodes")
    # a loss that is NaN in one process
    at_step(1, spoil)
    try:
        train_recipe(PARAMS, examples, 0, OUTPUT / "spoilt", "spoilt")
    except UserError as error:
        FOUND["error"] = str(error)
    (OUTPUT / f"process-{process}.json").write_text(json.dumps(FOUND))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    main()

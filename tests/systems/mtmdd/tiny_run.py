"""The smallest runs of MTMDD-VM and of the methods compared with it, for the test over all systems."""

import importlib
from pathlib import Path

import pytest

from model.training.task import Run
from systems.mtmdd.baselines.methods import BASELINES, COMPARED
from systems.mtmdd.examples import Examples
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import PhaseTask, training_run

SCALE = 100  # metrics.json has percent
VARIANTS = tuple(BASELINES)
UNTRAINED = {"SF": {"source", "target"}}  # phases that only join the networks of earlier ones
variant = "MTMDD-VM-star"  # all its losses are in one phase


def task_of(method: str):
    """Return what makes the tasks of a method's phases."""
    command = COMPARED[method].train
    return PhaseTask if command is None else importlib.import_module(command).task_of


def unused(task: PhaseTask) -> tuple[str, ...]:
    """Return the beginnings of the names of weights that a phase doesn't use: without recognition there is no phi."""
    return () if task.phase.recognised else ("backbone.head.",)


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """All phases of the variant."""
    network, objective, params = map(request.getfixturevalue, ("network_params", "objective_params", "train_params"))
    examples: Examples = request.getfixturevalue("examples")
    recipe = build_recipe(variant, network, objective, params.model_copy(update={"epochs": epochs}))
    return training_run(recipe, examples, 0, "tiny", kind=task_of(variant))


def evaluation() -> str:
    """Return the module that evaluates the variant."""
    return COMPARED[variant].evaluate or "systems.mtmdd.evaluate"


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    data = request.getfixturevalue("tiny_data")
    Path("params.yaml").write_text("mtmdd: {evaluate: {batch_size: 5}}\n")
    return [
        f"--model={model}", f"--images={data.images}", f"--split={data.split}", f"--features={data.features}",
        f"--output={output}",
    ]  # fmt: skip

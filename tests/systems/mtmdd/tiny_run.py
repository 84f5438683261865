"""The smallest run of MTMDD-VM, for the test over all systems."""

from pathlib import Path

import pytest

from model.training.task import Run
from systems.mtmdd.examples import Examples
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import training_run

SCALE = 100  # metrics.json has percent


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """All phases of MTMDD-VM*, the last of which has both domains, categories and both click losses."""
    network, objective, params = map(request.getfixturevalue, ("network_params", "objective_params", "train_params"))
    examples: Examples = request.getfixturevalue("examples")
    recipe = build_recipe("MTMDD-VM-star", network, objective, params.model_copy(update={"epochs": epochs}))
    return training_run(recipe, examples, 0, "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    data = request.getfixturevalue("tiny_data")
    Path("params.yaml").write_text("mtmdd: {evaluate: {batch_size: 5}}\n")
    return [
        f"--model={model}", f"--images={data.images}", f"--split={data.split}", f"--features={data.features}",
        f"--output={output}",
    ]  # fmt: skip

"""The smallest run, for the test over all systems."""

from pathlib import Path

import pytest
from systems.backgrounds.task import Backgrounds, run_of

from model.nets.params import BackboneParams
from model.training.params import TrainParams
from model.training.task import Run

SCALE = 1


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """Its only phase."""
    data = request.getfixturevalue("tiny_data")
    params = request.getfixturevalue("train_params").model_dump(include=set(TrainParams.model_fields))
    train = TrainParams.model_validate(params | {"epochs": epochs})
    network = BackboneParams(backbone="plain", weights="none", image_size=16, resize=24)
    return run_of(Backgrounds(network, train, data.images, data.split, seed=0), "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    data = request.getfixturevalue("tiny_data")
    return [f"--model={model}", f"--images={data.images}", f"--split={data.split}", f"--output={output}"]

"""The smallest run, for the test over all systems: all phases, with the end-to-end variant."""

from pathlib import Path

import pytest
from annotation_data import SEED, read, recipe, write_data_set

from model.training.task import Run
from systems.annotation.task import training_run

SCALE = 100  # metrics.json has percent; squared errors have no unit of that name


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """A run whose ConvNet is trained."""
    data = Path("data")  # written once, because a run that goes on must find the same files
    if not data.exists():
        write_data_set(data)
    return training_run(recipe(request, "MS-CNN_joint", epochs), read(data), SEED, "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    Path("params.yaml").write_text("annotation: {evaluate: {batch_size: 5, top: 2, thresholds: [0.5], bins: 4}}\n")
    return [f"--model={model}", f"--seed={SEED}", "--data=data", f"--output={output}"]

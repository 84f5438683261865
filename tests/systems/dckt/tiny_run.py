"""The smallest run, for the test over all systems."""

from pathlib import Path

import pytest
from dckt_runs import domains, recipe, write_domains

from model.training.task import Run
from systems.dckt.task import training_run

SCALE = 1


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """All three phases; the transfer chooses its pairs by its own weights."""
    source, target = domains(Path("domains"))
    return training_run(recipe("DCKT", epochs), source, target, 0, "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    write_domains(Path("domains"))
    Path("params.yaml").write_text("dckt: {evaluate: {at_once: 7}}\n")
    return [f"--model={model}", "--data=domains", f"--output={output}"]

"""The smallest run, for the test over all systems."""

from pathlib import Path

import pytest
from tagging_data import options_of, read_posts, recipe, write_data

from model.training.task import Run
from systems.tagging.posts import Sources
from systems.tagging.task import training_run

SCALE = 100  # metrics.json has percent
EVALUATE = "{at: [3, 5], category_at: 4, lengths_at: 3, lengths: [1, 9], least_tags: 0, batch_size: 7, evolving: [0.5]}"


def data() -> Sources:
    """The small log; a continued run must find the same files, so they are written once."""
    folder = Path("data").absolute()
    if not folder.exists():
        return write_data(folder)
    return Sources(folder / "tags", folder / "splits", 0, folder / "images", folder / "features")


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """The whole model, with both optimisers."""
    return training_run(recipe("A6", epochs), read_posts(data()), 0, "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    Path("params.yaml").write_text(f"tagging: {{evaluate: {EVALUATE}}}\n")
    return [f"--model={model}", f"--output={output}", *options_of(data())]

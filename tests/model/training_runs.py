"""Helpers for tests of whole trainings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from model.training.trainer import ChosenEpoch, train
from systems.mtmdd.config import Recipe
from systems.mtmdd.examples import Examples, read_rows
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.task import Observer, PhaseTask, training_run


class Killed(BaseException):
    """Stands for a killed process: no code may catch it to clean up."""


def read_curve(folder: Path, name: str) -> list[float]:
    lines = (folder / "plots" / "metrics" / f"{name}.tsv").read_text().splitlines()
    return [float(line.split("\t")[1]) for line in lines[1:]]


def contents(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def train_recipe(
    recipe: Recipe,
    examples: Examples,
    seed: int,
    output: Path,
    run: str,
    observers: Mapping[str, Observer] | None = None,
    kind: type[PhaseTask] = PhaseTask,
) -> list[ChosenEpoch]:
    """Train a recipe as the stage does."""
    return train(training_run(recipe, examples, seed, run, observers, kind), output)


def train_methods(folder: Path, methods: Sequence[str], data, network, objective, params, seed: int = 0) -> Path:
    """Train methods on small data; return the folder with one model folder per method."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # checkpoints are written below the current folder
        for method in methods:
            recipe = build_recipe(method, network, objective, params)
            examples = Examples.read(
                data.images, read_rows(data.split, recipe, seed), data.features, network, cache=True
            )
            train_recipe(recipe, examples, seed, folder / method, method)
    return folder

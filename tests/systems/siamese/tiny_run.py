"""The smallest run, for the test over all systems."""

from pathlib import Path

import polars as pl
import pytest
from siamese_runs import images, recipe

from model.training.task import Run
from systems.siamese.task import training_run

SCALE = 100  # metrics.json has percent


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """Both phases; with confusable pairs the second one has state in its checkpoints."""
    return training_run(recipe(request, "clicks_pairs=confusable", epochs), images(request), 0, "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    data = request.getfixturevalue("tiny_data")
    Path("params.yaml").write_text("siamese: {evaluate: {batch_size: 5}}\n")
    # the tiny split has target images of the training's split, too, which the run has not trained on
    rows = pl.read_parquet(data.split).filter((pl.col("domain") == "source") | (pl.col("split") == "test"))
    rows.write_parquet("split.parquet")
    return [f"--model={model}", f"--images={data.images}", "--split=split.parquet", f"--output={output}"]

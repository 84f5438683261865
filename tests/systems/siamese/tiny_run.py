"""The smallest run, for the test over all systems."""

from pathlib import Path

import polars as pl
import pytest

from model.classification import LabelledImages
from model.classifier_params import ClassifierParams, TrainParams
from model.training.task import Run
from systems.siamese.config import FineTuningParams, Recipe, read_run, recipe_of
from systems.siamese.task import training_run

SCALE = 100  # metrics.json has percent
NETWORK = ClassifierParams(backbone="plain", weights="none", image_size=16, resize=18, dropout=0.1)
FINE_TUNING = FineTuningParams(epochs=1, rate=0.5, categories=4, images=2, margin=1.0, pair_weight=0.5, pairs="random")


def recipe(request: pytest.FixtureRequest, run: str = "clicks", epochs: int = 1) -> Recipe:
    """The recipe of a run with the tests' parameters."""
    params = request.getfixturevalue("train_params").model_dump(include=set(TrainParams.model_fields))
    train = TrainParams.model_validate(params | {"epochs": epochs})
    return recipe_of(read_run(run), NETWORK, train, FINE_TUNING.model_copy(update={"epochs": epochs}))


def images(request: pytest.FixtureRequest) -> LabelledImages:
    """The images of the tiny source domain."""
    rows = request.getfixturevalue("tiny_rows").filter(pl.col("domain") == "source", pl.col("split") != "test")
    return LabelledImages.read(request.getfixturevalue("tiny_data").images, rows, 18, cache=True)


def run(request: pytest.FixtureRequest, epochs: int) -> Run:
    """All phases: the only one with state in its checkpoints is that with confusable pairs."""
    return training_run(recipe(request, "clicks_pairs=confusable", epochs), images(request), 0, "tiny")


def evaluate(request: pytest.FixtureRequest, model: Path, output: Path) -> list[str]:
    """The arguments of the evaluation."""
    data = request.getfixturevalue("tiny_data")
    Path("params.yaml").write_text("siamese: {evaluate: {batch_size: 5}}\n")
    # the tiny split has target images of the training's split, too, which the run has not trained on
    rows = pl.read_parquet(data.split).filter((pl.col("domain") == "source") | (pl.col("split") == "test"))
    rows.write_parquet("split.parquet")
    return [f"--model={model}", f"--images={data.images}", "--split=split.parquet", f"--output={output}"]

"""Recipes and images of the smallest runs."""

import polars as pl
import pytest

from model.classification import LabelledImages
from model.classifier_params import ClassifierParams, TrainParams
from systems.siamese.config import FineTuningParams, Recipe, read_run, recipe_of

NETWORK = ClassifierParams(backbone="plain", weights="none", image_size=16, resize=18, dropout=0.1)
FINE_TUNING = FineTuningParams(
    epochs=1,
    rate=0.5,
    categories=4,
    images=2,
    margin=1.0,
    pair_weight=0.5,
    loss="contrastive",
    pairs="random",
)


def recipe(request: pytest.FixtureRequest, run: str = "clicks", epochs: int = 1) -> Recipe:
    """The recipe of a run with the tests' parameters."""
    params = request.getfixturevalue("train_params").model_dump(include=set(TrainParams.model_fields))
    train = TrainParams.model_validate(params | {"epochs": epochs})
    return recipe_of(read_run(run), NETWORK, train, FINE_TUNING.model_copy(update={"epochs": epochs}))


def images(request: pytest.FixtureRequest) -> LabelledImages:
    """The images of the tiny source domain."""
    rows = request.getfixturevalue("tiny_rows").filter(pl.col("domain") == "source", pl.col("split") != "test")
    return LabelledImages.read(request.getfixturevalue("tiny_data").images, rows, 18, cache=True)

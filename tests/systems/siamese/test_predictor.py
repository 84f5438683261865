"""Applying a run to pictures: the categories of its last phase."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from siamese_runs import images, recipe

from base.console import UserError
from model.data.images import ImageStore
from model.training.trainer import train
from systems.siamese.evaluate import evaluate
from systems.siamese.predictor import load
from systems.siamese.task import training_run


@pytest.mark.usefixtures("own_folder")
def test_categories_are_those_that_the_evaluation_of_the_last_phase_counts(
    request: pytest.FixtureRequest, tiny_data
) -> None:
    run = training_run(recipe(request), images(request), 0, "tiny")
    train(run, Path("model"))
    rows = pl.read_parquet(tiny_data.split)
    rows.filter((pl.col("domain") == "source") | (pl.col("split") == "test")).write_parquet("split.parquet")
    _, units = evaluate(Path("model"), tiny_data.images, Path("split.parquet"), batch_size=5)
    right = units.filter(metric="accuracy_siamese")
    predictor = load(Path("model"))
    tested = rows.filter(domain="target", split="test").sort("image_id")
    store = ImageStore(tiny_data.images, tested, predictor.resize, cache=False)
    squares = np.stack([store.crop(row, predictor.image_size, 0, None) for row in range(len(tested))])
    said = predictor.predict(torch.from_numpy(squares).permute(0, 3, 1, 2), top=2)
    found = [one.categories[0].name == category for one, category in zip(said, tested["category"], strict=True)]
    assert right.sort("unit")["numerator"].to_list() == [float(one) for one in found]
    assert all(len(one.categories) == 2 and not one.words for one in said)
    assert all(one.categories[0].value >= one.categories[1].value > 0 for one in said)
    with pytest.raises(UserError, match="not calibrated by an evaluation"):
        load(Path("model"), Path("evaluation"))

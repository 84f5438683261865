"""The evaluation of a model folder: which images it tests, and what it writes."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from siamese_runs import images, recipe
from sklearn.neighbors import NearestCentroid
from torch.nn import functional

from base.console import UserError
from model.classification import build_classifier
from model.data.batches import Draw
from model.data.images import ImageStore
from model.folder import load_weights
from model.training.trainer import train
from systems.siamese.evaluate import evaluate
from systems.siamese.task import training_run


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siamese")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train(training_run(recipe(request), images(request), 0, "tiny"), folder / "model")
    return folder / "model"


@pytest.fixture
def split(tiny_data, tmp_path: Path) -> Path:
    """The source as it is; of the target, one training image, one that is left out, and test images."""
    rows = pl.read_parquet(tiny_data.split)
    target = (
        pl.when(pl.col("image_id") == "t00-ant")
        .then(pl.lit("train"))
        .otherwise(pl.when(split="test").then(pl.lit("test")).otherwise(pl.lit("left out")))
    )
    changed = pl.when(domain="target").then(target).otherwise("split").alias("split")
    rows.with_columns(changed).write_parquet(tmp_path / "split.parquet")
    return tmp_path / "split.parquet"


def test_all_phases_are_measured_on_the_targets_test_images(model: Path, split: Path, tiny_data) -> None:
    metrics, units = evaluate(model, tiny_data.images, split, batch_size=5)
    rows = pl.read_parquet(split).sort("domain", "image_id")
    tests, learned = rows.filter(domain="target", split="test"), rows.filter(split="train")
    assert metrics["images"]["tested"] == len(tests) == len(units.filter(metric="accuracy_siamese"))
    assert metrics["images"]["of categories that the source lacks"] == 0
    run = json.loads((model / "run.json").read_text())
    classifier = build_classifier(recipe_network(run), 3, load=False)
    store = ImageStore(tiny_data.images, pl.concat([tests, learned]), 18, cache=True)
    pixels = store.crops([Draw(row, None) for row in range(len(store))], 16, 0)
    labels = np.searchsorted(run["categories"], tests["category"].to_numpy())
    for phase in ("softmax", "control", "siamese"):
        load_weights(classifier, model, phase)
        with torch.no_grad():
            logits = classifier.eval()(pixels)[: len(tests)].numpy()
            g = functional.normalize(classifier.backbone(pixels).phi, dim=1).numpy()
        accuracy = 100 * (logits.argmax(axis=1) == labels).mean()
        assert metrics[f"accuracy_{phase}"] == pytest.approx(accuracy, abs=1e-3)
        of_training = np.searchsorted(run["categories"], learned["category"].to_numpy())
        nearest = NearestCentroid().fit(g[len(tests) :], of_training).predict(g[: len(tests)])
        assert metrics[f"nearest_mean_{phase}"] == pytest.approx(100 * (nearest == labels).mean(), abs=1e-3)
    other, again = evaluate(model, tiny_data.images, split, batch_size=64)
    assert other == metrics
    assert again.equals(units)


def recipe_network(run: dict):
    from systems.siamese.config import Recipe

    return Recipe.model_validate(run["recipe"]).network


def test_images_of_categories_that_the_source_lacks_are_counted_and_not_tested(model, split, tiny_data) -> None:
    rows = pl.read_parquet(split)
    is_odd = (pl.col("domain") == "target") & (pl.col("split") == "test") & (pl.col("category") == "cat")
    category = pl.when(is_odd).then(pl.lit("zebra")).otherwise("category").alias("category")
    rows.with_columns(category).write_parquet(split)
    metrics, units = evaluate(model, tiny_data.images, split, batch_size=8)
    sizes = Counter(rows.filter(domain="target", split="test")["category"])
    assert metrics["images"]["tested"] == sizes["ant"] + sizes["bee"]
    assert metrics["images"]["of categories that the source lacks"] == sizes["cat"]
    assert units.filter(metric="category_accuracy_siamese")["unit"].to_list() == ["ant", "bee"]


def test_another_split_is_refused(model: Path, split: Path, tiny_data) -> None:
    rows = pl.read_parquet(split)
    rows.filter(pl.col("category") != "cat").write_parquet(split)
    with pytest.raises(UserError, match=r"its categories are not those that .* was trained for"):
        evaluate(model, tiny_data.images, split, batch_size=8)
    rows.filter((pl.col("domain") == "source") | (pl.col("split") != "test")).write_parquet(split)
    with pytest.raises(UserError, match="none of its 0 target test images"):
        evaluate(model, tiny_data.images, split, batch_size=8)


def test_another_systems_model_is_refused(model: Path, split: Path, tiny_data, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"network": {}}')
    with pytest.raises(UserError, match="not of this system"):
        evaluate(tmp_path, tiny_data.images, split, batch_size=8)

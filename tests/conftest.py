"""A tiny two-domain data set in the artifacts' schemas: noisy coloured images of odd sizes, unequal image counts."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import settings
from PIL import Image

from base import schemas
from base.artifacts import shard_name, shard_of, write_table
from model.training.params import ScheduleParams
from systems.mtmdd.config import EmbeddingParams, NetworkParams, ObjectiveParams, Recipe, TrainParams
from systems.mtmdd.examples import Examples
from systems.mtmdd.recipes import build_recipe

settings.register_profile("clicksight", deadline=None)  # no test must fail because the machine is busy
settings.load_profile("clicksight")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no worker is left alone with one at the end.

    First of them is the longest, which has a time limit of its own. Files with tests that fork come before these: a
    forked process may inherit a lock from a thread of an earlier test.
    """
    rank = {item.path: 3 for item in items}
    for item in items:
        for name, early in (("forks", 0), ("timeout", 1), ("slow", 2)):
            if item.get_closest_marker(name):
                rank[item.path] = min(rank[item.path], early)
    items.sort(key=lambda item: rank[item.path])


COLOURS = {"ant": (200, 40, 40), "bee": (40, 200, 40), "cat": (40, 60, 220), "dog": (210, 200, 30)}
WORDS = ("red", "green", "blue", "yellow", "animal")
# images per category and domain: train, validation, test
SIZES = {"source": (7, 3, 4), "target": (5, 2, 3)}


@dataclass(frozen=True)
class TinyData:
    """The paths of the tiny data set."""

    images: Path
    split: Path
    features: Path


def jpeg(colour: tuple[int, int, int], width: int, height: int, rng: np.random.Generator) -> bytes:
    pixels = np.clip(np.array(colour) + rng.normal(0, 30, (height, width, 3)), 0, 255).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def write_tiny_data(folder: Path, source_names: tuple[str, ...], target_names: tuple[str, ...]) -> TinyData:
    rng = np.random.default_rng(5)
    images, splits, features = [], [], []
    for domain, names in (("source", source_names), ("target", target_names)):
        for number, name in enumerate(names):
            # each further category has one more image, so the sizes are unequal
            for index in range(sum(SIZES[domain]) + number):
                image_id = f"{domain[0]}{index:02d}-{name}"
                width, height = 20 + int(rng.integers(9)), 20 + int(rng.integers(9))
                encoded = jpeg(COLOURS[name], width, height, rng)
                images.append((image_id, domain, name, width, height, {"bytes": encoded, "path": f"{image_id}.jpg"}))
                train, validation, _ = SIZES[domain]
                split = "train" if index < train else "validation" if index < train + validation else "test"
                splits.append((image_id, domain, name, True, split))
                if domain == "source" and index:  # the first image of a category has no clicks
                    word = list(COLOURS).index(name)
                    features.append((image_id, [word, 4], [3 + index, 2], [1.0 + index / 10, 0.1]))
    words = [(number, word, 9 - number, 3, 1.0) for number, word in enumerate(WORDS)]
    return write_data(folder, images, splits, words, features)


def write_data(
    folder: Path, images: list[tuple], splits: list[tuple], words: list[tuple], features: list[tuple]
) -> TinyData:
    """Write rows of `schemas.IMAGES`, `SPLITS`, `VOCABULARY` and `CLICK_FEATURES` as the stages do."""
    for shard in range(3):
        rows = sorted(row for row in images if shard_of(row[0], 3) == shard)
        write_table(_table(rows, schemas.IMAGES), folder / "images" / shard_name(shard))
    write_table(_table(sorted(splits, key=lambda row: (row[1], row[0])), schemas.SPLITS), folder / "seed-0.parquet")
    write_table(_table(words, schemas.VOCABULARY), folder / "features" / "vocabulary.parquet")
    for shard in range(2):
        rows = sorted(row for row in features if shard_of(row[0], 2) == shard)
        write_table(_table(rows, schemas.CLICK_FEATURES), folder / "features" / "click_features" / shard_name(shard))
    return TinyData(folder / "images", folder / "seed-0.parquet", folder / "features")


def _table(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([row[column] for row in rows], field.type) for column, field in enumerate(schema)]
    return pa.Table.from_arrays(columns, schema=schema)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> TinyData:
    names = ("ant", "bee", "cat")
    return write_tiny_data(tmp_path_factory.mktemp("tiny"), names, names)


@pytest.fixture(scope="session")
def tiny_rows(tiny_data: TinyData) -> pl.DataFrame:
    return pl.read_parquet(tiny_data.split).select("image_id", "domain", "category", "split").sort("domain", "image_id")


@pytest.fixture(scope="session")
def examples(tiny_data: TinyData, tiny_rows: pl.DataFrame, network_params: NetworkParams) -> Examples:
    """Return all of the tiny data; tests must not change it."""
    return Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=True)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a temporary working folder, below which trainings write their checkpoints."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def network_params() -> NetworkParams:
    return NetworkParams(
        backbone="plain",
        weights="none",
        image_size=16,
        resize=18,
        dropout=0.2,
        embedding=EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=6, hidden=7, dropout=0.1),
    )


@pytest.fixture(scope="session")
def objective_params() -> ObjectiveParams:
    return ObjectiveParams.model_validate(
        {
            "lambda": 0.4,
            "tau": 0.1,
            "bandwidth": 0.01,
            "threshold": 0.16,
            "mu_separate_heads": 0.1,
            "mu_shared_head": 0.9,
        }
    )


@pytest.fixture(scope="session")
def train_params() -> TrainParams:
    return TrainParams(
        epochs=3,
        batch_size=4,
        accumulation=1,
        learning_rate=0.02,
        embedding_multiplier=3.0,
        recogniser_multiplier=2.0,
        momentum=0.9,
        weight_decay=5e-4,
        schedule=ScheduleParams(kind="one-cycle", warm_up=0.3),
        mixed_precision="no",
        compile=False,
        channels_last=False,
        workers=0,
        threads=1,
        cache_images=True,
    )


@pytest.fixture
def recipe(
    network_params: NetworkParams, objective_params: ObjectiveParams, train_params: TrainParams
) -> Callable[..., Recipe]:
    """Return a function that builds a method's recipe for the tiny data, with some parameters of training changed."""

    def recipe(method: str = "MTMDD-VM", **train_values: Any) -> Recipe:
        return build_recipe(method, network_params, objective_params, train_params.model_copy(update=train_values))

    return recipe

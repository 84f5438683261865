"""A small data set's folder in the artifacts' schemas, and recipes for it: 32 drawn images, three labels, four tags."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from base import schemas
from base.artifacts import shard_name, write_table
from model.classifier_params import TrainParams
from systems.annotation.config import ChainParams, NetworkParams, Recipe, StagesParams, read_run, recipe_of
from systems.annotation.data import AnnotatedImages
from systems.annotation.task import training_run

NUMBER, SIZE, SEED = 32, 16, 3
LABELS = ["blue", "dark", "red"]
TAGS = ["sky", "rose", "night", "new york"]
NETWORK = NetworkParams(
    backbone="plain", weights="none", image_size=SIZE, resize=SIZE + 2, frozen=False, kept_maps=False, tag_units=6,
    quantity_dropout=0.1, word_vectors=None, chain=ChainParams(embedding=4, hidden=8, beam=3),
)  # fmt: skip


def labels_of(number: int) -> list[str]:
    """Return the labels of an image: every one has red or blue, every third is dark, every fourth has both colours."""
    found = {"red"} if number % 2 else {"blue"}
    found |= {"dark"} if number % 3 == 0 else set()
    return sorted(found | ({"red", "blue"} if number % 4 == 0 else set()))


def picture(number: int) -> bytes:
    """Return a picture whose channels show the labels."""
    labels = labels_of(number)
    colour = np.array([180 * ("red" in labels), 0, 180 * ("blue" in labels)]) // (2 if "dark" in labels else 1)
    noise = np.random.default_rng(number).integers(0, 60, (SIZE + 4, SIZE + 6, 3))
    buffer = io.BytesIO()
    Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def split_of(number: int) -> str:
    return ("train", "train", "test", "train", "validation", "train", "train", "test")[number % 8]


def tags_of(number: int) -> list[int]:
    """Return word ids: those of two labels, and a rare tag; image 5 has none."""
    labels = labels_of(number)
    if number == 5:
        return []
    return [
        j for j, is_there in enumerate(("blue" in labels, "red" in labels, number % 5 == 0, number == 1)) if is_there
    ]


def write_data_set(data: Path) -> Path:
    """Write the folder and return it."""
    names = [f"i{number:02}" for number in range(NUMBER)]
    images = [
        (name, "source", "", SIZE + 6, SIZE + 4, {"bytes": picture(number), "path": ""})
        for number, name in enumerate(names)
    ]
    write_table(table(images, schemas.IMAGES), data / "ingested/images" / shard_name(0))
    rows = [(name, "source", labels_of(number), split_of(number)) for number, name in enumerate(names)]
    write_table(table(rows, schemas.LABEL_SPLITS), data / f"splits/seed-{SEED}.parquet")
    labels = [*((name, 9, "selected") for name in LABELS), ("rare", 1, "too few images")]
    write_table(table(labels, schemas.LABELS), data / "splits/labels.parquet")
    words = [(number, word, 9 - number, 9 - number, 0.5) for number, word in enumerate(TAGS)]
    write_table(table(words, schemas.VOCABULARY), data / "tags/vocabulary.parquet")
    matrix = [(name, tags_of(number), [2] * len(tags_of(number))) for number, name in enumerate(names)]
    write_table(table(matrix, schemas.CLICK_MATRIX), data / "tags/click_matrix" / shard_name(0))
    return data


def table(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    columns = [pa.array([row[column] for row in rows], field.type) for column, field in enumerate(schema)]
    return pa.Table.from_arrays(columns, schema=schema)


def recipe(request: pytest.FixtureRequest, run: str = "MS-CNN", epochs: int = 1, **network: object) -> Recipe:
    """The recipe of a run with the tests' parameters."""
    params = request.getfixturevalue("train_params").model_dump(include=set(TrainParams.model_fields))
    train = TrainParams.model_validate(params | {"epochs": epochs, "learning_rate": 0.02})
    stage = {"epochs": epochs, "learning_rate": 0.01}
    stages = StagesParams.model_validate(dict.fromkeys(StagesParams.model_fields, stage))
    return recipe_of(read_run(run), 2, NETWORK.model_copy(update=network), train, stages)


def tasks_of(request: pytest.FixtureRequest, run: str = "MS-CNN", **network: object) -> dict[str, Any]:
    """The phases of a run by name, after writing the data set."""
    data = read(write_data_set(Path("data")))
    return {task.name: task for task in training_run(recipe(request, run, **network), data, SEED, "tiny").tasks}


def read(data: Path, *splits: str, shuffled: bool = False) -> AnnotatedImages:
    """The images of some splits, by default those of a training."""
    return AnnotatedImages.read(data, SEED, SIZE + 2, True, splits or ("train", "validation"), shuffled)


def vectors(path: Path) -> str:
    """Write word vectors and return their path."""
    write_table(pl.DataFrame({"word": ["sky", "new", "york"], "vector": [[1.0, 2], [0, 4], [2, 0]]}).to_arrow(), path)
    return str(path)

"""The cleaner's recipe, which images it learns from, and the whole job on coloured squares."""

import json
from pathlib import Path

import polars as pl
import pytest
from coloured_images import CLEANER_PARAMS, image_table, write_images

from model.config import NetworkParams, ScheduleParams, TrainParams
from model.predict import load_recogniser
from model.train_cleaner import cleaner_recipe, main, training_rows
from pipelines.console import UserError

NETWORK = NetworkParams.model_validate(
    {
        "backbone": "plain", "weights": "none", "image_size": 16, "resize": 16, "dropout": 0.1,
        "embedding": {"kind": "FC"},
    }
)  # fmt: skip
TRAIN = TrainParams(
    epochs=2, batch_size=4, learning_rate=0.1, embedding_multiplier=2.0, recogniser_multiplier=2.0,
    momentum=0.9, weight_decay=0.0, schedule=ScheduleParams(kind="constant"), mixed_precision="no",
    workers=0, threads=1, cache_images=True,
)  # fmt: skip


def test_the_recipe_is_a_plain_classifier_of_the_source() -> None:
    recipe = cleaner_recipe(NETWORK, TRAIN)
    assert recipe.network.embedding is None
    assert recipe.network.backbone == "plain"
    assert [(phase.name, phase.domains, phase.recognised, phase.features) for phase in recipe.phases] == [
        ("cleaner", ["source"], ["source"], "visual")
    ]
    assert recipe.train is TRAIN


def images(**sizes: int) -> pl.DataFrame:
    rows = [(f"{name}{i}", "source", name) for name, n in sizes.items() for i in range(n)]
    rows += [(f"target{i}", "target", "akita") for i in range(5)]
    return pl.DataFrame(rows, schema=["image_id", "domain", "category"], orient="row")


def test_all_source_images_train_but_those_of_small_categories() -> None:
    rows, too_small = training_rows(images(corgi=3, akita=4, dingo=2, whippet=1), 3)
    assert rows["image_id"].to_list() == ["akita0", "akita1", "akita2", "akita3", "corgi0", "corgi1", "corgi2"]
    assert rows["split"].unique().to_list() == ["train"]
    assert too_small.rows() == [("dingo", 2), ("whippet", 1)]


def test_a_classifier_needs_two_categories() -> None:
    with pytest.raises(UserError, match=r"1 of 3 source categories have cleaner.minimum_category_size = 4 images"):
        training_rows(images(corgi=3, akita=4, dingo=2), 4)


def test_the_whole_job_learns_red_from_blue(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=2)
    (tmp_path / "params.yaml").write_text(CLEANER_PARAMS)
    with caplog.at_level("INFO", logger="clicksight"):
        main(
            [
                *("--images", str(tmp_path / "images"), "--output", str(tmp_path / "cleaner")),
                *("--params", str(tmp_path / "params.yaml")),
            ]
        )
    recogniser = load_recogniser(tmp_path / "cleaner", "source")
    assert recogniser.categories == ["blue", "red"]
    table = image_table().to_pylist()
    reds = [row["image"]["bytes"] for row in table if row["category"] == "red"]
    blues = [row["image"]["bytes"] for row in table if row["category"] == "blue" and row["domain"] == "source"]
    assert recogniser.probabilities(reds)[:, 1].min() > 0.5
    assert recogniser.probabilities(blues)[:, 0].min() > 0.5
    run = json.loads((tmp_path / "cleaner/run.json").read_text())
    assert run["categories"]["source"] == ["blue", "red"]
    assert "category too small: green, images 2" in caplog.text
    assert "source images trained on 15" in caplog.text


def test_a_parameter_that_cannot_be_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "images", image_table(), num_shards=1)
    (tmp_path / "params.yaml").write_text(
        CLEANER_PARAMS.replace("minimum_category_size: 3", "minimum_category_size: 0")
    )
    with pytest.raises(SystemExit, match="2"):
        main(
            [
                *("--images", str(tmp_path / "images"), "--output", str(tmp_path / "cleaner")),
                *("--params", str(tmp_path / "params.yaml")),
            ]
        )
    assert "cleaner.minimum_category_size = 0: Input should be greater than or equal to 1" in caplog.text
    assert not (tmp_path / "cleaner").exists()

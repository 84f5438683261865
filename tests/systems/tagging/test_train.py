"""The training command: what it reads and writes, and that no user is named."""

import json
from pathlib import Path

import polars as pl
import pytest
from tagging_data import TAGS, options_of, recipe, write_data

from systems.tagging.train import main

pytestmark = pytest.mark.usefixtures("own_folder")


def train(sources, output: str, run: str = "A6") -> dict:
    Path("recipe.json").write_text(recipe(run).model_dump_json())
    main(["--recipe=recipe.json", "--seed=0", f"--output={output}", *options_of(sources)])
    return json.loads((Path(output) / "run.json").read_text())


def weights(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.safetensors")}


def test_the_model_folder_has_tags_and_recipe_and_no_user(sources, caplog) -> None:
    run = train(sources, "model")
    assert run["tags"] == TAGS
    assert run["recipe"]["run"] == "A6"
    assert run["features"] == 5
    for path in Path("model").rglob("*"):
        assert path.is_dir() or b"user-" not in path.read_bytes()
    assert "user-" not in caplog.text


def test_test_posts_change_nothing(sources, tmp_path) -> None:
    train(sources, "model")
    other = write_data(tmp_path)
    path = other.tags / "posts/part-00000.parquet"
    split = other.every_post().select("image_id", "user_id", "split")
    posts = pl.read_parquet(path).join(split, on=["image_id", "user_id"], maintain_order="left")
    changed = pl.when(split="test").then(pl.lit([7], pl.List(pl.Int32))).otherwise("tag_ids").alias("tag_ids")
    posts.with_columns(changed).drop("split").write_parquet(path)
    train(other, "other")
    assert weights("model") == weights("other")

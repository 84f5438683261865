"""The training command: what it reads and writes."""

import json
from pathlib import Path

import polars as pl
import pytest
import safetensors.torch
from siamese_runs import recipe

from systems.siamese.train import main

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def split(tiny_data) -> pl.DataFrame:
    """The source as it is; two target images to train on, the others left out or tested."""
    chosen = pl.when(pl.col("image_id").is_in(["t00-ant", "t01-cat"])).then(pl.lit("train"))
    other = pl.when(split="test").then(pl.lit("test")).otherwise(pl.lit("left out"))
    rows = pl.read_parquet(tiny_data.split)
    return rows.with_columns(split=pl.when(domain="target").then(chosen.otherwise(other)).otherwise("split"))


def train(request: pytest.FixtureRequest, split: pl.DataFrame, output: str, seed: int = 0, run: str = "clicks") -> dict:
    Path("clicks.json").write_text(recipe(request, run).model_dump_json())
    split.write_parquet("split.parquet")
    images = request.getfixturevalue("tiny_data").images
    main(
        ["--recipe=clicks.json", f"--seed={seed}", f"--images={images}", "--split=split.parquet", f"--output={output}"]
    )
    return dict(json.loads((Path(output) / "run.json").read_text()))


def weights(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.safetensors")}


def test_the_model_folder_has_all_phases_and_what_they_saw(request, split: pl.DataFrame) -> None:
    run = train(request, split, "model")
    assert set(weights("model")) == {"softmax.safetensors", "control.safetensors", "siamese.safetensors"}
    assert [epoch["phase"] for epoch in run["chosen"]] == ["softmax", "control", "siamese"]
    assert {epoch["chosen_on"] for epoch in run["chosen"]} == {"validation accuracy"}
    counted = split.filter(pl.col("split").is_in(["train", "validation"])).group_by("domain", "split").len()
    assert run["images"] == {f"{domain} {part}": number for domain, part, number in counted.iter_rows()}
    assert run["images"]["target train"] == 2
    assert run["phases"]["siamese"] == {"images_per_draw": 2}
    assert run["categories"] == ["ant", "bee", "cat"]
    assert run["recipe"]["run"] == "clicks"
    head = safetensors.torch.load_file("model/siamese.safetensors")["head.weight"]
    assert not head.equal(safetensors.torch.load_file("model/softmax.safetensors")["head.weight"])


def test_images_that_are_left_out_or_tested_change_nothing(request, split: pl.DataFrame) -> None:
    train(request, split, "model")
    is_unused = ~pl.col("split").is_in(["train", "validation"])
    category = pl.when(is_unused).then(pl.lit("zebra")).otherwise("category").alias("category")
    train(request, split.with_columns(category), "other")
    assert weights("model") == weights("other")


def test_a_trained_target_image_and_the_seed_change_the_weights(request, split: pl.DataFrame) -> None:
    train(request, split, "model")
    train(request, split.filter(pl.col("image_id") != "t00-ant"), "fewer")
    train(request, split, "seed", seed=1)
    for other in ("fewer", "seed"):
        assert all(value != weights("model")[name] for name, value in weights(other).items())


def test_soft_labels_are_used_by_the_runs_that_say_so(request, split: pl.DataFrame) -> None:
    names, one = pl.lit(["cat", "ant", "bee"], pl.List(pl.String)), pl.lit([1.0], pl.List(pl.Float32))
    hard = split.with_columns(categories=pl.concat_list("category"), probabilities=one)
    soft = split.with_columns(categories=names, probabilities=pl.lit([0.5, 0.4, 0.1], pl.List(pl.Float32)))
    run = "clicks-denoised_soft"
    train(request, hard, "hard", run=run)
    train(request, soft, "soft", run=run)
    train(request, soft, "ignored", run="clicks-denoised")
    assert weights("hard") != weights("soft")
    assert weights("ignored") != weights("soft")
    # the same data, but probabilities in the place of indices: equal but for rounding
    one, other = (safetensors.torch.load_file(f"{name}/softmax.safetensors") for name in ("hard", "ignored"))
    assert all(value.sub(other[name]).abs().max() < 1e-4 for name, value in one.items())


def test_a_wrong_recipe_ends_with_a_message(request, split: pl.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    Path("other.json").write_text("{}")
    with pytest.raises(SystemExit) as ended:
        main(["--recipe=other.json", "--seed=0", "--images=images", "--split=split.parquet", "--output=model"])
    assert ended.value.code == 2
    assert "other.json: not a recipe" in caplog.text
    assert not Path("model").exists()

import json

import polars as pl
import pytest
import torch
from conftest import write_tiny_data
from safetensors.torch import load_file

from base.artifacts import write_json
from model.data import images
from systems.mtmdd.examples import categories_of, keep_source_categories
from systems.mtmdd.recipes import build_recipe
from systems.mtmdd.train import main


@pytest.fixture
def run(tmp_path, monkeypatch, tiny_data, network_params, objective_params, train_params):
    """Return a function that trains a method as the stage does and returns the model folder."""
    monkeypatch.chdir(tmp_path)

    def run(
        method: str,
        seed: int = 0,
        split=tiny_data.split,
        features=tiny_data.features,
        options=(),
        network=network_params,
        **study,
    ):
        params = train_params.model_copy(update={"epochs": 1})
        recipe = build_recipe(method, network, objective_params, params, **study)
        write_json(recipe.model_dump(mode="json", exclude_none=True), tmp_path / "recipe.json")
        output = tmp_path / "models" / "methods" / method / f"seed-{seed}"
        main(
            [
                f"--recipe={tmp_path / 'recipe.json'}",
                f"--seed={seed}",
                f"--images={tiny_data.images}",
                f"--split={split}",
                f"--features={features}",
                f"--output={output}",
                *options,
            ]
        )
        return output

    return run


def test_the_stage_writes_a_model_folder(run, caplog):
    folder = run("TDL")
    assert {path.name for path in folder.iterdir()} == {
        "predict.safetensors",
        "source.safetensors",
        "target.safetensors",
        "run.json",
        "curves",
    }
    assert "train methods/TDL/seed-0: train images 36" in caplog.text
    assert "predict: epoch 1 of 1, source: epoch 1 of 1, target: epoch 1 of 1" in caplog.text
    assert "wrote .state/curves/methods/TDL/seed-0 (curves with images per second" in caplog.text
    assert "next: python -m systems.mtmdd.evaluate" in caplog.text


@pytest.mark.parametrize("seed", [0, 1, 2, 5])
def test_the_seed_is_that_of_the_training_and_of_what_a_study_leaves_out(run, tiny_data, seed):
    folder = run("VGGsrc", seed=seed, source_categories=1)
    description = json.loads((folder / "run.json").read_text())
    assert description["seed"] == seed
    split = pl.read_parquet(tiny_data.split).select("image_id", "domain", "category", "split")
    kept = categories_of(keep_source_categories(split, 1, seed), "source")
    assert description["categories"]["source"] == kept


def test_images_are_kept_decoded_if_the_recipe_says_so(run, monkeypatch):
    real, decoded = images.decode, []
    monkeypatch.setattr(images, "decode", lambda *arguments: decoded.append(1) or real(*arguments))
    run("VGGsrc")
    assert len(decoded) == 36 + 15  # train and validation images of both domains, decoded once for two phases


def is_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert set(one) == set(other) != set()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


@pytest.mark.parametrize("method", ["TDL7", "TDL", "MTTDL"])
def test_the_second_step_has_the_whole_first_step_as_it_was_left(run, method):
    """Eq. 5: weights and statistics of theta1* and E*, beside another ConvNet."""
    folder = run(method)
    first, second = (load_file(folder / f"{name}.safetensors") for name in ("predict", "target"))
    assert is_same(below(second, "predictor.embedding."), below(first, "embedding."))
    assert is_same(below(second, "predictor.backbone.features."), below(first, "backbone.features."))
    assert not is_same(below(second, "backbone.features."), below(first, "backbone.features."))
    assert not below(second, "embedding.")
    assert {name.split(".")[0] for name in second} == {"backbone", "predictor", "recogniser"}


def test_one_convnet_moves_under_the_frozen_embedding(run, network_params):
    folder = run("TDL", network=network_params.model_copy(update={"second_step": "one ConvNet"}))
    first, second = (load_file(folder / f"{name}.safetensors") for name in ("predict", "target"))
    assert is_same(below(second, "embedding."), below(first, "embedding."))
    assert not is_same(below(second, "backbone.features."), below(first, "backbone.features."))
    assert {name.split(".")[0] for name in second} == {"backbone", "embedding", "recogniser"}


def test_test_images_are_not_read(run, tiny_data, tmp_path):
    rows = pl.read_parquet(tiny_data.split)
    absent = rows.filter(pl.col("split") == "test").with_columns(image_id=pl.lit("no such ") + pl.col("image_id"))
    pl.concat([rows.filter(pl.col("split") != "test"), absent]).write_parquet(tmp_path / "split.parquet")
    run("VGGsrc", split=tmp_path / "split.parquet")


def test_a_method_without_clicks_needs_no_features(run, tmp_path):
    run("VGGsrc", features=tmp_path / "nowhere")


def test_out_of_class_trains_on_fewer_source_categories(run):
    folder = run("MTMDD-VM", source_categories=2)
    categories = json.loads((folder / "run.json").read_text())["categories"]
    assert len(categories["source"]) == 2
    assert len(categories["target"]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such recipe; run python -m systems.mtmdd.recipes"), ('{"method": "x"}', "not a recipe: ")],
)
def test_bad_recipes_end_with_exit_code_2(tmp_path, caplog, content, message):
    path = tmp_path / "recipe.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match="2"):
        main(
            ["--recipe", str(path), "--seed", "0", "--images", "x", "--split", "x", "--features", "x", "--output", "m"]
        )
    assert message in caplog.text
    assert str(path) in caplog.text


def test_missing_split_and_features_are_named(run, tmp_path, caplog):
    with pytest.raises(SystemExit, match="2"):
        run("TDL", split=tmp_path / "none.parquet")
    assert "none.parquet: no such Parquet file" in caplog.text
    with pytest.raises(SystemExit, match="2"):
        run("TDL", features=tmp_path / "none")
    assert "vocabulary.parquet: no such Parquet file" in caplog.text


def test_a_shared_head_for_different_categories_ends_with_exit_code_2(run, tiny_data, tmp_path, caplog):
    rows = pl.read_parquet(tiny_data.split)
    rows.filter((pl.col("domain") == "target") | (pl.col("category") != "bee")).write_parquet(tmp_path / "s.parquet")
    with pytest.raises(SystemExit, match="2"):
        run("MTMDD-VM-star", split=tmp_path / "s.parquet")
    message = "a shared head needs the same categories in both domains (only in the target: 1, such as ['bee'])"
    assert message in caplog.text


def test_cross_object_trains_on_another_data_sets_source(run, tiny_data, tmp_path):
    birds = write_tiny_data(tmp_path / "birds", ("dog", "bee"), ("dog",))
    options = [f"--source-images={birds.images}", f"--source-split={birds.split}"]
    folder = run("MTMDD-VM", features=birds.features, options=options, source="birds")
    description = json.loads((folder / "run.json").read_text())
    assert description["categories"] == {"source": ["bee", "dog"], "target": ["ant", "bee", "cat"]}
    assert description["images"] == {"source": {"train": 14, "validation": 6}, "target": {"train": 15, "validation": 6}}
    assert description["recipe"]["source"] == "birds"
    heads = {key: value.shape[0] for key, value in load_file(folder / "joint.safetensors").items() if "heads" in key}
    assert set(heads.values()) == {2, 3}


def test_a_recipe_with_another_source_asks_for_it(run, caplog):
    with pytest.raises(SystemExit, match="2"):
        run("MTMDD-VM", source="birds")
    assert "uses the source of birds; give --source-images, --source-split and --features of that" in caplog.text

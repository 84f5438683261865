"""Applying a run to pictures: the evaluation's categories, and the words of the predicted click feature."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional
from training_runs import train_methods

from base.console import UserError
from model.data.images import ImageStore
from systems.mtmdd.evaluate import main
from systems.mtmdd.predict import Model
from systems.mtmdd.predictor import load


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_data, network_params, objective_params, train_params) -> Path:
    params = train_params.model_copy(update={"epochs": 1})
    methods = ("VGGsrc", "TDL", "MTMDD-VM")
    return train_methods(
        tmp_path_factory.mktemp("models"), methods, tiny_data, network_params, objective_params, params
    )


def squares(predictor, tiny_data, domain: str) -> tuple[pl.DataFrame, torch.Tensor]:
    """Return the test images of a domain and their middle squares."""
    rows = pl.read_parquet(tiny_data.split).filter(domain=domain, split="test").sort("image_id")
    store = ImageStore(tiny_data.images, rows, predictor.resize, cache=False)
    found = np.stack([store.crop(row, predictor.image_size, 0, None) for row in range(len(rows))])
    return rows, torch.from_numpy(found).permute(0, 3, 1, 2).contiguous()


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("method", ["VGGsrc", "TDL", "MTMDD-VM"])
def test_categories_and_probabilities_are_the_evaluations(models: Path, tiny_data, method: str) -> None:
    Path("params.yaml").write_text("mtmdd: {evaluate: {batch_size: 5}}\n")
    data = [f"--images={tiny_data.images}", f"--split={tiny_data.split}", f"--features={tiny_data.features}"]
    main([f"--model={models / method}", *data, "--output=evaluation"])
    predictor = load(models / method)
    rows, pixels = squares(predictor, tiny_data, "target")
    said = predictor.predict(pixels)
    expected = pl.read_parquet("evaluation/predictions.parquet").filter(domain="target").sort("image_id")
    assert expected["image_id"].to_list() == rows["image_id"].to_list()
    assert [one.categories[0].name for one in said] == expected["predicted"].to_list()
    best = [one.categories[0].value for one in said]
    assert best == pytest.approx(expected["probability"].to_list(), abs=1e-6)
    assert all(sum(scored.value for scored in one.categories) == pytest.approx(1) for one in said)


def test_words_are_the_largest_entries_of_the_predicted_click_feature(models: Path, tiny_data) -> None:
    predictor = load(models / "TDL")  # its words come from another phase than its categories
    words = pl.read_parquet(tiny_data.features / "vocabulary.parquet").sort("word_id")["word"].to_list()
    assert list(predictor.words) == words
    _, pixels = squares(predictor, tiny_data, "source")
    model = Model.read(models / "TDL")
    phase = model.phase_that_predicts_clicks()
    with torch.no_grad():
        clicks = functional.normalize(model.network(phase)({"source": pixels})["source"].clicks, dim=1)
    assert predictor.click_features(pixels).numpy() == pytest.approx(clicks.numpy(), abs=1e-6)
    for said, row in zip(predictor.predict(pixels, top=2), clicks.tolist(), strict=True):
        ordered = sorted(zip(row, words, strict=True), key=lambda pair: -pair[0])
        positive = [(word, value) for value, word in ordered if value > 0][:2]
        assert [one.name for one in said.words] == [word for word, _ in positive]
        assert [one.value for one in said.words] == pytest.approx([value for _, value in positive], abs=1e-6)


def test_what_a_run_lacks_is_empty_or_an_error(models: Path, tiny_data) -> None:
    predictor = load(models / "VGGsrc")
    _, pixels = squares(predictor, tiny_data, "target")
    assert not predictor.words
    assert not predictor.predict(pixels)[0].words
    with pytest.raises(UserError, match="VGGsrc predicts no clicks"):
        predictor.click_features(pixels)
    with pytest.raises(UserError, match="not calibrated by an evaluation"):
        load(models / "VGGsrc", Path("evaluation"))


def test_a_folder_from_elsewhere_cannot_name_what_is_imported(models: Path, tmp_path: Path) -> None:
    run = json.loads((models / "VGGsrc/run.json").read_text())
    run["recipe"]["evaluate_command"] = "os"
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match="String should match pattern"):
        load(tmp_path)

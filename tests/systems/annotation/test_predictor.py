"""Annotating pictures: the same labels as the evaluation, and tags."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from annotation_data import SEED, TAGS, picture, read, recipe, split_of, tags_of, write_data_set

from base.console import UserError
from clicksight import export
from model.data.images import centre_crop, decode
from model.prediction import Context
from model.training.trainer import train
from systems.annotation.evaluate import evaluate
from systems.annotation.evaluate import main as evaluate_main
from systems.annotation.predictor import load, read_calibration
from systems.annotation.rules import RuleParams
from systems.annotation.task import training_run


@pytest.mark.usefixtures("own_folder")
def test_pictures_are_annotated_as_the_test_images_are(request: pytest.FixtureRequest) -> None:
    train(training_run(recipe(request), read(write_data_set(Path("data"))), SEED, "tiny"), Path("model"))
    params = RuleParams(batch_size=4, top=2, thresholds=[], bins=4)
    metrics, _, annotated, _ = evaluate(Path("model"), Path("data"), SEED, params)
    Path("evaluation").mkdir()
    Path("evaluation/metrics.json").write_text(json.dumps(metrics))
    predictor = load(Path("model"), Path("evaluation"))
    tested = [number for number in range(32) if split_of(number) == "test"]
    squares = np.stack([centre_crop(decode(picture(j), predictor.resize), predictor.image_size) for j in tested])
    pixels = torch.from_numpy(squares).permute(0, 3, 1, 2)
    contexts = [Context((*(TAGS[j].upper() for j in tags_of(number)), "something else")) for number in tested]
    of = {row["image_id"]: row for row in annotated.iter_rows(named=True)}
    for number, said in zip(tested, predictor.predict(pixels, contexts), strict=True):
        row = of[f"i{number:02}"]
        assert len(said.labels) == said.number == min(max(int(row["quantity"] + 0.5), 1), 3)
        # metrics.json has the calibration with six decimals, which logits of some 10 multiply
        best = sorted(row["probabilities"], reverse=True)
        assert [one.value for one in said.labels] == pytest.approx(best[: said.number], abs=1e-5)
        assert not said.categories
        assert not said.words
    untagged = predictor.predict(pixels)
    assert untagged != predictor.predict(pixels, contexts)
    assert untagged == predictor.predict(pixels, [Context(("something else",))] * len(tested))
    with pytest.raises(UserError, match="predicts no clicks"):
        predictor.click_features(pixels)


@pytest.mark.usefixtures("own_folder")
def test_a_calibrated_export_has_calibrated_probabilities(request: pytest.FixtureRequest) -> None:
    train(training_run(recipe(request), read(write_data_set(Path("data"))), SEED, "tiny"), Path("model"))
    run = json.loads(Path("model/run.json").read_text())
    Path("params.yaml").write_text("annotation: {evaluate: {batch_size: 4, top: 2, thresholds: [], bins: 4}}\n")
    evaluate_main(["--model=model", f"--seed={SEED}", "--data=data", f"--output=evaluations/seed-{SEED}"])
    annotated = pl.read_parquet(f"evaluations/seed-{SEED}/predictions.parquet")
    numbers = [int(name[1:]) for name in annotated["image_id"]]
    size = run["recipe"]["network"]["resize"], run["recipe"]["network"]["image_size"]
    pixels = torch.from_numpy(np.stack([centre_crop(decode(picture(j), size[0]), size[1]) for j in numbers]))
    squares = pixels.permute(0, 3, 1, 2).contiguous()
    expected = np.stack(annotated["probabilities"].to_list())
    for options, is_calibrated in ((["--calibrated"], True), ([], False)):
        export.main(["model", "--evaluations=evaluations", "--output=exported", "--format=torch", *options])
        names = json.loads(Path("exported/config.json").read_text())["inputs"]["tags"]["names"]
        given = [[float(name in {TAGS[j] for j in tags_of(number)}) for name in names] for number in numbers]
        program = torch.export.load("exported/model.pt2").module()
        with torch.no_grad():
            exported = program(squares, torch.tensor(given))[0].numpy()
        assert np.allclose(exported, expected, rtol=0, atol=1e-5) == is_calibrated


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_json(tmp_path / "x.json")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="no calibration of 'labels'; give the folder of this run's evaluation"):
        read_calibration(tmp_path, "labels")
    assert read_calibration(None, "labels") is None

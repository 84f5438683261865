"""Annotating a folder: the same labels as the evaluation, tags, and files that are no images."""

import json
from pathlib import Path

import polars as pl
import pytest
from annotation_data import SEED, TAGS, picture, read, recipe, split_of, tags_of, write_data_set

from base.console import UserError
from model.training.trainer import train
from systems.annotation import predict
from systems.annotation.evaluate import evaluate
from systems.annotation.rules import RuleParams
from systems.annotation.task import training_run


@pytest.mark.usefixtures("own_folder")
def test_a_folder_is_annotated_as_the_test_images_are(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(training_run(recipe(request), read(write_data_set(Path("data"))), SEED, "tiny"), Path("model"))
    params = RuleParams(batch_size=4, top=2, thresholds=[], bins=4)
    metrics, _, annotated, _ = evaluate(Path("model"), Path("data"), SEED, params)
    Path("evaluation").mkdir()
    Path("evaluation/metrics.json").write_text(json.dumps(metrics))
    tested = [number for number in range(32) if split_of(number) == "test"]
    Path("new").mkdir()
    rows = ["image_id\ttag"]
    for number in tested:
        Path(f"new/i{number:02}.png").write_bytes(picture(number))
        rows += [f"i{number:02}\t{TAGS[j].upper()}" for j in tags_of(number)]
    Path("new/i20-broken.jpg").write_bytes(b"no image")
    Path("tags.tsv").write_text("\n".join([*rows, "i02\tsomething else"]) + "\n")
    monkeypatch.setattr("sys.argv", ["predict"])
    monkeypatch.setattr(predict, "BATCH", 3)
    options = ["--model=model", "--images=new", "--tags=tags.tsv", "--evaluation=evaluation", "--output=out.jsonl"]
    predict.main(options)
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == sorted([*(f"i{number:02}" for number in tested), "i20-broken"])
    [broken] = [line for line in lines if "error" in line]
    assert "cannot decode" in broken["error"]
    of = {row["image_id"]: row for row in annotated.iter_rows(named=True)}
    for line in lines:
        if "error" in line:
            continue
        row = of[line["image"]]
        assert len(line["labels"]) == line["number"] == min(max(int(row["quantity"] + 0.5), 1), 3)
        best = sorted(row["probabilities"], reverse=True)
        assert [one["probability"] for one in line["labels"]] == pytest.approx(best[: line["number"]], abs=2e-3)


def test_what_is_no_evaluation_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_json(tmp_path / "x.json")
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="no calibration of 'labels'; give the folder of this run's evaluation"):
        predict.read_calibration(tmp_path, "labels")
    assert predict.read_calibration(None, "labels") is None

"""Applying a run to pictures: the same codes as the index's, and the same texts as a search finds among the model's."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import torch
from search_data import COLOURS, picture

from base import schemas
from base.artifacts import read_tables
from base.console import UserError
from clicksight import predict
from clicksight.explain import score_of
from clicksight.export import TOLERANCE, export, largest_difference, trace
from clicksight.models import load_model
from clicksight.pictures import middle_square
from systems.dckt.features import feature_rows
from systems.dckt.index import main as index
from systems.dckt.predictor import CrossMediaPredictor, load
from systems.dckt.search import main as search
from systems.dckt.search import nearest
from systems.dckt.trained import TargetModel

SIZES = [(24, 20), (20, 33), (41, 64)]  # of the pictures, not of the training


@pytest.fixture(autouse=True)
def own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


@pytest.fixture(scope="module")
def predictor(root: Path) -> CrossMediaPredictor:
    found = load_model(root / "model")
    assert isinstance(found, CrossMediaPredictor)
    return found


def squares_of(predictor: CrossMediaPredictor, files: list[bytes]) -> torch.Tensor:
    sizes = predictor.resize, predictor.image_size, predictor.finely
    pixels = np.stack([middle_square(file, *sizes) for file in files])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def new_pictures() -> list[bytes]:
    return [picture(colour, 300, size) for colour, size in zip(COLOURS, SIZES, strict=True)]


def test_the_codes_are_those_of_an_index_and_the_texts_those_of_a_search(predictor: CrossMediaPredictor) -> None:
    Path("new").mkdir(exist_ok=True)
    for number, file in enumerate(new_pictures()):
        Path(f"new/{number}.jpg").write_bytes(file)
    index(["--model=model", "--data=data", "--images=new", "--output=new.index"])
    items = pl.read_parquet("new.index/items.parquet").sort("id")
    texts = pl.read_parquet("model/texts.parquet")
    said = predictor.predict(squares_of(predictor, new_pictures()))
    for colour, one, code in zip(COLOURS, said, items["code"].to_numpy(), strict=True):
        expected = dict(zip(sorted(COLOURS), code.tolist(), strict=True))
        assert dict(one.categories) == pytest.approx(expected, abs=1e-5)
        assert one.categories[0].name == colour
        found = nearest(texts, np.asarray(code), 99)
        assert len(found) == len(texts) == 9
        cosines = {text.text: text.cosine for text in found}
        assert dict(one.texts) == pytest.approx(cosines, abs=1e-5)
        values = [text.value for text in one.texts]
        assert values == sorted(values, reverse=True)
        assert colour in one.texts[0].name
    limited = predictor.predict(squares_of(predictor, new_pictures()), top=2)
    assert [len(one.texts) for one in limited] == [len(one.categories) for one in limited] == [2, 2, 2]
    assert [one.texts for one in limited] == [one.texts[:2] for one in said]


def test_a_search_in_an_index_of_the_texts_by_a_picture_finds_the_same(predictor: CrossMediaPredictor) -> None:
    Path("texts.txt").write_text("".join(f"{row}\t{text}\n" for row, text in enumerate(predictor.texts)))
    Path("green.jpg").write_bytes(picture("green", 301))
    index(["--model=model", "--data=data", "--texts=texts.txt", "--output=own.index"])
    search(["--index=own.index", "--image=green.jpg", "--top=4", "--output=found.jsonl"])
    found = [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]
    [said] = predictor.predict(squares_of(predictor, [picture("green", 301)]), top=4)
    assert [one.value for one in said.texts] == pytest.approx([one["cosine"] for one in found], abs=1e-5)
    assert {one.name for one in said.texts if one.value < said.texts[0].value - 1e-6} <= {one["text"] for one in found}


def test_pictures_of_the_set_get_the_codes_of_their_embedded_features(predictor: CrossMediaPredictor) -> None:
    stored = {row["pair_id"]: row["image"]["bytes"] for row in read_tables(Path("data/target/pairs")).to_pylist()}
    ids = ["p07", "p31", "p02"]
    codes = TargetModel(Path("model")).image_codes(feature_rows(Path("data/target/embedded"), "image_id", ids))
    said = predictor.predict(squares_of(predictor, [stored[name] for name in ids]))
    expected = [dict(zip(predictor.categories, code.tolist(), strict=True)) for code in codes]
    for one, wanted in zip(said, expected, strict=True):
        assert dict(one.categories) == pytest.approx(wanted, abs=1e-5)


def test_the_command_shows_texts_and_parquet_has_them(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("blue.jpg").write_bytes(picture("blue", 302))
    predict.main(["model", "blue.jpg", "--top=3"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "blue.jpg"
    assert shown[1].startswith("  categories: blue ")
    assert shown[2] == "  texts:"
    assert [line.startswith("    ") for line in shown[3:]] == [True] * 3
    assert shown[3].split()[1:3] == ["A", "blue"]
    predict.main(["model", "blue.jpg", "--top=3", "--format=jsonl"])
    said = json.loads(capsys.readouterr().out)["texts"]
    predict.main(["model", "blue.jpg", "--top=3", "--output=out.parquet"])
    assert pq.read_schema("out.parquet") == schemas.PICTURE_PREDICTIONS
    [row] = pq.read_table("out.parquet").to_pylist()
    assert row["texts"] == [one["name"] for one in said]
    assert row["texts_values"] == pytest.approx([one["value"] for one in said], abs=1e-6)


def test_a_text_can_be_explained(predictor: CrossMediaPredictor) -> None:
    squares = squares_of(predictor, new_pictures())
    wanted = [dict(one.texts)["A red boat."] for one in predictor.predict(squares)]
    assert score_of(predictor, "text", "A red boat.")(squares) == pytest.approx(wanted, abs=1e-6)
    with pytest.raises(UserError, match=r"dckt before has no text 'A red cow.'"):
        score_of(predictor, "text", "A red cow.")


def test_an_export_has_the_frozen_convnet_and_the_texts(predictor: CrossMediaPredictor) -> None:
    graph = predictor.graph()
    squares = squares_of(predictor, new_pictures())
    said = predictor.predict(squares)
    expected = [[dict(one.categories)[name] for name in graph.outputs["probabilities"]] for one in said]
    program = trace(graph, predictor.image_size)
    with torch.no_grad():
        np.testing.assert_allclose(program.module()(squares), expected, rtol=0, atol=TOLERANCE)
    assert largest_difference(graph, program, predictor.image_size) <= TOLERANCE
    config = export(Path("model"), Path("exported"), ["safetensors"])
    assert config["preprocessing"]["interpolation"] == "bicubic"
    assert load_model("exported").predict(squares) == said


def test_a_model_without_texts_predicts_categories_alone(predictor: CrossMediaPredictor) -> None:
    shutil.copytree("model", "bare", dirs_exist_ok=True)
    Path("bare/texts.parquet").unlink()
    squares = squares_of(predictor, new_pictures())
    bare, full = load(Path("bare")).predict(squares), predictor.predict(squares)
    assert [one.categories for one in bare] == [one.categories for one in full]
    assert [one.texts for one in bare] == [[], [], []]
    with pytest.raises(UserError, match="predicts no clicks"):
        predictor.click_features(squares)


def test_what_does_not_fit_is_refused(root: Path) -> None:
    shutil.copytree("model", "odd", dirs_exist_ok=True)
    texts = pl.read_parquet("odd/texts.parquet")
    codes = pl.col("code").list.head(2)
    texts.with_columns(codes).write_parquet("odd/texts.parquet")
    with pytest.raises(UserError, match=r"texts\.parquet: not of this model, which has 3 categories"):
        load(Path("odd"))
    run = json.loads(Path("odd/run.json").read_text())
    Path("odd/run.json").write_text(json.dumps({**run, "frozen": None}))
    with pytest.raises(UserError, match=r"this model sees frozen features, and its run\.json doesn't say"):
        load(Path("odd"))
    with pytest.raises(UserError, match="not calibrated by an evaluation"):
        load(Path("model"), Path("evaluation"))

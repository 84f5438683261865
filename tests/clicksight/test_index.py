"""An index has the predicted click features of all usable pictures, and says what became of the others."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from click_pictures import COLOURS, WORDS, click_model, write_cut_offs, write_pictures
from PIL import Image

from base import schemas
from clicksight import index


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("set"))
    Path("model").mkdir()
    Path("model/run.json").write_text("{}")
    monkeypatch.setattr(index, "load_model", lambda folder: click_model())

    def run(*arguments: str) -> None:
        given = ["model", *arguments]
        monkeypatch.setattr(sys, "argv", ["clicksight index", *given])
        index.main(given)

    return run


@pytest.mark.parametrize("batch", [1, 2, 99])
def test_usable_pictures_are_indexed_in_order_and_others_listed(run, caplog, batch: int) -> None:
    run("set", "--output=out", f"--batch-size={batch}")
    assert pq.ParquetFile("out/pictures.parquet").schema_arrow == schemas.PICTURE_INDEX
    table = pl.read_parquet("out/pictures.parquet")
    assert table["image"].to_list() == ["set/blue.png", "set/green.png", "set/red.png"]
    vectors = np.stack(table["clicks"].to_list())
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3))
    assert [WORDS[place] for place in vectors.argmax(axis=1)] == ["sky", "grass", "fire"]
    for name, thumbnail in table.select("image", "thumbnail").iter_rows():
        small = Image.open(io.BytesIO(thumbnail))
        assert (small.format, small.size) == ("JPEG", (40, 30))  # a small picture is not enlarged
        colour = np.asarray(small, int)[15, 20]
        assert np.abs(colour - COLOURS[Path(name).stem]).max() < 8
    [bad] = [json.loads(line) for line in Path("out/unusable.jsonl").read_text().splitlines()]
    assert bad == {"image": "set/bad.png", "error": "not an image"}
    about = json.loads(Path("out/index.json").read_text())
    assert about["words"] == WORDS
    assert about["run"] == "some RUN, seed 0"
    assert "index: pictures 4" in caplog.text
    assert "index: indexed 3" in caplog.text
    assert "unusable: not an image 1" in caplog.text


def test_thumbnails_are_of_the_whole_picture_at_most_a_size_and_may_be_left_out(run) -> None:
    wide = Image.new("RGB", (900, 300), "red")
    wide.paste("blue", (0, 0, 300, 300))
    wide.save("wide.png")
    run("wide.png", "--output=out")
    [thumbnail] = pl.read_parquet("out/pictures.parquet")["thumbnail"]
    small = Image.open(io.BytesIO(thumbnail))
    assert small.size == (192, 64)
    assert [small.getpixel((x, 32)).index(max(small.getpixel((x, 32)))) for x in (10, 180)] == [2, 0]
    run("wide.png", "--output=none", "--no-thumbnails")
    assert pl.read_parquet("none/pictures.parquet")["thumbnail"].to_list() == [None]


def test_row_groups_are_of_bounded_size(run, monkeypatch) -> None:
    run("set", "--output=whole")
    monkeypatch.setattr(index, "AT_ONCE", 2)
    run("set", "--output=out", "--batch-size=1")
    assert pq.ParquetFile("out/pictures.parquet").num_row_groups == 2
    tables = [pl.read_parquet(f"{name}/pictures.parquet") for name in ("whole", "out")]
    assert tables[0]["image"].to_list() == tables[1]["image"].to_list()
    vectors = [np.stack(table["clicks"].to_list()) for table in tables]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-6)  # float32, sums of other batches


def test_without_usable_picture_or_clicks_there_is_no_index(run, monkeypatch, caplog) -> None:
    for arguments, text in (
        (["set/bad.png", "--output=out"], "none of 1 pictures can be used: unusable: not an image"),
        (["set", "--output=out", "--batch-size=0"], "--batch-size 0: at least 1 expected"),
        (["set", "--output=out", "--stop-words=none.txt"], "none.txt"),
    ):
        with pytest.raises(SystemExit) as exit_:
            run(*arguments)
        assert exit_.value.code == 2
        assert text in caplog.text
    monkeypatch.setattr(index, "load_model", lambda folder: click_model(words=False))
    with pytest.raises(SystemExit):
        run("set", "--output=out")
    assert "model: predicts no clicks; use a run of mtmdd with a click branch" in caplog.text
    assert not Path("out").exists()


def test_cut_offs_become_part_of_the_index_if_they_are_the_models(run, caplog) -> None:
    write_cut_offs(Path("cut.parquet"), Path("model"), [0.5, None, None, None, None])
    run("set", "--output=out", "--cut-offs=cut.parquet")
    assert Path("out/cut_offs.parquet").read_bytes() == Path("cut.parquet").read_bytes()
    run("set", "--output=out")  # again, without them
    assert sorted(path.name for path in Path("out").iterdir()) == ["index.json", "pictures.parquet", "unusable.jsonl"]
    Path("model/run.json").write_text("{ }")
    with pytest.raises(SystemExit):
        run("set", "--output=other", "--cut-offs=cut.parquet")
    assert "cut.parquet: made for another model (some RUN, seed 0)" in caplog.text
    assert not Path("other").exists()


def test_click_features_of_no_pictures_are_empty() -> None:
    [(names, vectors, bad)] = index.click_features(click_model(), iter(()), 4)
    assert (names, vectors.shape, bad) == ([], (0, len(WORDS)), [])

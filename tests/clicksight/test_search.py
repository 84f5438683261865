"""Searches by words and by a picture: exact, in order, with named unknown words; only with the index's own model."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_pictures import WORDS, click_model, write_cut_offs, write_pictures
from hypothesis import given
from hypothesis import strategies as st

from base import schemas
from base.artifacts import write_table
from base.console import UserError
from clicksight import index, search
from clicksight.search import Index
from model.frozen_features import as_lists
from pipelines.words.segmentation import SegmentParams

SEGMENT = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas="en")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of the pictures, made by the command."""
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("set"))
    Path("model").mkdir()
    Path("model/run.json").write_text("{}")
    for module in (index, search):
        monkeypatch.setattr(module, "load_model", lambda folder: click_model())
    monkeypatch.setattr(sys, "argv", ["clicksight index", "model", "set", "--output=out", "--lemmas=en"])
    index.main(["model", "set", "--output=out", "--lemmas=en"])
    return Path("out")


def found(capsys: pytest.CaptureFixture, *arguments: str) -> list[dict]:
    search.main(["out", "--format=jsonl", *arguments])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_words_find_the_pictures_that_would_be_clicked_for_them(made, capsys, caplog) -> None:
    assert [one["image"] for one in found(capsys, "SKY!", "--top=1")] == ["set/blue.png"]
    red, blue, green = found(capsys, "FIRES of a dog, dragon")  # blue has a little red, green has none
    assert [one["image"] for one in (red, blue, green)] == ["set/red.png", "set/blue.png", "set/green.png"]
    assert [one["rank"] for one in (red, blue, green)] == [1, 2, 3]
    # red is (250, 20, 0): v^ = (0.980, 0.078, 0, 0.1, 0), the query (1, 0, 0, 1, 0) / sqrt 2
    v = np.array([250 / 255, 20 / 255, 0, 0.1])
    expected = (v[0] + v[3]) / np.sqrt(2) / np.linalg.norm(v)
    assert red["cosine"] == pytest.approx(expected, abs=0.005)  # JPEG changes a colour by a level or two of 255
    assert "left out: 'a', 'dragon', 'of'" in caplog.text


def test_an_index_of_full_row_groups_only_is_searched(made, monkeypatch, capsys) -> None:
    monkeypatch.setattr(index, "AT_ONCE", 3)  # the usable pictures are three
    shutil.rmtree(made)
    index.main(["model", "set", "--output=out", "--lemmas=en", "--batch-size=3"])
    assert pq.ParquetFile("out/pictures.parquet").num_row_groups == 1
    assert [one["image"] for one in found(capsys, "sky", "--top=1")] == ["set/blue.png"]


def test_an_approximate_index_is_used_unless_all_shall_be_compared(made, monkeypatch, capsys, caplog) -> None:
    assert not Index.read(made).is_approximate
    index.main(["model", "set", "--output=out", "--lemmas=en", "--exact-up-to=2"])
    assert "more than 2 pictures: approximate, in 1 lists" in caplog.text
    assert Index.read(made).is_approximate
    approximately = found(capsys, "sky")
    (made / "approximate.faiss").write_bytes(b"not read")
    exactly = found(capsys, "sky", "--exact")
    assert [one["image"] for one in approximately] == [one["image"] for one in exactly]
    with pytest.raises(SystemExit):
        search.main(["out", "sky"])
    assert "approximate.faiss: cannot be read by faiss" in caplog.text


@pytest.mark.parametrize("arguments", [[], ["fire", "--image=set/red.png"]])
def test_a_search_is_by_words_or_by_a_picture(made, capsys, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        search.main(["out", *arguments])
    assert exit_.value.code == 2
    assert "words or --image PICTURE expected, one of them" in capsys.readouterr().err


def test_a_query_of_unknown_words_is_an_error(made, caplog) -> None:
    with pytest.raises(SystemExit) as exit_:
        search.main(["out", "dragon"])
    assert exit_.value.code == 2
    assert "'dragon' has no word that the model knows; its 5 words are in index.json" in caplog.text


def test_a_picture_finds_itself_and_only_by_the_same_model(made, capsys, caplog) -> None:
    first, *_ = found(capsys, "--image=set/green.png")
    assert first["image"] == "set/green.png"
    assert first["cosine"] == pytest.approx(1, abs=1e-6)
    shutil.move("model", "moved")
    for arguments, text in (
        (["--image=set/green.png"], "the model of out is not there; give its folder by --model"),
        (["--image=set/bad.png", "--model=moved"], "set/bad.png: not an image"),
        (["--image=none.png", "--model=moved"], "none.png: no such file"),
        (["fire", "--top=0"], "--top 0: at least 1 expected"),
    ):
        with pytest.raises(SystemExit):
            search.main(["out", *arguments])
        assert text in caplog.text
    assert found(capsys, "--image=set/green.png", "--model=moved", "--top=1")[0] == first
    Path("moved/run.json").write_text("{ }")
    with pytest.raises(UserError, match="not the model that made out; make the index again"):
        Index.read(made).of_picture(Path("set/green.png"), Path("moved"))


def test_pictures_that_a_word_does_not_fit_are_left_out(made, capsys, caplog) -> None:
    def searched(*arguments: str) -> list[str]:
        return [one["image"] for one in found(capsys, *arguments)]

    every = searched("fire")
    assert every == ["set/red.png", "set/blue.png", "set/green.png"]
    # v^ of fire: red 0.99, blue 0.05, green 0; of dog: blue 0.12, the others 0.1
    write_cut_offs(made / "cut_offs.parquet", Path("model"), [0.02, 0.9, 0.95, None, 1.0])
    assert searched("fire") == ["set/red.png", "set/blue.png"]
    assert searched("fire", "--all") == every
    assert searched("fire", "--top=1") == ["set/red.png"]
    assert "nothing fits" not in caplog.text
    assert searched("fire", "sky") == ["set/blue.png"]  # above both
    assert searched("grass", "sky") == []
    assert "nothing fits: no picture is above the cut-offs, above which 75 % are right; --all" in caplog.text
    assert "too little evidence" not in caplog.text
    assert searched("dog", "sky") == ["set/blue.png"]  # the dog excludes none
    assert "too little evidence for a cut-off, so nothing says what fits them: 'dog'" in caplog.text
    assert len(searched("dog")) == 3
    assert len(searched("--image=set/red.png")) == 3


def test_the_name_of_a_category_has_the_cut_off_of_names(made, capsys, caplog) -> None:
    # Cosines with "grass" and "sky", as in "Grass of the Sky": blue 0.70, green 0.82, red 0.06.
    names = ["grass of the sky", "unicorn", "sky"]
    write_cut_offs(made / "cut_offs.parquet", Path("model"), [None] * 5, names, 0.75)
    assert [one["image"] for one in found(capsys, "sky", "grass")] == ["set/green.png"]
    assert [one["image"] for one in found(capsys, "sky")] == ["set/blue.png"]
    assert "too little evidence" not in caplog.text
    assert len(found(capsys, "grass")) == 3  # no name, and without a cut-off of its own
    assert "nothing says what fits them: 'grass'" in caplog.text


def test_an_index_with_another_models_cut_offs_is_refused(made) -> None:
    Path("other").mkdir()
    Path("other/run.json").write_text('{"seed": 7}')
    write_cut_offs(made / "cut_offs.parquet", Path("other"), [0.5] * 5)
    with pytest.raises(UserError, match="made for another model"):
        Index.read(made)


@pytest.mark.parametrize("words", [["sky"], ["fire", "grass"]])
def test_a_file_has_what_standard_output_has(made, capsys, words: list[str]) -> None:
    lines = found(capsys, *words)
    for suffix in ("jsonl", "parquet"):
        search.main(["out", *words, f"--output=found.{suffix}"])
    assert capsys.readouterr().out == ""
    assert [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()] == lines
    table = pq.read_table("found.parquet")
    assert table.schema.equals(schemas.SEARCH_RESULTS)
    for row, line in zip(table.to_pylist(), lines, strict=True):
        assert row == {**line, "cosine": pytest.approx(line["cosine"], abs=1e-6)}
    with pytest.raises(UserError, match=r"--output x.csv: the suffix says the format; expected .jsonl or .parquet"):
        search.write([], Path("x.csv"))


def test_a_search_for_words_refuses_the_index_of_another_model(made, capsys, caplog) -> None:
    assert len(found(capsys, "sky", "--model=model")) == 3
    Path("model/run.json").write_text("{ }")
    assert len(found(capsys, "sky")) == 3  # the words need no model
    with pytest.raises(SystemExit):
        search.main(["out", "sky", "--model=model"])
    assert "model: not the model that made out" in caplog.text


def test_a_table_for_people_escapes_names() -> None:
    shown = search.show([search.Found(1, "a\x1b[31m", 0.5, 0)], "table")
    assert "\x1b" not in shown
    assert shown.splitlines()[-1].split()[:2] == ["1", "0.500"]


@given(
    rows=st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=2), min_size=1, max_size=12),
    top=st.integers(1, 14),
    group=st.integers(1, 5),
)
def test_a_search_by_blocks_is_a_stable_sort_of_all_cosines(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]], top: int, group: int
) -> None:
    folder = tmp_path_factory.mktemp("index")
    vectors = np.array(rows, np.float32)
    names = [f"p{number}" for number in range(len(rows))]
    table = pa.Table.from_arrays(
        [pa.array(names), as_lists(vectors), pa.nulls(len(names), pa.binary())], schema=schemas.PICTURE_INDEX
    )
    write_table(table, folder / "pictures.parquet", row_group_rows=group)
    query = np.array([0.5, 0.75], np.float32)  # products and sums without rounding
    cosines = [float(value) for value in vectors @ query]
    expected = sorted(range(len(rows)), key=lambda row: -cosines[row])[:top]
    index = Index(folder, Path("model"), "", ["a", "b"], SEGMENT)
    result = index.nearest(query, top)
    index.entries.hold()
    assert index.nearest(query, top) == result
    assert [one.row for one in result] == expected
    assert [one.image for one in result] == [names[row] for row in expected]
    assert [one.rank for one in result] == list(range(1, len(expected) + 1))
    assert [one.cosine for one in result] == [cosines[row] for row in expected]


def test_what_is_no_index_is_refused(made, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an index"):
        Index.read(tmp_path)
    about = json.loads((made / "index.json").read_text())
    (made / "index.json").write_text(json.dumps({**about, "words": WORDS[:3]}))
    with pytest.raises(UserError, match=r"vectors have another length than index.json's words"):
        Index.read(made).nearest(np.ones(3, np.float32), 1)
    del about["segment"]
    (made / "index.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match="not as clicksight index writes it"):
        Index.read(made)

"""Indexing: every file and line is indexed or quarantined with its reason, ids are sorted, bytes are stable."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from search_data import picture

from systems.dckt.index import main

MODEL = ["--model=model", "--data=data"]


@pytest.fixture(autouse=True)
def own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


def rows(folder: str) -> tuple[pl.DataFrame, list[tuple]]:
    bad = pl.read_parquet(f"{folder}/quarantine.parquet")
    assert bad["rows"].to_list() == [1] * len(bad)
    return pl.read_parquet(f"{folder}/items.parquet"), bad.select("file", "row", "reason").rows()


def test_images_of_all_folders_are_indexed_and_others_quarantined() -> None:
    for name in ("b.JPG", "sub/a.png", "sub/z.jpeg"):
        Path("pictures", name).parent.mkdir(parents=True, exist_ok=True)
        Path("pictures", name).write_bytes(picture("green", len(name)))
    Path("pictures/broken.jpg").write_bytes(picture("red", 1)[:60])
    Path("pictures/notes.txt").write_text("no picture")
    main([*MODEL, "--images=pictures", "--output=images.index"])
    items, bad = rows("images.index")
    assert items["id"].to_list() == ["b.JPG", "sub/a.png", "sub/z.jpeg"]
    assert set(items["text"]) == {""}
    assert bad == [("broken.jpg", 1, "unreadable image")]
    np.testing.assert_allclose(np.stack(list(items["code"].to_numpy())).sum(axis=1), 1, atol=1e-5)
    before = {path.name: path.read_bytes() for path in Path("images.index").iterdir()}
    main([*MODEL, "--images=pictures", "--output=images.index"])
    assert before == {path.name: path.read_bytes() for path in Path("images.index").iterdir()}


def test_texts_with_and_without_ids() -> None:
    lines = ["A red car", "t7\tthe blue boat", "", "zzz", "t7\tgreen", "x\t ", "a green house\r"]
    Path("texts.txt").write_bytes("\n".join(lines).encode() + b"\n")
    main([*MODEL, "--texts=texts.txt", "--output=texts.index"])
    items, bad = rows("texts.index")
    assert items.select("id", "text").rows() == [("1", "A red car"), ("7", "a green house"), ("t7", "the blue boat")]
    assert bad == [
        ("texts.txt", 3, "empty text"),
        ("texts.txt", 4, "no known word"),
        ("texts.txt", 5, "id twice"),
        ("texts.txt", 6, "empty text"),
    ]
    about = json.loads(Path("texts.index/index.json").read_text())
    assert about["kind"] == "texts"
    assert about["encoders"]["model"] == "model"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*MODEL, "--images=nowhere"], "nowhere: no such folder"),
        ([*MODEL, "--images=empty"], "empty: no image file in it"),
        ([*MODEL, "--texts=nothing.txt"], "nothing.txt: an empty file"),
        ([*MODEL, "--texts=unknown.txt"], "none of 2 texts could be indexed: {'no known word': 2}"),
        ([*MODEL, "--texts=latin.txt"], "latin.txt: not UTF-8"),
        ([*MODEL, "--texts=gone.txt"], "gone.txt"),
        (["--model=data", "--data=data", "--texts=texts.txt"], "data: no weights"),
    ],
)
def test_bad_input(arguments: list[str], message: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("empty").mkdir(exist_ok=True)
    Path("nothing.txt").write_text("")
    Path("unknown.txt").write_text("zzz\nyyy\n")
    Path("latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--output=bad.index"])
    assert ended.value.code == 2
    assert message in caplog.text
    assert not Path("bad.index").exists()


@pytest.mark.parametrize("given", [[], ["--images=pictures", "--texts=texts.txt"]], ids=["none", "both"])
def test_either_images_or_texts(given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*MODEL, *given, "--output=bad.index"])
    assert ended.value.code == 2

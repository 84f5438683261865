"""Searching: right colours come first in all four directions; order, outputs, and bad input."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from search_data import COLOURS, picture
from sklearn.metrics.pairwise import cosine_similarity

from systems.dckt.index import main as index
from systems.dckt.search import Found, as_lines, as_table, main, nearest


@pytest.fixture(scope="module", autouse=True)
def indexes(root: Path) -> None:
    """An index of pictures, one of texts, and pictures to search by."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        Path("pictures").mkdir()
        for number, colour in enumerate(list(COLOURS) * 3):
            Path(f"pictures/{colour}-{number}.jpg").write_bytes(picture(colour, 100 + number))
            Path(f"query-{colour}.jpg").write_bytes(picture(colour, 200))
        Path("texts.txt").write_text("".join(f"{name}\ta {name} chair\n" for name in COLOURS))
        model = ["--model=model", "--data=data"]
        index([*model, "--images=pictures", "--output=images.index"])
        index([*model, "--texts=texts.txt", "--output=texts.index"])


@pytest.fixture(autouse=True)
def own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


def found(*arguments: str) -> list[dict]:
    main([*arguments, "--output=found.jsonl"])
    return [json.loads(line) for line in Path("found.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("by", ["text", "image"])
def test_the_right_colour_comes_first_both_ways(colour: str, by: str) -> None:
    query = f"--text=some {colour} flower" if by == "text" else f"--image=query-{colour}.jpg"
    images, texts = (found(f"--index={kind}.index", query, "--top=3") for kind in ("images", "texts"))
    assert {one["id"].split("-")[0] for one in images} == {colour}
    assert texts[0]["id"] == colour
    assert texts[0]["text"] == f"a {colour} chair"
    assert [one["rank"] for one in images] == [1, 2, 3]
    cosines = [one["cosine"] for one in images]
    assert cosines == sorted(cosines, reverse=True)
    assert set(images[0]) == {"rank", "id", "cosine"}


def test_the_table_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--index=texts.index", "--text=a blue car", "--top=2"])
    heading, _, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["rank", "cosine", "id", "text"]
    assert first.split()[0] == "1"
    assert first.split()[2:] == ["blue", "a", "blue", "chair"]
    assert second.split()[0] == "2"


def test_the_order_is_that_of_cosines_and_ties_are_by_id() -> None:
    codes = np.array([[1.0, 0.2], [0.1, 3.0], [2.0, 0.4], [0.0, 0.0]], np.float32)
    items = pl.DataFrame(
        {"id": ["a", "b", "c", "d"], "text": "", "code": pl.Series(codes.tolist(), dtype=pl.List(pl.Float32))}
    )
    query = np.array([1.0, 0.1], np.float32)
    result = nearest(items, query, 9)
    assert [one.id for one in result] == ["a", "c", "b", "d"]
    expected = cosine_similarity(codes, query[None])[:, 0]
    assert [one.cosine for one in result] == pytest.approx(expected[[0, 2, 1, 3]], abs=1e-6)
    assert len(nearest(items, query, 2)) == 2


def test_control_characters_of_ids_and_texts_are_escaped_in_the_table_only() -> None:
    result = [Found(1, "a\x1b[2J", "x\u202ey", 0.5)]
    assert "\x1b" not in as_table(result, "texts")
    assert "\u202e" not in as_table(result, "texts")
    assert json.loads(as_lines(result, "texts")) == {"rank": 1, "id": "a\x1b[2J", "text": "x\u202ey", "cosine": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index=model", "--text=red"], "model: not an index"),
        (["--index=texts.index", "--text=zzz"], "'zzz' has no word that the model knows"),
        (["--index=texts.index", "--text="], "'' has no word that the model knows"),
        (["--index=texts.index", "--image=gone.jpg"], "gone.jpg: no such file"),
        (["--index=texts.index", "--image=texts.txt"], "texts.txt: cannot decode an image"),
        (["--index=texts.index", "--text=red", "--top=0"], "--top 0: at least 1 expected"),
        (["--index=odd.index", "--text=red"], "odd.index/index.json: not as systems.dckt.index writes it"),
        (["--index=old.index", "--text=red"], "the index was made with older; make the index again"),
    ],
)
def test_bad_input(arguments: list[str], message: str, caplog: pytest.LogCaptureFixture) -> None:
    about = json.loads(Path("texts.index/index.json").read_text())
    for name, content in (("odd", {"kind": "texts"}), ("old", about)):
        Path(f"{name}.index").mkdir(exist_ok=True)
        Path(f"{name}.index/items.parquet").write_bytes(Path("texts.index/items.parquet").read_bytes())
        if name == "old":
            content["encoders"]["digest"] = "older"
        Path(f"{name}.index/index.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--output=none.jsonl"])
    assert ended.value.code == 2
    assert message in caplog.text
    assert not Path("none.jsonl").exists()

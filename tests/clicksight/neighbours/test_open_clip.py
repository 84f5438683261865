import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from neighbour_data import NASTY, picture, small, source
from open_clip_train.data import CsvDataset

from clicksight.neighbours.items import one_line
from clicksight.neighbours.open_clip import write

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


def test_open_clip_reads_every_text_with_its_picture(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    counts = write(small(tmp_path), out)
    assert counts == {"pictures": 9, "pictures without a text": 1, "rows": 11}
    with contextlib.chdir(out):
        read = CsvDataset("train.csv", lambda image: image.size, "filepath", "title", tokenizer=lambda texts: texts)
        rows = [read[number] for number in range(len(read))]
    first = [text for size, text in rows if size == (9, 7)]
    assert first == ["line break and \"quotes\", 'too'", "NA ", "zebra"]  # most clicks first, then by code point
    expected = {one_line(f"{id_} one"): 9 + number for number, id_ in enumerate(NASTY)}
    assert {text: size[0] for size, text in rows[3:]} == dict(list(expected.items())[1:-1])
    assert not [path for path in out.rglob("*") if not path.resolve().is_relative_to(out.resolve())]
    assert sorted(path.suffix for path in (out / "images").rglob("*.*")).count(".png") == 4
    assert (out / "images/00000").exists()
    assert picture(0) in [path.read_bytes() for path in (out / "images/00000").iterdir()]


@hypothesis_settings(max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=4, unique=True))
def test_any_text_comes_back_on_one_line(texts: list[str]) -> None:
    texts = ["a dog", *(text for text in texts if text != "a dog")]  # a table of numbers alone is read as numbers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "out"
        out.mkdir()
        write(source(folder, ["i"], [("i", text, 9 - place) for place, text in enumerate(texts)]), out)
        expected = [one_line(text) for text in texts if one_line(text)]
        with contextlib.chdir(out):
            read = CsvDataset("train.csv", lambda image: image, "filepath", "title", tokenizer=lambda texts: texts)
            assert [read[number][1].strip() for number in range(len(read))] == expected


@pytest.mark.parametrize("texts", [1, 2])
def test_so_many_texts_at_most(tmp_path: Path, texts: int) -> None:
    out = tmp_path / "out"
    out.mkdir()
    assert write(source(tmp_path, ["i"], [("i", text, 1) for text in "cab"], texts), out)["rows"] == texts

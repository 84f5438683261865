from pathlib import Path

import pytest

from base.console import UserError
from pipelines.ingest.image_archives import Place
from pipelines.pairs.wikipedia import wikipedia_pieces

ARTICLE = "<document><title>not this</title><text>{}</text></document>"


@pytest.fixture
def wikipedia(tmp_path: Path) -> Path:
    for name, text in {
        "trainset_txt_img_cat.list": "t-1\timg1\t1\nt-2\timg2\t2\nt-3\timg3\t2\n\nt-4\timg1\n",
        "testset_txt_img_cat.list": "u-1\timg4\t3\nu-2\timg9\t1\nu-3\timg1\t1\n",
        "categories.list": "art\nbiology\n",
    }.items():
        (tmp_path / name).write_text(text)
    for path in ("images/art/img1.jpg", "images/biology/img2.jpg", "images/biology/img3.jpg", "images/x/img4.jpg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"jpeg")
    (tmp_path / "texts").mkdir()
    texts = {"t-1": "A <b>painted</b> wall &amp; door", "t-2": "cells", "u-1": "a lake", "u-3": "frescoes"}
    for name, text in texts.items():
        (tmp_path / "texts" / f"{name}.xml").write_text(ARTICLE.format(text))
    (tmp_path / "texts" / "t-3.xml").write_text("<document><text>open")
    return tmp_path


def test_rows_of_both_lists_get_their_image_text_category_and_split(wikipedia: Path) -> None:
    rows = [pair for piece in wikipedia_pieces(wikipedia) for pair in piece.read()]
    found = {(pair.file, pair.row): pair for pair in rows}
    train, test = "trainset_txt_img_cat.list", "testset_txt_img_cat.list"
    assert len(rows) == len(found) == 8
    first = found[train, 1]
    assert first[2:7] == (
        "t-1", "art", "train", "A  painted  wall & door", Place("images/art/img1.jpg", name="images/art/img1.jpg"),
    )  # fmt: skip
    assert (found[test, 1].category, found[test, 1].split) == ("3", "test")  # a number without a name stays
    reasons = {key: pair.reason for key, pair in found.items() if pair.reason}
    assert reasons == {
        (train, 3): "text is not XML", (train, 4): "empty line", (train, 5): "not three fields",
        (test, 2): "no image",
    }  # fmt: skip


def test_a_row_without_its_article_is_refused(wikipedia: Path) -> None:
    (wikipedia / "texts" / "t-2.xml").unlink()
    rows = [pair for piece in wikipedia_pieces(wikipedia) for pair in piece.read()]
    assert [pair.pair_id for pair in rows if pair.reason == "no text"] == ["t-2"]


@pytest.mark.parametrize("name", ["testset_txt_img_cat.list", "texts"])
def test_a_missing_part_is_named(wikipedia: Path, name: str) -> None:
    (wikipedia / name).rename(wikipedia / "elsewhere")
    with pytest.raises(UserError, match=f"{name}: is missing; the layout `wikipedia` has"):
        wikipedia_pieces(wikipedia)

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base import schemas
from base.console import UserError, rows_add_up
from pipelines.pairs.captions import read_captions, read_queries

TABLE = (
    "image_id\tlanguage\tsentence\n"
    "b\ten\ta grey dog\n"
    "a\tzh\t一只灰色的狗\n"
    "b\ten\tit sits\n"
    "c\ten\tof another image\n"
    "a\ten\ta cat \n"
    "b\tzh\t坐着\n"
    "\ten\tnobody\n"
    "a\ten\t \n"
    "a\ten\n"
)


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    (tmp_path / "captions.tsv").write_text(TABLE, encoding="utf-8")
    return tmp_path / "captions.tsv"


def test_sentences_of_an_image_are_joined_in_order(captions: Path) -> None:
    texts = read_captions(captions, {"a", "b"})
    assert texts.by_image == {"b": "a grey dog it sits 坐着", "a": "一只灰色的狗 a cat"}
    assert (texts.read, texts.kept) == (9, 5)
    assert texts.left_out == {"of an image elsewhere": 1}
    assert [(row.row, row.reason) for row in texts.refused] == [
        (8, "empty image id"), (9, "empty sentence"), (10, "not 3 fields"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("languages", "most", "expected", "left_out"),
    [
        (["en"], None, {"b": "a grey dog it sits", "a": "a cat"}, {"in another language": 2}),
        (None, 1, {"b": "a grey dog", "a": "一只灰色的狗"}, {"more texts than are used": 3}),
        (["zh", "fr"], 1, {"a": "一只灰色的狗", "b": "坐着"}, {"in another language": 4}),
    ],
)
def test_languages_and_a_number_of_sentences_are_chosen(captions, languages, most, expected, left_out) -> None:
    texts = read_captions(captions, {"a", "b"}, languages, most)
    assert texts.by_image == expected
    assert {key: n for key, n in texts.left_out.items() if key != "of an image elsewhere"} == left_out
    rows_add_up(texts.read, texts.kept, Counter(row.reason for row in texts.refused) + texts.left_out, "captions")


def test_a_table_without_a_column_or_no_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("image_id\tsentence\na\tb\n")
    assert read_captions(tmp_path / "t.tsv", {"a"}).by_image == {"a": "b"}
    with pytest.raises(UserError, match="lacks the column language; its first line has image_id, sentence"):
        read_captions(tmp_path / "t.tsv", {"a"}, ["en"])
    with pytest.raises(UserError, match=r"none.tsv: no such file; expected a table with the columns image_id"):
        read_captions(tmp_path / "none.tsv", {"a"})


def test_the_most_clicked_queries_become_the_text(tmp_path: Path) -> None:
    rows = [("a", "dog", 2), ("a", "puppy", 5), ("a", "an animal", 2), ("b", "cat", 1), ("z", "else", 9)]
    for shard, part in enumerate((rows[::2], rows[1::2])):
        table = pa.Table.from_pylist([dict(zip(schemas.CLICKS.names, row, strict=True)) for row in part])
        pq.write_table(table.cast(schemas.CLICKS), tmp_path / f"part-{shard:05d}.parquet")
    texts = read_queries(tmp_path, {"a", "b", "c"})
    assert texts.by_image == {"a": "puppy an animal dog", "b": "cat"}
    fewer = read_queries(tmp_path, {"a", "b", "c"}, most=2)
    assert fewer.by_image == {"a": "puppy an animal", "b": "cat"}
    assert (fewer.read, fewer.kept) == (5, 3)
    assert fewer.left_out == {"of an image elsewhere": 1, "more texts than are used": 1}
    with pytest.raises(UserError, match="no shards of clicks here, and no captions are named"):
        read_queries(tmp_path / "none", {"a"})

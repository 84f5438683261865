import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pair_sets import pair_rows, write_jsonl, write_parquet, write_tsv

from base.console import UserError
from pipelines.ingest.image_archives import Place
from pipelines.pairs.records import RawPair
from pipelines.pairs.tables import as_text, table_pieces


def read(path: Path, names: dict[str, str] | None = None, images: Path | None = None) -> list[RawPair]:
    return [pair for piece in table_pieces(path, names or {}, images) for pair in piece.read()]


def test_parquet_is_read_by_groups_of_rows_with_their_numbers(tmp_path: Path) -> None:
    rows = pair_rows()
    path = write_parquet(tmp_path / "pairs.parquet", rows, group=5)
    assert [piece.first_row for piece in table_pieces(path, {}, None)] == [1, 6, 11]
    found = read(path)
    assert [pair.row for pair in found] == list(range(1, 13))
    expected = [(r["id"], r["text"], r["category"], r["split"], r["image"]) for r in rows]
    assert [(p.pair_id, p.text, p.category, p.split, p.image) for p in found] == expected


def test_tsv_with_base64_and_json_lines_with_paths_hold_the_same_pairs(tmp_path: Path) -> None:
    rows = pair_rows()
    tsv = read(write_tsv(tmp_path / "pairs.tsv", rows))
    jsonl = read(write_jsonl(tmp_path / "pairs.jsonl", rows))
    assert [pair.row for pair in tsv] == list(range(2, 14))  # the header is line 1
    assert [pair.row for pair in jsonl] == list(range(1, 13))
    assert [pair.image for pair in tsv] == [row["image"] for row in rows]
    assert jsonl[3].image == Place(f"pictures/{rows[3]['id']}.jpg", name=f"pictures/{rows[3]['id']}.jpg")
    assert [pair[2:6] for pair in tsv] == [pair[2:6] for pair in jsonl]


def test_a_gzipped_text_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = write_tsv(tmp_path / "pairs.tsv", pair_rows()).read_bytes()
    (tmp_path / "packed.tsv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text))
    assert [p[1:] for p in read(tmp_path / "packed.tsv.gz")] == [p[1:] for p in read(tmp_path / "pairs.tsv")]


def test_columns_are_renamed_and_lists_are_understood(tmp_path: Path) -> None:
    table = pa.table(
        {
            "item": pa.array([17, 4]),
            "tags": pa.array([["red", "round"], None]),
            "labels": pa.array([["fruit", "apple"], []], pa.list_(pa.string())),
            "picture": pa.array([{"bytes": b"x", "path": None}, {"bytes": None, "path": "a/b.png"}]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    names = {"id": "item", "text": "tags", "category": "labels", "image": "picture"}
    first, second = read(tmp_path / "t.parquet", names)
    assert (first.pair_id, first.text, first.category, first.split, first.image) == (
        "17", "red round", "fruit", "", b"x",
    )  # fmt: skip
    assert (second.pair_id, second.text, second.category) == ("4", "", "")
    assert second.image == Place("a/b.png", name="a/b.png")


def test_bad_lines_are_refused_with_their_reason(tmp_path: Path) -> None:
    lines = [b"id\ttext\tcategory\timage", b"1\tone\ta\t1.jpg", b"", b"2\ttwo\ta", b"3\t\xff\ta\t3.jpg"]
    lines += [b"4\tfour\tb\t../4.jpg", b"5\tfive\tb\t/5.jpg", b"6\tsix\tb\t"]
    (tmp_path / "t.tsv").write_bytes(b"\n".join(lines))
    found = [(pair.row, pair.reason) for pair in read(tmp_path / "t.tsv")]
    leads_out = "name leads out of the images' folder"
    assert found == [
        (2, ""), (3, "empty line"), (4, "not 4 fields"), (5, "not UTF-8"), (6, leads_out), (7, leads_out), (8, ""),
    ]  # fmt: skip
    (tmp_path / "t.jsonl").write_text('{"id": 1, "text": "x", "category": "a", "image": "1.jpg"}\n[1]\n{"id"\n')
    assert [pair.reason for pair in read(tmp_path / "t.jsonl")] == ["", "not a JSON object", "not a JSON object"]
    (tmp_path / "b.tsv").write_text("id\ttext\tcategory\timage_base64\n1\tone\ta\t?\n2\ttwo\ta\t\n")
    assert [(p.reason, p.image) for p in read(tmp_path / "b.tsv")] == [("not base64", None), ("", None)]


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        (["id", "text", "image"], {}, "no column 'category'.*it has id, text, image.*--columns category=NAME"),
        (["id", "text", "category"], {}, "no column 'image'"),
        (["id", "text", "category", "image"], {"split": "part"}, "no column 'part', which should have the split"),
        (["id", "text", "category", "image"], {"label": "category"}, "'label' is none of id, text, category, split"),
    ],
)
def test_missing_columns_are_named(tmp_path: Path, columns: list[str], names: dict[str, str], message: str) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(dict.fromkeys(columns, "x")) + "\n")
    with pytest.raises(UserError, match=message):
        table_pieces(tmp_path / "t.jsonl", names, None)


def test_what_is_no_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("id,text\n")
    with pytest.raises(UserError, match=r"pairs.csv: not known as a table by its name; known: .parquet, .tsv"):
        table_pieces(tmp_path / "pairs.csv", {}, None)
    (tmp_path / "pairs.jsonl").write_text("3\n")
    with pytest.raises(UserError, match="the first line is not a JSON object: '3'"):
        table_pieces(tmp_path / "pairs.jsonl", {}, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: no \*.parquet here"):
        table_pieces(tmp_path / "empty", {}, None)
    (tmp_path / "cut.parquet").write_bytes(write_parquet(tmp_path / "p.parquet", pair_rows()).read_bytes()[:-9])
    with pytest.raises(UserError, match=r"cut.parquet: cannot be read as Parquet"):
        table_pieces(tmp_path / "cut.parquet", {}, None)


def test_cells_become_text() -> None:
    assert [as_text(cell) for cell in (None, 3, ["a", None, "b"], "c")] == ["", "3", "a b", "c"]

"""The plain layout: a table of columns, and tab-separated files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_images import jpeg, write_jpeg

from base.console import UserError
from pipelines.annotations.plain import TOO_LONG, ColumnParams, read_table, read_tables

COLUMNS = ColumnParams(image_id="id", image="picture", labels="genres", tags="words", split="part")


def write_items(folder: Path, **changed: pa.Array) -> None:
    columns = {
        "id": pa.array([7, 8, 9]),
        "picture": pa.array([jpeg(1), None, jpeg(2)]),
        "genres": pa.array([["war", "love"], ["war"], []], pa.list_(pa.string())),
        "words": pa.array([["a", "x" * 30], None, ["b", None, "b"]], pa.list_(pa.string())),
        "part": pa.array(["train", "test", None]),
    }
    pq.write_table(pa.table(columns | changed), folder / "items.parquet")


def test_a_table(tmp_path: Path) -> None:
    write_items(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    source = read_table(tmp_path, scratch, COLUMNS, longest_tag=20)
    assert [name for name, _ in source.images.places] == ["7", "9"]
    assert [(row.row, row.reason, row.raw) for row in source.images.refused] == [(2, "no image", "8")]
    assert source.labels.rows() == [
        ("items.parquet", 1, "7", "war"), ("items.parquet", 1, "7", "love"), ("items.parquet", 2, "8", "war"),
    ]  # fmt: skip
    assert source.given.rows() == [("7", "train"), ("8", "test")]
    assert pq.read_table(source.tags[0].path).to_pydict() == {
        "image_id": ["7", "9", "9", "9"],
        "tag": ["a", "b", None, "b"],
    }
    assert [(row.row, row.reason) for row in source.refused_tags] == [(1, TOO_LONG)]


def test_wrong_columns_are_refused(tmp_path: Path) -> None:
    write_items(tmp_path, genres=pa.array(["war", "war", "war"]))
    with pytest.raises(
        UserError, match=r"column 'genres' is string; annotation.ingest.columns.labels is a list of texts"
    ):
        read_table(tmp_path, tmp_path, COLUMNS, 20)
    with pytest.raises(UserError, match=r"no column 'topics' \(annotation.ingest.columns.labels\); it has"):
        read_table(tmp_path, tmp_path, COLUMNS.model_copy(update={"labels": "topics"}), 20)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "label_sets.tsv").write_text("image_id\tlabel\nx/1\tcat\n")
    (tmp_path / "tags.tsv").write_text("user_id\timage_id\ttag\nu\tx/1\tcute\n")
    (tmp_path / "splits.tsv").write_text("image_id\tsplit\nx/1\ttrain\n")
    with pytest.raises(UserError, match="no images: expected a folder or archive images"):
        read_tables(tmp_path)
    write_jpeg(tmp_path / "images/x/1.jpg", 1)
    source = read_tables(tmp_path)
    assert [name for name, _ in source.images.places] == ["x/1"]
    assert source.labels.rows() == [("label_sets.tsv", 2, "x/1", "cat")]
    assert source.given.rows() == [("x/1", "train")]
    assert [log.name for log in source.tags] == ["tags.tsv"]

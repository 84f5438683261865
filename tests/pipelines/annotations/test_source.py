"""Files below a folder, given splits, and tables."""

from pathlib import Path

import pytest
from small_images import write_jpeg

from base.console import UserError
from pipelines.annotations.source import folder_of_images, given_splits, read_rows


def test_an_images_id_is_its_path_without_suffix(tmp_path: Path) -> None:
    for number, name in enumerate(["b.jpg", "a/x.png", "a/y.1.jpg", ".hidden.jpg"]):
        write_jpeg(tmp_path / "images" / name, number)
    found = folder_of_images(tmp_path, "images")
    assert sorted((name, place.file) for name, place in found.places) == [
        ("a/x", "images/a/x.png"), ("a/y.1", "images/a/y.1.jpg"), ("b", "images/b.jpg"),
    ]  # fmt: skip
    with pytest.raises(UserError, match="no such folder or archive"):
        folder_of_images(tmp_path, "pictures")


def test_given_splits_are_checked() -> None:
    found = given_splits([("a", "train"), ("b", "test"), ("a", "train")], "file")
    assert found.rows() == [("a", "train"), ("b", "test")]
    with pytest.raises(UserError, match=r"file: image 'a' is in split 'dev'; expected train, validation, test"):
        given_splits([("a", "dev")], "file")
    with pytest.raises(UserError, match="image 'a' is in the splits train and test; name one"):
        given_splits([("a", "train"), ("a", "test")], "file")


def test_tables_are_text_with_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('image_id\tother\tlabel\n007\tx\t"cat\n\ty\tdog\n')
    assert read_rows(path, ("image_id", "label")).rows() == [(2, "007", '"cat'), (3, None, "dog")]
    with pytest.raises(UserError, match="lacks the column tag; its first line has image_id, other, label"):
        read_rows(path, ("image_id", "tag"))
    path.write_bytes(b"image_id\tlabel\na\t\xff\xfe\n")
    with pytest.raises(UserError, match="not a table in tab-separated UTF-8 text"):
        read_rows(path, ("image_id", "label"))

"""Which images are taken from a file."""

import polars as pl
import pytest

from base.console import UserError
from pipelines.words.image_sets import source_images


def write(path, **columns):
    pl.DataFrame(columns).write_parquet(path)
    return path


def test_source_images_of_a_split_sorted(tmp_path):
    path = write(
        tmp_path / "images.parquet",
        image_id=["d", "b", "Ä", "a", "x"],
        domain=["source", "source", "source", "source", "target"],
        split=["train", "test", "train", "train", "train"],
    )
    assert source_images(path).to_pylist() == ["a", "b", "d", "Ä"]
    assert source_images(path, "train").to_pylist() == ["a", "d", "Ä"]


def test_without_domains_all_images_count(tmp_path):
    assert source_images(write(tmp_path / "images.parquet", image_id=["b", "a"])).to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "split", "message"),
    [
        ({"image": ["a"]}, None, "lacks the column image_id; it has image"),
        ({"image_id": ["a"]}, "train", "lacks the column split; it has image_id"),
        ({"image_id": ["a"], "domain": ["target"]}, None, "no source images$"),
        ({"image_id": ["a"], "split": ["test"]}, "train", "no source images in split train"),
        ({"image_id": ["b", "a", "b"]}, None, "image 'b' occurs more than once"),
        ({"image_id": ["b", None, "a"]}, None, "images.parquet: 1 rows without an image_id"),
    ],
)
def test_errors(tmp_path, columns, split, message):
    with pytest.raises(UserError, match=message):
        source_images(write(tmp_path / "images.parquet", **columns), split)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match=r"images.parquet: no such file; expected a table with a column image_id"):
        source_images(tmp_path / "images.parquet")


def test_a_damaged_file(tmp_path):
    path = write(tmp_path / "images.parquet", image_id=["a", "b"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"images.parquet: cannot be read as Parquet .*fetch it again"):
        source_images(path)

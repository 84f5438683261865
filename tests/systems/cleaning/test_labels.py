from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_labels import write_labels

from base import schemas
from base.console import UserError
from systems.cleaning.labels import labels_of, read_labels, with_given


def test_given_labels_are_one_vote_each_and_the_target_is_left_out(tmp_path: Path) -> None:
    rows = {"image_id": ["b", "a", "t"], "category": ["pug", "akita", "pug"], "domain": ["source", "source", "target"]}
    pq.write_table(pa.table(rows), tmp_path / "part-00000.parquet")
    labels = read_labels(tmp_path)
    assert labels.image_ids == ["a", "b"]
    assert labels.categories == ["akita", "pug"]
    assert labels.votes.category.tolist() == [0, 1]
    assert labels.votes.clicks.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shares": [0.5, 0.2]}, "image 'a': shares must be positive, sum to 1"),
        ({"shares": [1.5, -0.5]}, "shares must be positive"),
        ({"shares": [1.0]}, "as many as the categories"),
        ({"clicks": -1}, "image 'a'"),
        ({"clicks": 0}, "image 'a'"),
        ({"image_id": "b"}, "image 'b' has 2 rows"),
        ({"categories": ["pug"], "shares": [1.0]}, "1 categories are named"),
    ],
)
def test_impossible_labels_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    row = {"image_id": "a", "clicks": 3, "categories": ["pug", "corgi"], "shares": [0.5, 0.5], **change}
    rest = {"image_id": "b", "clicks": 1, "categories": ["pug"], "shares": [1.0]}
    write_labels([row, rest], tmp_path / "labels")
    with pytest.raises(UserError, match=message):
        read_labels(tmp_path / "labels")


def test_labels_of_a_data_set_are_given_by_name(tmp_path: Path) -> None:
    given, clicks = tmp_path / "ingested/images", tmp_path / "click_labels/labels"
    assert labels_of(None, Path("some/labels")) == (Path("some/labels"), None)
    assert labels_of(None, Path("some/labels"), given) == (Path("some/labels"), given)
    assert labels_of(tmp_path, Path("given")) == (given, None)
    assert labels_of(tmp_path, Path("clicks")) == (clicks, None)
    assert labels_of(tmp_path, Path("both")) == (clicks, given)
    with pytest.raises(UserError, match="--labels some/labels: with --data, one of given, clicks, both expected"):
        labels_of(tmp_path, Path("some/labels"))
    with pytest.raises(UserError, match=r"--given .*: with --data, --labels both names both kinds"):
        labels_of(tmp_path, Path("clicks"), given)


def test_given_labels_beside_clicks_have_the_images_and_categories_of_both(tmp_path: Path) -> None:
    rows = [
        {"image_id": "b", "clicks": 4, "categories": ["pug", "corgi"], "shares": [0.75, 0.25]},
        {"image_id": "c", "clicks": 0, "categories": [], "shares": []},
        {"image_id": "d", "clicks": 2, "categories": ["husky"], "shares": [1.0]},
    ]
    write_labels(rows, tmp_path / "clicks")
    given = {"image_id": ["e", "b", "a", "c"], "category": [None, "akita", "pug", "corgi"]}
    pq.write_table(pa.table(given), tmp_path / "part-00000.parquet")
    found = with_given(read_labels(tmp_path / "clicks"), read_labels(tmp_path))
    assert found.image_ids == ["a", "b", "c", "d"]  # e has neither label nor clicks
    assert found.categories == ["akita", "corgi", "husky", "pug"]
    assert found.votes.counts.tolist() == [0, 2, 0, 1]
    assert found.votes.category.tolist() == [1, 3, 2]
    assert found.votes.clicks.tolist() == [1.0, 3.0, 2.0]
    assert found.given is not None
    assert found.given.label.tolist() == [3, 0, 1, -1]
    assert found.given.name.tolist() == [-1, 3, -1, 2]
    assert found.names().tolist() == [3, 0, 1, 2]
    assert found.shares().tolist() == [[0, 0, 0, 1], [0.5, 0.125, 0, 0.375], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_labels_of_images_that_the_data_set_lacks_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"image_id": name, "category": label, "domain": "source", "width": 3, "height": 3, "image": None}
        for name, label in (("a", "ant"), ("gone", "cat"), ("b", "bee"))
    ]
    pq.write_table(pa.Table.from_pylist(rows, schemas.IMAGES), tmp_path / "part-00000.parquet")
    found = read_labels(tmp_path, pl.Series(["b", "a", "no label"]))
    assert found.image_ids == ["a", "b"]
    assert found.categories == ["ant", "bee"]


def test_the_output_of_label_from_clicks_stands_for_its_labels(tmp_path: Path) -> None:
    row = {"image_id": "a", "clicks": 2, "categories": ["corgi"], "shares": [1.0]}
    other = {"image_id": "b", "clicks": 1, "categories": ["pug"], "shares": [1.0]}
    (tmp_path / "output").mkdir()
    write_labels([row, other], tmp_path / "output/labels")
    (tmp_path / "output/summary.json").write_text("{}")
    whole, inside = read_labels(tmp_path / "output"), read_labels(tmp_path / "output/labels")
    assert (
        (whole.image_ids, whole.categories) == (inside.image_ids, inside.categories) == (["a", "b"], ["corgi", "pug"])
    )
    assert whole.votes.clicks.tolist() == [2.0, 1.0]

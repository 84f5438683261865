"""Tests of the frozen features of a domain's pairs."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dckt_data import write_domain

from base.console import UserError
from systems.dckt.features import read_features


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    """A domain of 3 categories, whose files have other orders of rows."""
    return write_domain(tmp_path / "target", {"cat": 5, "ant": 4, "bee": 6}, seed=3)


def test_parts_are_joined_by_id(domain: Path) -> None:
    pairs = read_features(domain, 3)
    assert pairs.ids == sorted(pairs.ids)
    assert len(pairs) == 15
    assert pairs.categories == ("ant", "bee", "cat")
    rows = pl.read_parquet(domain / "splits" / "seed-3.parquet")
    images = pl.read_parquet(domain / "embedded" / "part-00000.parquet")
    texts = pl.read_parquet(domain / "text_features" / "seed-3.parquet")
    for number, name in enumerate(pairs.ids):
        row = rows.row(by_predicate=pl.col("pair_id") == name, named=True)
        assert pairs.categories[pairs.category[number]] == row["category"]
        assert pairs.split[number] == row["split"]
        image = images.row(by_predicate=pl.col("image_id") == name, named=True)["feature"]
        text = texts.row(by_predicate=pl.col("pair_id") == name, named=True)["feature"]
        assert pairs.images[number].tolist() == image
        assert pairs.texts[number].tolist() == text
    assert pairs.images.dtype == pairs.texts.dtype == np.float32
    assert pairs.category.dtype == np.int64


def test_subset(domain: Path) -> None:
    pairs = read_features(domain, 3)
    test = pairs.subset("test")
    assert test.ids == [name for name, split in zip(pairs.ids, pairs.split, strict=True) if split == "test"]
    assert (test.images == pairs.images[pairs.split == "test"]).all()
    assert test.categories == pairs.categories


def test_limit_concerns_training_pairs_and_grows(domain: Path) -> None:
    pairs = read_features(domain, 3)
    one, two = pairs.limited(1, 3), pairs.limited(2, 3)
    assert np.bincount(one.category[one.split == "train"]).tolist() == [1, 1, 1]
    assert np.bincount(two.category[two.split == "train"]).tolist() == [2, 2, 2]
    assert set(one.ids) < set(two.ids) < set(pairs.ids)
    assert set(one.subset("test").ids) == set(pairs.subset("test").ids)
    assert one.ids == pairs.limited(1, 3).ids
    assert any(one.ids != pairs.limited(1, seed).ids for seed in range(4, 9))


def test_without_categories_numbers_the_others_anew(domain: Path) -> None:
    pairs = read_features(domain, 3)
    left = pairs.without(("ant", "unheard of"))
    assert left.categories == ("bee", "cat")
    assert len(left) == 11
    was = {name: pairs.categories[number] for name, number in zip(pairs.ids, pairs.category, strict=True)}
    assert [left.categories[number] for number in left.category] == [was[name] for name in left.ids]
    with pytest.raises(ValueError, match="no category is left"):
        pairs.without(pairs.categories)


def test_shuffled_texts_stay_in_their_split(domain: Path) -> None:
    pairs = read_features(domain, 3)
    shuffled = pairs.texts_shuffled(3)
    assert (shuffled.images == pairs.images).all()
    assert not (shuffled.texts == pairs.texts).all()
    for split in ("train", "validation", "test"):
        rows = pairs.rows(split)
        assert sorted(shuffled.texts[rows].tolist()) == sorted(pairs.texts[rows].tolist())


def test_a_missing_pair_is_named(domain: Path) -> None:
    path = domain / "text_features" / "seed-3.parquet"
    texts = pl.read_parquet(path)
    lost = texts["pair_id"][4]
    texts.filter(pl.col("pair_id") != lost).write_parquet(path)
    with pytest.raises(UserError, match=f"seed-3.parquet: no features of '{lost}'"):
        read_features(domain, 3)


def test_a_pair_listed_twice_is_named(domain: Path) -> None:
    path = domain / "embedded" / "part-00000.parquet"
    images = pl.read_parquet(path)
    pl.concat([images, images[3:4]]).write_parquet(path)
    with pytest.raises(UserError, match=f"embedded: '{images['image_id'][3]}' is listed twice"):
        read_features(domain, 3)


@pytest.mark.parametrize(
    ("feature", "message"),
    [([1.0, 2.0], "features of different lengths"), ([1.0, float("nan"), 0, 0, 0, 0], "'ant-1' is NaN or infinite")],
    ids=["length", "NaN"],
)
def test_broken_features_are_reported(domain: Path, feature: list[float], message: str) -> None:
    path = domain / "embedded" / "part-00000.parquet"
    images = pl.read_parquet(path)
    broken = pl.when(pl.col("image_id") == "ant-1").then(pl.lit(feature, pl.List(pl.Float32)))
    images.with_columns(feature=broken.otherwise(pl.col("feature"))).write_parquet(path)
    with pytest.raises(UserError, match=message):
        read_features(domain, 3)


def test_one_category_is_an_error(tmp_path: Path) -> None:
    domain = write_domain(tmp_path / "alone", {"ant": 6}, seed=0)
    with pytest.raises(UserError, match=r"6 pairs of 1 categories \(ant\); retrieval by category needs two"):
        read_features(domain, 0)


def test_no_validation_pair_is_an_error(domain: Path) -> None:
    path = domain / "splits" / "seed-3.parquet"
    pl.read_parquet(path).with_columns(split=pl.lit("train")).write_parquet(path)
    with pytest.raises(UserError, match="no validation pair in the split of seed 3"):
        read_features(domain, 3)

import math
import os
import shutil

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import write_tiny_data
from hypothesis import given, settings
from hypothesis import strategies as st

from base import schemas
from base.artifacts import write_table
from base.console import UserError
from model.data import images
from model.data.images import decode
from systems.mtmdd.config import Fewer, Recipe
from systems.mtmdd.examples import (
    LEFT_OUT,
    ClickFeatures,
    Examples,
    OtherSource,
    keep_fewer,
    keep_source_categories,
    other_source,
    read_rows,
)
from systems.mtmdd.recipes import build_recipe


def make_rows(sizes: dict[tuple[str, str, str], int]) -> pl.DataFrame:
    rows = [(f"{d}-{c}-{s}-{i}", d, c, s) for (d, c, s), number in sizes.items() for i in range(number)]
    return pl.DataFrame(rows, schema=["image_id", "domain", "category", "split"], orient="row")


ROWS = make_rows(
    {
        ("source", "ant", "train"): 7,
        ("source", "bee", "train"): 5,
        ("source", "bee", "test"): 4,
        ("source", "cat", "train"): 1,
        ("source", "dog", "validation"): 3,
        ("target", "ant", "train"): 9,
        ("target", "eel", "test"): 2,
    }
)


def still_in(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("split") != LEFT_OUT)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fewer_source_categories_are_nested_and_leave_the_target(seed):
    kept = [still_in(keep_source_categories(ROWS, number, seed)) for number in (1, 2, 3, 4)]
    names = [set(rows.filter(pl.col("domain") == "source")["category"]) for rows in kept]
    assert [len(of) for of in names] == [1, 2, 3, 4]
    assert names[0] < names[1] < names[2] < names[3]
    for rows, of in zip(kept, names, strict=True):
        assert rows.equals(ROWS.filter((pl.col("domain") == "target") | pl.col("category").is_in(list(of))))


def test_the_choice_of_source_categories_depends_on_the_seed():
    assert (
        len({tuple(still_in(keep_source_categories(ROWS, 1, seed))["category"].unique().sort()) for seed in range(20)})
        > 1
    )


def test_more_source_categories_than_there_are():
    with pytest.raises(UserError, match="5 source categories requested, but the split file has 4"):
        keep_source_categories(ROWS, 5, 0)


@settings(max_examples=30)
@given(st.integers(1, 99), st.sampled_from(["source", "target"]), st.integers(0, 3))
def test_fewer_images_are_the_ceiling_of_their_share(percent, domain, seed):
    kept = still_in(keep_fewer(ROWS, Fewer(domain=domain, share=percent / 100), seed))
    before = ROWS.group_by("domain", "category", "split").len().rows()
    after = {row[:3]: row[3] for row in kept.group_by("domain", "category", "split").len().rows()}
    for *key, number in before:
        reduced = key[0] == domain and key[2] == "train"
        assert after[tuple(key)] == (math.ceil(percent * number / 100) if reduced else number)


@pytest.mark.parametrize(("number", "percent"), [(25, 28), (25, 56), (100, 7), (100, 14), (100, 29), (100, 55)])
def test_a_share_that_is_a_whole_number_is_not_rounded_up(number, percent):
    # in binary some of these products are above the whole number: 25 * 0.28 is 7.000000000000001
    rows = make_rows({("source", "ant", "train"): number, ("source", "bee", "train"): 2})
    kept = still_in(keep_fewer(rows, Fewer(domain="source", share=percent / 100), 0))
    assert kept.filter(category="ant").height == number * percent // 100


def test_a_share_counts_the_images_of_its_own_domain():
    rows = make_rows({("source", "ant", "train"): 9, ("target", "ant", "train"): 40})
    kept = still_in(keep_fewer(rows, Fewer(domain="source", share=1 / 3), 0))
    assert dict(kept.group_by("domain").len().rows()) == {"source": 3, "target": 40}


def test_fewer_images_are_nested():
    shares = (0.2, 0.4, 0.8, 1.0)
    kept = [set(still_in(keep_fewer(ROWS, Fewer(domain="source", share=share), 1))["image_id"]) for share in shares]
    assert kept[0] < kept[1] < kept[2] < kept[3] == set(ROWS["image_id"])


def test_fewer_images_do_not_depend_on_the_order_of_rows():
    fewer = Fewer(domain="source", share=0.5)
    shuffled = ROWS.sample(fraction=1.0, shuffle=True, seed=1)
    left = [set(still_in(keep_fewer(rows, fewer, 1))["image_id"]) for rows in (ROWS, shuffled)]
    assert left[0] == left[1] < set(ROWS["image_id"])


def test_click_features_are_dense_rows(tiny_data):
    clicks = ClickFeatures.read(tiny_data.features)
    assert clicks.num_words == 5
    # the first image has no clicks, the third has tf-idf 1.2 for its colour
    found = clicks.vectors(["s02-bee", "s00-ant", "s04-cat"])
    expected = np.array([[0, 1.2, 0, 0, 0.1], [0, 0, 0, 0, 0], [0, 0, 1.4, 0, 0.1]], np.float32)
    assert np.array_equal(found, expected)


def test_an_image_may_have_one_word_or_all():
    clicks = ClickFeatures(
        pl.Series(["one", "all"]), np.array([0, 1, 4]), np.array([2, 0, 1, 2]), np.array([0.5, 1.0, 2, 3]), list("abc")
    )
    assert clicks.vectors(["all", "none", "one", "all"]).tolist() == [[1, 2, 3], [0, 0, 0], [0, 0, 0.5], [1, 2, 3]]


def test_an_empty_vocabulary_is_refused(tmp_path):
    write_table(schemas.VOCABULARY.empty_table(), tmp_path / "vocabulary.parquet")
    with pytest.raises(UserError, match="the vocabulary is empty"):
        ClickFeatures.read(tmp_path)


def test_examples(tiny_data, tiny_rows, network_params):
    examples = Examples.read(tiny_data.images, tiny_rows, tiny_data.features, network_params, cache=False)
    assert examples.categories == {"source": ["ant", "bee", "cat"], "target": ["ant", "bee", "cat"]}
    assert set(examples.rows["split"]) == {"train", "validation"}
    assert [len(examples.row_numbers(d, "train")) for d in ("source", "target")] == [21, 15]
    names = np.array(["ant", "bee", "cat"])
    assert names[examples.labels()].tolist() == examples.rows["category"].to_list()
    for row in examples.row_numbers("target", "validation"):
        assert examples.rows.row(int(row), named=True)["split"] == "validation"
        assert examples.images.names[row] == ("target", examples.rows["image_id"][int(row)])


def test_categories_come_from_all_splits(tiny_data, tiny_rows, network_params):
    # without training images of bees the labels stay the same
    rows = tiny_rows.filter((pl.col("category") != "bee") | (pl.col("split") == "test"))
    examples = Examples.read(tiny_data.images, rows, None, network_params, cache=False)
    assert examples.categories["source"] == ["ant", "bee", "cat"]
    assert set(examples.labels()) == {0, 2}


def test_the_fingerprint_changes_with_the_data(tiny_data, tiny_rows, network_params):
    def fingerprint(rows, features):
        return Examples.read(tiny_data.images, rows, features, network_params, cache=False).fingerprint

    found = [fingerprint(tiny_rows, None), fingerprint(tiny_rows[1:], None), fingerprint(tiny_rows, tiny_data.features)]
    assert len(set(found)) == 3
    assert fingerprint(tiny_rows, None) == found[0]


@pytest.mark.parametrize("part", ["images", "features/vocabulary.parquet", "features/click_features"])
def test_the_fingerprint_changes_with_size_and_time_of_each_file(
    tmp_path, tiny_data, tiny_rows, network_params, part
):  # fmt: skip
    for name in ("images", "features"):
        shutil.copytree(getattr(tiny_data, name), tmp_path / name)

    def fingerprint() -> str:
        features = tmp_path / "features"
        return Examples.read(tmp_path / "images", tiny_rows, features, network_params, cache=False).fingerprint

    before = fingerprint()
    assert fingerprint() == before
    file = max((tmp_path / part).glob("*")) if (tmp_path / part).is_dir() else tmp_path / part
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    later = fingerprint()
    pq.write_table(pq.read_table(file), file, compression="none")
    assert file.stat().st_size != status.st_size
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({before, later, fingerprint()}) == 3


def test_images_have_the_size_of_the_network_and_are_decoded_once(
    tiny_data, tiny_rows, network_params, monkeypatch
):  # fmt: skip
    real, decoded = images.decode, []
    monkeypatch.setattr(images, "decode", lambda encoded, resize: decoded.append(resize) or real(encoded, resize))
    rows = tiny_rows.filter(pl.col("split") == "train")
    for cache, number in ((True, len(rows)), (False, 2 * len(rows))):
        decoded.clear()
        examples = Examples.read(tiny_data.images, rows, None, network_params, cache=cache)
        for place in [*range(len(rows))] * 2:
            assert min(examples.images[place].shape[:2]) == 18
        assert decoded == [18] * number


def test_a_label_is_an_index_into_the_categories_of_its_own_domain(tmp_path, network_params):
    data = write_tiny_data(tmp_path, ("ant", "cat", "dog"), ("bee", "dog"))
    rows = pl.read_parquet(data.split).select("image_id", "domain", "category", "split")
    examples = Examples.read(data.images, rows, None, network_params, cache=False)
    expected = {"source": ["ant", "cat", "dog"], "target": ["bee", "dog"]}
    for label, domain, category in zip(
        examples.labels(), examples.rows["domain"], examples.rows["category"], strict=True
    ):
        assert expected[domain][label] == category


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_what_a_study_leaves_out_follows_the_seed(tiny_data, network_params, objective_params, train_params, seed):
    split = pl.read_parquet(tiny_data.split).select("image_id", "domain", "category", "split")
    fewer = Fewer(domain="target", share=0.5)
    for study, expected in (
        ({"source_categories": 1}, keep_source_categories(split, 1, seed)),
        ({"fewer": fewer}, keep_fewer(split, fewer, seed)),
    ):
        recipe = build_recipe("VGGsrc", network_params, objective_params, train_params, **study)
        assert read_rows(tiny_data.split, recipe, seed).equals(expected.sort("domain", "image_id"))


def test_read_rows_applies_the_study(tiny_data, network_params, objective_params, train_params):
    def rows(**study) -> pl.DataFrame:
        recipe: Recipe = build_recipe("VGGsrc", network_params, objective_params, train_params, **study)
        return read_rows(tiny_data.split, recipe, seed=0)

    everything = rows()
    assert everything.rows() == sorted(everything.rows(), key=lambda row: (row[1], row[0]))
    assert still_in(rows(source_categories=1)).filter(pl.col("domain") == "source")["category"].n_unique() == 1
    fewer = rows(fewer=Fewer(domain="target", share=0.5))
    assert fewer.filter((pl.col("domain") == "target") & (pl.col("split") == "train")).height == 3 * 3


def test_a_study_leaves_the_length_of_an_epoch(tiny_data, network_params, objective_params, train_params):
    def examples(**study) -> Examples:
        recipe = build_recipe("VGGsrc", network_params, objective_params, train_params, **study)
        rows = read_rows(tiny_data.split, recipe, seed=0)
        return Examples.read(tiny_data.images, rows, None, network_params, cache=False)

    whole = examples()
    for domain in ("source", "target"):
        assert whole.epoch_images[domain] == len(whole.row_numbers(domain, "train")) > 0
    fewer = examples(fewer=Fewer(domain="target", share=0.5))
    assert len(fewer.row_numbers("target", "train")) < len(whole.row_numbers("target", "train"))
    narrower = examples(source_categories=1)
    assert len(narrower.categories["source"]) == 1 < len(whole.categories["source"])
    assert len(narrower.row_numbers("source", "train")) < len(whole.row_numbers("source", "train"))
    assert fewer.epoch_images == narrower.epoch_images == whole.epoch_images


def test_another_source_takes_the_place_of_the_own_one(
    tmp_path, tiny_data, network_params, objective_params, train_params
):
    # both data sets have the same image ids of bees; only the domain distinguishes them
    data = write_tiny_data(tmp_path, ("dog", "bee"), ("dog", "bee"))
    recipe = build_recipe("TDL", network_params, objective_params, train_params, source="dogs")
    other = OtherSource(data.images, data.split)
    rows = read_rows(tiny_data.split, recipe, 0, other)
    own, others = pl.read_parquet(tiny_data.split), pl.read_parquet(data.split)
    expected = pl.concat([others.filter(pl.col("domain") == "source"), own.filter(pl.col("domain") == "target")])
    assert rows.equals(expected.select(rows.columns).sort("domain", "image_id"))

    def read(shards) -> Examples:
        return Examples.read(shards, rows, data.features, network_params, cache=False)

    examples = read({"source": data.images, "target": tiny_data.images})
    assert examples.categories == {"source": ["bee", "dog"], "target": ["ant", "bee", "cat"]}
    encoded = {
        (domain, row["image_id"]): row["image"]["bytes"]
        for domain, folder in (("source", data.images), ("target", tiny_data.images))
        for row in pl.read_parquet(folder).filter(pl.col("domain") == domain).iter_rows(named=True)
    }
    for place, name in enumerate(examples.images.names):
        assert np.array_equal(examples.images[place], decode(encoded[name], network_params.resize))
    # image 5 of dogs has the fourth colour of its own data set
    assert np.allclose(examples.clicks.vectors(["s05-dog"]), [[0, 0, 0, 1.5, 0.1]])
    with pytest.raises(UserError, match=rf"{tiny_data.images}: 10 of 41 images are not there, as 's00-dog'"):
        read(tiny_data.images)


@pytest.mark.parametrize(
    ("source", "images", "split", "message"),
    [
        (None, "a", None, r"--source-images a, --source-split None: this recipe of TDL uses the data set's own source"),
        (None, None, "b", r"--source-images None, --source-split b: this recipe of TDL uses the data set's own source"),
        ("dogs", "a", None, r"this recipe of TDL uses the source of dogs; give --source-images, --source-split"),
        ("dogs", None, None, r"this recipe of TDL uses the source of dogs; give --source-images, --source-split"),
    ],
)
def test_another_source_is_given_where_the_recipe_has_one(
    source, images, split, message, network_params, objective_params, train_params
):
    recipe = build_recipe("TDL", network_params, objective_params, train_params, source=source)
    with pytest.raises(UserError, match=message):
        other_source(recipe, images, split)


def test_the_own_source_needs_nothing(network_params, objective_params, train_params):
    assert other_source(build_recipe("TDL", network_params, objective_params, train_params), None, None) is None

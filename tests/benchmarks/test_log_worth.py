"""The words that the study of a log's worth lets a head learn, and the table that it prints."""

import numpy as np
import polars as pl
import pytest

from benchmarks.studies.log_worth import labels_from, one_hot, table, with_hidden, words_of_images
from model.heads import HeadParams

PARAMS = HeadParams(
    components=4, hidden=6, dropout=0.0, epochs=3, batch_size=10, learning_rate=0.01, weight_decay=0.0, threads=1
)
CLICKS = pl.DataFrame(
    [
        ("red bird", "a", 3),
        ("ants", "a", 1),
        ("red", "b", 2),
        ("ants red", "b", 2),
        ("bird", "c", 5),
        ("red", "gone", 9),
    ],
    schema=["query", "image_id", "clicks"],
    orient="row",
)
QUERIES = pl.DataFrame(
    {
        "query": ["red bird", "ants", "red", "ants red", "bird", "never"],
        "words": [["red", "bird"], ["ants"], ["red"], ["ants", "red"], ["bird"], ["never"]],
    }
)


def test_words_are_shares_of_an_images_clicks() -> None:
    # by clicks: bird 3 + 5, red 3 + 2 + 2, ants 1 + 2; clicks on an unknown image count nothing
    found = words_of_images(CLICKS, QUERIES, ["b", "a", "c", "d"], set())
    np.testing.assert_allclose(found, [[0, 4 / 6, 2 / 6], [3 / 7, 3 / 7, 1 / 7], [1, 0, 0], [0, 0, 0]], atol=1e-6)


def test_words_of_names_and_words_of_one_image_are_left_out() -> None:
    found = words_of_images(CLICKS, QUERIES, ["a", "b", "c"], {"bird"})
    np.testing.assert_allclose(found, [[3 / 4, 1 / 4], [4 / 6, 2 / 6], [0, 0]], atol=1e-6)
    assert words_of_images(CLICKS, QUERIES, ["c", "b"], {"red"}).shape == (2, 0)


def test_hidden_units_are_appended_and_have_the_inputs_scale() -> None:
    x = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    source, shares = np.arange(8), np.zeros((8, 3), np.float32)
    shares[:6, 1] = 1
    found = with_hidden(x, source, shares, PARAMS, seed=1)
    assert found.shape == (12, 10)
    assert np.array_equal(found[:, :4], x)
    assert (found[source, 4:] ** 2).mean() == pytest.approx(1, abs=1e-5)
    moved = x.copy()
    moved[8:] += 1  # what a head learns, it learns from the source's images with words alone
    other = with_hidden(moved, source, shares, PARAMS, seed=1)
    assert np.array_equal(other[:8], found[:8])
    fewer = with_hidden(x, source[:6], shares[:6], PARAMS, seed=1)
    scale = fewer[0, 4:].sum() / found[0, 4:].sum()  # the scale is that of the source's images
    np.testing.assert_allclose(fewer[:, 4:], scale * found[:, 4:], rtol=1e-4, atol=1e-6)


def test_labels_are_those_of_the_sources_images_and_known_categories(tmp_path) -> None:
    (tmp_path / "labels").mkdir()
    named = pl.DataFrame({"image_id": ["b", "a", "c"], "category": ["ant", None, "cow"]})
    named.write_parquet(tmp_path / "labels/part-00000.parquet")
    images = pl.DataFrame({"domain": ["source", "source", "source", "target"], "image_id": ["a", "b", "c", "b"]})
    found = labels_from(tmp_path, images.with_row_index("place"), ["ant", "bee"])
    assert found.rows() == [(1, "ant")]
    assert one_hot(["bee", "ant"], ["ant", "bee"]).tolist() == [[0, 1], [1, 0]]


def test_the_table_has_accuracies_and_paired_differences() -> None:
    rows = [
        (arm, targets, seed, f"i{image:02d}", float(image < right), 1.0)
        for arm, targets, right in (("nothing", 1, 10), ("nothing", -1, 20), ("words", 1, 14), ("labels", 0, 5))
        for seed in (0, 1, 2)
        for image in range(40)
    ]
    units = pl.DataFrame(rows, schema=["arm", "targets", "seed", "unit", "numerator", "denominator"], orient="row")
    lines = table(units.with_columns(metric=pl.lit("accuracy")), [0, 1, 2])
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines[2:]}
    assert cells["nothing"][0] == "–"
    assert cells["nothing"][2].startswith("25.0 (")
    assert cells["words"][2].startswith("35.0 (")
    assert cells["words"][3].startswith("+10.0 (")
    assert cells["labels"][:2] == [cells["labels"][0], "–"]
    assert cells["labels"][0].startswith("12.5 (")

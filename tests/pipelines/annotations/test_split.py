"""Labels and images that take part, and splits given or drawn."""

import numpy as np
import polars as pl
import pytest

from base import schemas
from base.console import UserError
from pipelines.annotations.split import SplitParams, label_matrix, select_images, select_labels, split_images, summarise

PARAMS = SplitParams(minimum_images=2, validation=0.25, test=0.5)
SETS = pl.DataFrame(
    [("a", ["cat", "red"], "train"), ("b", ["rare"], "train"), ("c", ["cat"], "test"), ("d", ["new", "red"], "test"),
     ("e", ["new"], "test")],
    schema=pl.Schema(schemas.LABEL_SETS), orient="row",
)  # fmt: skip
NO_COPIES = pl.DataFrame(schema=pl.Schema(schemas.DUPLICATES))


def test_labels_that_are_rare_or_only_tested_are_left_out() -> None:
    found = select_labels(SETS, 2)
    assert found.rows() == [
        ("cat", 2, "selected"), ("new", 2, "no image outside the test split"), ("rare", 1, "too few images"),
        ("red", 2, "selected"),
    ]  # fmt: skip
    assert select_images(SETS, found).select("image_id", "labels").rows() == [
        ("a", ["cat", "red"]), ("c", ["cat"]), ("d", ["red"]),
    ]  # fmt: skip
    without_splits = select_labels(SETS.with_columns(split=pl.lit(None, pl.String)), 1)
    assert set(without_splits["status"]) == {"selected"}


def test_a_label_matrix() -> None:
    found = label_matrix(pl.Series([["b"], ["a", "c"]]), ["a", "b", "c"])
    assert found.tolist() == [[False, True, False], [True, False, True]]


def many(number: int, split: list[str] | None = None) -> pl.DataFrame:
    labels = [["even", "x"] if i % 2 == 0 else ["odd"] for i in range(number)]
    given = [None] * number if split is None else split
    columns = {"image_id": [f"i{i:03}" for i in range(number)], "labels": labels, "split": given}
    return pl.DataFrame(columns, schema=pl.Schema(schemas.LABEL_SETS))


def sizes(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows["split"].value_counts().iter_rows())


def test_drawn_splits_have_their_shares_and_keep_copies_together() -> None:
    images = many(80)
    copies = pl.DataFrame(
        [
            (f"i{i:03}", "source", "", f"i{i ^ 2:03}", "source", "", "near", 3, f"i{min(i, i ^ 2):03}")
            for i in range(80)
        ],
        schema=pl.Schema(schemas.DUPLICATES), orient="row",
    )  # fmt: skip
    for duplicates in (NO_COPIES, copies):
        found = split_images(images, duplicates, 1, PARAMS)
        assert found.schema == pl.Schema(schemas.LABEL_SPLITS)
        assert sizes(found) == {"train": 30, "validation": 10, "test": 40}
        of = dict(found.select("image_id", "split").iter_rows())
        together = sum(of[f"i{i:03}"] == of[f"i{i ^ 2:03}"] for i in range(80))
        assert (together == 80) == (duplicates is copies)


def test_given_splits_stay_and_validation_comes_from_the_training_images() -> None:
    images = many(60, ["train"] * 40 + ["test"] * 20)
    found = split_images(images, NO_COPIES, 0, PARAMS)
    assert found["image_id"].to_list() == images["image_id"].to_list()
    assert set(found["split"][40:]) == {"test"}
    assert sizes(found[:40]) == {"train": 30, "validation": 10}
    other = split_images(images, NO_COPIES, 1, PARAMS)
    assert (other["split"] != found["split"]).any()
    whole = many(6, ["train", "train", "validation", "test", "test", "test"])
    assert split_images(whole, NO_COPIES, 0, PARAMS)["split"].to_list() == whole["split"].to_list()


def test_splits_given_for_some_images_and_empty_splits_are_errors() -> None:
    with pytest.raises(UserError, match="1 of 6 images have no given split; give one for all or none"):
        split_images(many(6, ["train", "train", "train", "test", "test", None]), NO_COPIES, 0, PARAMS)
    with pytest.raises(UserError, match="seed 0: split test has none of the 4 images"):
        split_images(many(4, ["train"] * 4), NO_COPIES, 0, PARAMS)


def test_a_summary_names_labels_without_a_training_image() -> None:
    labels = select_labels(SETS, 1)
    images = select_images(SETS, labels)
    rows = images.with_columns(domain=pl.lit("source")).select(schemas.LABEL_SPLITS.names)
    found = summarise(SETS, labels, {4: rows.with_columns(split=pl.Series(["train", "train", "test", "validation"]))})
    assert found["images"] == {"selected": 4, "without a selected label": 1}
    assert found["seeds"]["4"] == {
        "images": {"test": 1, "train": 2, "validation": 1}, "labels without a training image": [],
    }  # fmt: skip
    assert np.isin(list(found["labels"]), ["selected", "no image outside the test split"]).all()

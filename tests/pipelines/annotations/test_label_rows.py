"""Every row of a label is kept or refused with the first reason that applies."""

import polars as pl
import pytest

from pipelines.annotations.label_rows import EMPTY_ID, EMPTY_LABEL, NO_IMAGE, TWICE, check_labels
from pipelines.annotations.source import LABEL_ROWS

ROWS = [
    ("f", 1, "b", "Film-Noir"),
    ("f", 2, "a", "  War "),
    ("f", 3, "b", "film noir"),  # another spelling
    ("f", 4, " ", "war"),
    ("f", 5, "a", None),
    ("f", 6, "c", "war"),
    ("f", 7, "b", "001.Cat"),
    ("f", 8, None, None),
    ("f", 9, "a", "war"),
]


def test_reasons_and_sets() -> None:
    found = check_labels(pl.DataFrame(ROWS, schema=LABEL_ROWS, orient="row"), pl.Series(["a", "b", "unlabelled"]))
    assert found.sets.rows() == [("a", ["war"]), ("b", ["cat", "film noir"])]
    assert [(row.row, row.reason) for row in found.refused] == [
        (3, TWICE), (4, EMPTY_ID), (5, EMPTY_LABEL), (6, NO_IMAGE), (8, EMPTY_ID), (9, TWICE),
    ]  # fmt: skip
    assert found.refused[3].raw == "c\twar"
    assert found.sets["labels"].list.len().sum() + len(found.refused) == len(ROWS)


def test_other_columns_are_a_defect_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expected"):
        check_labels(pl.DataFrame({"image_id": ["a"]}), pl.Series(["a"]))

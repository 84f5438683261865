import hashlib

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_sets import picture

from base.schemas import FINGERPRINTS
from pipelines.ingest.decoding import check_image
from pipelines.pairs.check import GoodPair, checked_batch
from pipelines.pairs.copies import count_duplicates, duplicates_across, duplicates_within
from pipelines.pairs.records import RawPair


def fingerprints(rows: list[tuple[str, str, str | None, bytes, str]]) -> pl.DataFrame:
    """Return the fingerprints of (id, category, split, image, text)."""
    pairs = [
        GoodPair(RawPair("f", n), pair_id, category, split, text, check_image(image))
        for n, (pair_id, category, split, image, text) in enumerate(rows)
    ]
    checked = pl.DataFrame(pa.Table.from_batches([checked_batch(pairs)]))
    digests = [hashlib.sha256(row[4].encode()).digest() for row in rows]
    return checked.with_columns(pl.Series("text", digests, pl.Binary)).select(FINGERPRINTS.names)


ROWS = [
    ("a", "red", "train", picture(1), "one"),
    ("b", "red", "test", picture(1), "two"),  # exact copy of a
    ("c", "blue", "test", picture(1, quality=80), "three"),  # near copy of both
    ("d", "blue", "train", picture(2), "two"),  # the text of b and e
    ("e", "blue", "test", picture(3), "two"),
    ("f", "blue", "test", picture(4), "four"),
]


def test_pictures_and_texts_are_found_within_a_set() -> None:
    found = duplicates_within(fingerprints(ROWS), 48)
    rows = {(row["pair_id"], row["kind"]): row for row in found.iter_rows(named=True)}
    assert {key: row["duplicate_id"] for key, row in rows.items()} == {
        ("a", "exact"): "b", ("b", "exact"): "a", ("c", "near"): "a",
        ("b", "text"): "d", ("d", "text"): "b", ("e", "text"): "b",
    }  # fmt: skip
    assert {row["group"] for key, row in rows.items() if key[1] != "text"} == {"a"}
    assert {row["group"] for key, row in rows.items() if key[1] == "text"} == {None}
    assert rows["c", "near"]["duplicate_split"] == "train"
    assert found.rows() == found.sort("pair_id", "kind").rows()
    assert count_duplicates(found) == {
        "an exact copy of the picture": 2,
        "a near copy of the picture": 1,
        "the same text": 3,
        "a duplicate in another category": 4,  # b, c, d, e
        "a duplicate in another given split": 4,  # a, b, c, d
    }


def test_sets_without_splits_have_no_duplicates_in_other_splits() -> None:
    rows = [(a, b, None, d, e) for a, b, _, d, e in ROWS]
    assert count_duplicates(duplicates_within(fingerprints(rows), 48))["a duplicate in another given split"] == 0


def test_pictures_and_texts_are_found_across_two_sets() -> None:
    other = fingerprints([("a", "x", None, picture(9), "four"), ("z", "blue", None, picture(2), "nine")])
    found = duplicates_across(fingerprints(ROWS), other, 48)
    assert found.select("domain", "pair_id", "duplicate_id", "duplicate_category", "kind").rows() == [
        ("source", "d", "z", "blue", "exact"),
        ("source", "f", "a", "x", "text"),
        ("target", "a", "f", "blue", "text"),
        ("target", "z", "d", "blue", "exact"),
    ]
    assert "a duplicate in another given split" not in count_duplicates(found)


@pytest.mark.parametrize("distance", [0, 48])
def test_sets_that_share_nothing_have_no_row(distance: int) -> None:
    other = fingerprints([("a", "x", None, picture(9), "nine"), ("b", "x", None, picture(10), "ten")])
    assert duplicates_across(fingerprints(ROWS), other, distance).is_empty()
    assert duplicates_within(other, distance).is_empty()


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=12))
def test_the_first_other_pair_with_the_same_text_is_named(texts: list[str]) -> None:
    base = fingerprints([("x", "c", None, picture(1), "")])
    rows = pl.concat(
        [
            base.with_columns(
                pair_id=pl.lit(f"{n:02d}"),
                text=pl.lit(text.encode() * 32, pl.Binary),
                digest=pl.lit(bytes([n]) * 32, pl.Binary),
            )
            for n, text in enumerate(texts)
        ]
    )
    found = duplicates_within(rows, 0).filter(pl.col("kind") == "text")
    expected = {}
    for n, text in enumerate(texts):
        others = [m for m, other in enumerate(texts) if other == text and m != n]
        if others:
            expected[f"{n:02d}"] = f"{others[0]:02d}"
    assert dict(found.select("pair_id", "duplicate_id").iter_rows()) == expected

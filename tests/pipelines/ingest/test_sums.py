"""Sums of clicks past 2^63 are errors, and sums below are not."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.console import UserError
from base.schemas import CLICK_MATRIX, CLICKS, VOCABULARY
from pipelines.ingest.click_log import add_up
from pipelines.ingest.sums import LARGEST_SUM, check_sums, sums_by
from pipelines.words.click_features import with_weights
from pipelines.words.click_matrix import add_up_rows, partial_click_matrix
from pipelines.words.query_buckets import query_bucket
from pipelines.words.vocabulary import WORD_CLICKS, most_clicked, word_clicks

HALF = 2**62
FITS, WRAPS = [HALF, HALF - 1], [HALF, HALF]
NEAR = st.one_of(st.integers(0, 9), st.integers(2**60, LARGEST_SUM), st.integers(2**31, 2**33))


@given(st.lists(st.tuples(st.integers(0, 2), NEAR), max_size=12))
def test_a_sum_is_refused_exactly_if_it_does_not_fit(rows):
    keys, numbers = [key for key, _ in rows], [number for _, number in rows]
    fits = all(sum(n for k, n in rows if k == key) <= LARGEST_SUM for key in keys)
    frame = pl.DataFrame({"key": keys}, schema={"key": pl.Int64})
    clicks = np.array(numbers, np.int64)
    if fits:
        check_sums(clicks, lambda parts: sums_by(frame, parts))
    else:
        with pytest.raises(UserError, match=r"sums of clicks must be below 2\^63"):
            check_sums(clicks, lambda parts: sums_by(frame, parts))


def bucket(clicks: list[int], same_image: bool = True):
    """Two queries with a common word."""
    image_ids = pa.array(["a", "a" if same_image else "b"])
    return query_bucket(image_ids, np.array([0, 1]), np.array(clicks), pa.array([["dog", "red"], ["dog"]]))


WORDS = pa.record_batch([["red", "dog"], [1, 1]], schema=WORD_CLICKS)
VOCABULARY_OF_TWO = pa.record_batch([[0, 1], ["red", "dog"], [1, 1], [1, 1], [0.0, 0.5]], schema=VOCABULARY)


def matrix(image_ids: list[str], word_ids: list[list[int]], clicks: list[list[int]]) -> pa.RecordBatch:
    return pa.record_batch([image_ids, word_ids, clicks], schema=CLICK_MATRIX)


SUMS = {
    "equal rows of the log": lambda clicks: add_up(
        pa.record_batch([["a", "a", "b"], ["dog", "dog", "dog"], [*clicks, HALF]], schema=CLICKS)
    ),
    "equal rows of a bucket": lambda clicks: query_bucket(
        pa.array(["a", "a", "b"]), np.array([0, 0, 0]), np.array([*clicks, HALF]), pa.array([["dog"]])
    ),
    "a word in a bucket": lambda clicks: word_clicks(bucket(clicks, same_image=False)),
    "an image and word in a bucket": lambda clicks: partial_click_matrix(bucket(clicks), WORDS),
    "a word in several buckets": lambda clicks: most_clicked(
        pa.record_batch([["dog", "dog", "red"], [*clicks, HALF]], schema=WORD_CLICKS)
    ),
    "an image and word in several buckets": lambda clicks: add_up_rows(
        matrix(["a", "a", "b"], [[0], [0], [0]], [[clicks[0]], [clicks[1]], [HALF]])
    ),
    "all words of an image": lambda clicks: with_weights(
        matrix(["a", "b"], [[0, 1], [0]], [clicks, [HALF]]), VOCABULARY_OF_TWO
    ),
}


@pytest.mark.parametrize("place", SUMS)
def test_every_sum_of_clicks_is_checked(place):
    SUMS[place](FITS)
    with pytest.raises(UserError, match=r"sums of clicks must be below 2\^63, about 9 x 10\^18; check the log's"):
        SUMS[place](WRAPS)


def test_shares_of_huge_clicks_are_right():
    weights = with_weights(matrix(["a", "b"], [[0, 1], [0]], [FITS, [HALF]]), VOCABULARY_OF_TWO)
    assert weights["tfidf"].to_pylist() == [[0.0, 0.25], [0.0]]

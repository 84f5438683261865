"""C' as the products of buckets, added up by image."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from click_buckets import bucket
from scipy import sparse

from base.schemas import CLICK_MATRIX
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import read_shard
from pipelines.beam.shuffle import Packer, merge, unpack
from pipelines.words.click_matrix import (
    ClickMatrix,
    add_up_rows,
    matrix_batch,
    partial_click_matrix,
    rows_without_clicks,
    sparse_rows,
    vocabulary_part,
    written_rows,
)

ROWS = [
    ("b", "red dog", 2),
    ("a", "dog", 3),
    ("b", "dog dog cat", 5),
    ("c", "?", 1),
    ("b", "red dog", 4),
    ("a", "cow", 8),
]
WORDS = pa.record_batch({"word": ["dog", "never clicked", "red"]})


def plain(batch: pa.RecordBatch) -> dict[str, dict[int, int]]:
    return {row["image_id"]: dict(zip(row["word_ids"], row["clicks"], strict=True)) for row in batch.to_pylist()}


def test_vocabulary_part_takes_the_words_columns_by_word_id():
    part = vocabulary_part(bucket(*ROWS), WORDS["word"])
    # Queries in order of occurrence: red dog, dog, dog dog cat, ?, cow.
    assert part.toarray().tolist() == [[1, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_partial_matrix_by_hand():
    batch = partial_click_matrix(bucket(*ROWS), WORDS)
    assert batch.schema == CLICK_MATRIX
    assert plain(batch) == {"b": {0: 11, 2: 6}, "a": {0: 3}, "c": {}}
    assert batch["word_ids"].to_pylist()[0] == [0, 2]


def test_partial_matrix_with_an_empty_vocabulary():
    assert plain(partial_click_matrix(bucket(*ROWS), WORDS.slice(0, 0))) == {"b": {}, "a": {}, "c": {}}


def test_rows_add_up_and_are_sorted():
    one = matrix_batch(pa.array(["ä", "b", "B"]), sparse.csr_array(np.array([[0, 7, 1], [0, 0, 0], [2, 0, 0]])))
    two = matrix_batch(pa.array(["b", "ä"]), sparse.csr_array(np.array([[5, 0, 0, 10**12], [3, 0, 1, 0]])))
    summed = add_up_rows(merge([one, two, rows_without_clicks(pa.array(["never"]))], CLICK_MATRIX))
    assert summed["image_id"].to_pylist() == ["B", "b", "never", "ä"]
    assert plain(summed) == {"B": {0: 2}, "b": {0: 5, 3: 10**12}, "never": {}, "ä": {0: 3, 1: 7, 2: 2}}
    assert [list(ids) for ids in summed["word_ids"].to_pylist()] == [[0], [0, 3], [], [0, 1, 2]]


def test_sparse_rows_of_a_slice():
    batch = matrix_batch(pa.array(["a", "b", "c"]), sparse.csr_array(np.array([[1, 0], [0, 2], [3, 4]])))
    assert sparse_rows(batch.slice(1, 2)).toarray().tolist() == [[0, 2], [3, 4]]


@pytest.mark.parametrize("num_shards", [1, 3])
def test_transform_joins_buckets_and_gives_every_image_a_row(num_shards):
    def check(found):
        assert sorted(shard for shard, _ in found) == list(range(num_shards))
        batches = [unpack(packed) for _, packed in found]
        merged = merge(batches, CLICK_MATRIX)
        assert merged.num_rows == 4
        assert plain(merged) == {"b": {0: 11, 2: 6}, "a": {0: 3}, "c": {}, "unseen": {}}
        for batch in batches:
            assert batch["image_id"].to_pylist() == sorted(batch["image_id"].to_pylist())

    with pipeline() as job:
        buckets = (
            job
            | "Parts" >> beam.Create([ROWS[:2], ROWS[2:]])
            | beam.FlatMap(lambda part: Packer().pack([bucket(*part).to_batch()]))
        )
        words = job | "Words" >> beam.Create([WORDS])
        assert_that(buckets | ClickMatrix(words, num_shards, pa.array(["unseen", "a", "b", "c"]), Packer()), check)


def test_a_written_shard_counts_its_images_and_entries(tmp_path):
    rows = matrix_batch(pa.array(list("abcd")), sparse.csr_array(np.array([[1, 2], [0, 0], [0, 5], [0, 0]])))
    rows = merge([rows, rows_without_clicks(pa.array(["e"]))], CLICK_MATRIX)
    counts = written_rows((2, Packer().pack([rows])[0]), tmp_path)
    assert counts == [("images", 5), ("images without a vocabulary word", 3), ("non-zero entries", 3)]
    assert read_shard(tmp_path / "part-00002.parquet", CLICK_MATRIX).equals(rows)

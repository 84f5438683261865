"""Buckets as sparse matrices."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.console import UserError
from base.schemas import CLICKS, QUERIES
from pipelines.words.query_buckets import bucket_of, of_images, query_bucket, read_bucket, shard_pairs

WORDS = pa.array([["red", "dog"], [], ["dog"]], pa.list_(pa.string()))


def bucket():
    """Return rows (b, red dog, 2), (a, ?, 3), (b, red dog, 5), (b, dog, 7)."""
    return query_bucket(pa.array(["b", "a", "b", "b"]), np.array([0, 1, 0, 2]), np.array([2, 3, 5, 7]), WORDS)


def test_matrices_by_hand():
    made = bucket()
    assert made.image_ids.to_pylist() == ["b", "a"]
    assert made.words.to_pylist() == ["red", "dog"]
    assert made.query_clicks.toarray().tolist() == [[7, 0, 7], [0, 3, 0]]
    assert made.query_words.toarray().tolist() == [[1, 1], [0, 0], [0, 1]]


def test_a_batch_of_the_bucket_is_the_bucket():
    made = bucket()
    back = bucket_of(made.to_batch())
    assert back.image_ids == made.image_ids
    assert back.words == made.words
    assert (back.query_clicks != made.query_clicks).nnz == 0
    assert (back.query_words != made.query_words).nnz == 0


def write(folder, clicks: list[tuple], queries: list[tuple]) -> tuple[str, str]:
    log = pa.table([list(column) for column in zip(*clicks, strict=True)], schema=CLICKS)
    words = pa.table([list(column) for column in zip(*queries, strict=True)], schema=QUERIES)
    for name, table in (("clicks", log), ("queries", words)):
        (folder / name).mkdir()
        pq.write_table(table, folder / name / "part-00000.parquet")
    return shard_pairs(folder / "clicks", folder / "queries")[0]


def test_read_bucket_joins_words_and_keeps_the_images_asked_for(tmp_path):
    clicks = [("b", "red dog", 2), ("a", "cat", 3), ("c", "dog", 4)]
    pair = write(tmp_path, clicks, [("cat", ["cat"]), ("dog", ["dog"]), ("red dog", ["red", "dog"])])
    whole = read_bucket(pair, None)
    assert whole.image_ids.to_pylist() == ["b", "a", "c"]
    assert whole.query_clicks.toarray().tolist() == [[0, 0, 2], [3, 0, 0], [0, 4, 0]]
    some = read_bucket(pair, pa.array(["c", "b", "z"]))
    assert some.image_ids.to_pylist() == ["b", "c"]
    assert some.query_clicks.toarray().tolist() == [[0, 0, 2], [0, 4, 0]]


def test_queries_of_another_log(tmp_path):
    pair = write(tmp_path, [("b", "red dog", 2), ("a", "cat", 3)], [("cat", ["cat"])])
    with pytest.raises(
        UserError, match=r"the query 'red dog' of .*clicks.* is missing; run `pipelines.words.segment` again"
    ):
        read_bucket(pair, None)


def test_different_numbers_of_shards(tmp_path):
    write(tmp_path, [("a", "cat", 3)], [("cat", ["cat"])])
    (tmp_path / "clicks/part-00001.parquet").touch()
    with pytest.raises(UserError, match=r"clicks has 2 shards, .*queries has 1; run `pipelines.words.segment` again"):
        shard_pairs(tmp_path / "clicks", tmp_path / "queries")


def test_of_images():
    rows = pa.record_batch([["b", "a"], ["q", "r"], [1, 2]], schema=CLICKS)
    assert of_images(rows, None) is rows
    assert of_images(rows, pa.array(["a"])).to_pylist() == [{"image_id": "a", "query": "r", "clicks": 2}]

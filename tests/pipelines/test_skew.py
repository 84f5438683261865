"""A query, an image, a word or a bad row that a large share of a log has: no partition of the job grows with it."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from click_builds import build, digest
from hypothesis import given
from hypothesis import strategies as st

from base.schemas import CLICKS, QUARANTINE
from pipelines.beam.shuffle import HOT, INLINE, buckets_of, fanned_out, parts_by_shard, unpack
from pipelines.ingest import click_log
from pipelines.ingest.quarantine import pack_records
from pipelines.words.click_matrix import bucket_product
from pipelines.words.segment import segmented_bucket
from pipelines.words.vocabulary import bucket_words

SHARDS = 32


def draw(rows: int, hot_query: float, hot_image: float, hot_word: str, seed: int = 0) -> pa.RecordBatch:
    """Draw clicks: so large a share on one query, for one image; each query has `hot_word`."""
    generator = np.random.default_rng(seed)
    queries = generator.integers(0, rows // 3, rows)
    images = generator.integers(0, rows // 2, rows)
    queries[generator.random(rows) < hot_query] = -1
    images[generator.random(rows) < hot_image] = -1
    clicks = generator.integers(1, 9, rows)
    texts = [f"q{number} w{number % 301} {hot_word}".strip() for number in queries]
    return pa.record_batch([[f"i{image}" for image in images], texts, clicks], schema=CLICKS)


def rows_by_shard(batch: pa.RecordBatch, fan_out: str | None) -> Counter[int]:
    parts = parts_by_shard(batch, "query", buckets_of, INLINE, fan_out, SHARDS)
    counts = Counter[int]()
    for shard, packed in parts:
        counts[shard] += unpack(packed).num_rows
    assert counts.total() == batch.num_rows
    return counts


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_no_bucket_grows_with_a_hot_query(share):
    even, skewed = draw(20_000, 0, 0, ""), draw(20_000, share, 0.05, "same")
    fair = 20_000 / SHARDS
    assert max(rows_by_shard(skewed, None).values()) > share * 20_000  # without fan-out the query is in one bucket
    assert max(rows_by_shard(skewed, "image_id").values()) < (1 + HOT) * fair
    assert rows_by_shard(even, "image_id") == rows_by_shard(even, None)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 40), st.randoms(use_true_random=False))
def test_hot_keys_take_their_shares_and_their_first_rows_stay(keys, num_shards, random):
    names = pa.array([f"k{key}" for key in keys])
    others = pa.array([str(random.randrange(9)) for _ in keys])
    own = buckets_of(names, num_shards)
    numbers = fanned_out(own, names, others, num_shards)
    assert ((numbers >= 0) & (numbers < num_shards)).all()
    share, pairs = len(keys) / num_shards, 0
    for key in set(keys):
        rows = np.flatnonzero(np.array(keys) == key)
        assert numbers[rows[0]] == own[rows[0]]
        steps = (numbers[rows] - own[rows]) % num_shards
        assert steps.max() < np.ceil(len(rows) / share)
        pairs += len(set(steps)) if len(rows) > share else 0
        if len(rows) <= share:
            assert not steps.any()
    assert pairs <= 2 * num_shards


def test_words_and_images_are_combined_before_they_are_grouped():
    # One element for each bucket and word, or bucket and image, however many rows of the bucket have them.
    clicks = draw(5_000, 0.1, 0.05, "same")
    words, images = elements(clicks)
    assert (words.count("same"), max(Counter(words).values())) == (1, 1)
    assert (images.count("i-1"), max(Counter(images).values())) == (1, 1)


def elements(clicks: pa.RecordBatch) -> tuple[list[str], list[str]]:
    """Return the words and the images of what one bucket sends on."""
    _, bucket = segmented_bucket(clicks, lambda queries: pa.array([text.split() for text in queries.to_pylist()]))
    (packed,) = INLINE.pack([bucket.to_batch()])
    (words,) = bucket_words(packed)
    (product,) = bucket_product(packed, words)
    return words.column("word").to_pylist(), product.column("image_id").to_pylist()


def test_equal_bad_rows_are_one_record_before_they_are_grouped():
    rows = 1_000
    batch = pa.record_batch(
        [["log"] * rows, np.arange(rows, 0, -1), ["bad"] * rows, ["same"] * rows, np.ones(rows, np.int64)],
        schema=QUARANTINE,
    )
    ((_, packed),) = pack_records(batch, INLINE)
    assert unpack(packed).to_pylist() == [{"file": "log", "row": 1, "reason": "bad", "raw": "same", "rows": rows}]


def test_a_skewed_log_gives_the_same_in_many_buckets_as_in_one(tmp_path, monkeypatch):
    logs = []
    for seed in (0, 1):
        clicks = draw(6_000, 0.2, 0.05, "same", seed)
        lines = ["\t".join(map(str, row.values())) for row in clicks.to_pylist()] + ["bad"] * 50
        logs.append(tmp_path / f"log-{seed}.tsv")
        logs[-1].write_text("\n".join(lines) + "\n")
    expected = digest(build(logs, tmp_path / "one", "--top-words", "200", "--most-bad-rows", "0.5"))
    monkeypatch.setattr(click_log, "BUCKET_BYTES", 20_000)
    many = build(logs, tmp_path / "many", "--top-words", "200", "--most-bad-rows", "0.5")
    assert len(list(many.glob("history/log-0000/queries-*.arrow"))) > 10
    assert digest(many) == expected
    # The hot query is already known when the second log is added.
    options = ("--top-words", "200", "--most-bad-rows", "0.5")
    added = build(logs[0], tmp_path / "added", *options)
    build(logs[1], added, *options, "--previous", str(added))
    assert digest(added) == expected
    assert json.loads((added / "summary.json").read_text())["queries"] == len(
        {line.split("\t")[1] for log in logs for line in log.read_text().splitlines() if "\t" in line}
    )

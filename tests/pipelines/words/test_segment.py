"""The segment stage."""

import polars as pl
import pyarrow as pa
import pytest

from base.schemas import CLICKS, QUERIES
from pipelines.beam.shards import merge, read_shard, write_shard
from pipelines.words.segment import main, segment_queries, segment_shard, segmented_bucket
from pipelines.words.segmentation import Segmenter, SegmentParams

PARAMS = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)


def clicks(*rows: tuple[str, str, int]) -> pa.RecordBatch:
    return merge(
        [pa.record_batch([list(column) for column in zip(*rows, strict=True)], CLICKS)] if rows else [], CLICKS
    )


def test_each_distinct_query_once_in_order():
    rows = clicks(("a", "red dog", 1), ("b", "Red dog", 2), ("c", "red dog", 3), ("c", "!", 3))
    found = segment_queries(rows, Segmenter(PARAMS))
    assert found.schema == QUERIES
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("!", []),
        ("Red dog", ["red", "dog"]),
        ("red dog", ["red", "dog"]),
    ]


def test_bucket_of_clicks():
    log = clicks(("a", "red dog", 1), ("b", "dog", 2), ("b", "red dog", 3))
    queries, made = segmented_bucket(log, Segmenter(PARAMS))
    assert queries.to_pylist() == ["red dog", "dog"]
    assert made.words.to_pylist() == ["red", "dog"]
    assert (made.query_clicks @ made.query_words).toarray().tolist() == [[1, 1], [3, 5]]


def test_stage_writes_a_shard_for_each_shard(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    (tmp_path / "clicks").mkdir()
    write_shard((0, clicks(("a", "狗 dog", 1), ("a", "big dog", 4))), tmp_path / "clicks")
    write_shard((1, clicks()), tmp_path / "clicks")
    (tmp_path / "stop").write_text("big\n", encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        f"segment: {{stop_words: {tmp_path / 'stop'}, dictionary: null, user_dictionary: null, "
        "minimum_length: 1, lemmas: null}\n"
    )
    options = ["--clicks", str(tmp_path / "clicks"), "--params", str(tmp_path / "params.yaml")]
    main([*options, "--output", str(tmp_path / "queries")])
    assert sorted(file.name for file in (tmp_path / "queries").iterdir()) == [
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    assert pl.read_parquet(tmp_path / "queries").rows() == [("big dog", ["dog"]), ("狗 dog", ["狗", "dog"])]
    assert read_shard(tmp_path / "queries/part-00001.parquet", QUERIES).num_rows == 0
    assert "queries 2" in caplog.text
    assert "words in all queries 3" in caplog.text


def test_a_shards_counts_are_of_its_distinct_queries(tmp_path):
    log = [("a", "red dog", 1), ("b", "red dog", 4), ("b", "!", 2), ("a", "?", 1), ("c", "dog", 9), ("c", "big cat", 1)]
    write_shard((3, clicks(*log)), tmp_path)
    counts = segment_shard((3, str(tmp_path / "part-00003.parquet")), PARAMS, "digest", tmp_path)
    assert list(counts) == [("queries", 5), ("queries without a word", 2), ("words in all queries", 5)]


def test_every_parameter_reaches_the_words(tmp_path, monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    (tmp_path / "clicks").mkdir()
    write_shard((0, clicks(("a", "the dogs x 北京清华 大学生活", 1))), tmp_path / "clicks")
    for name, lines in {
        "stop_words": "the\n",
        "dictionary": "京清 1000 n\n北 9 n\n华 9 n\n",
        "user_dictionary": "学生活 99999\n",
    }.items():
        (tmp_path / name).write_text(lines, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(
        f"segment: {{stop_words: {tmp_path}/stop_words, dictionary: {tmp_path}/dictionary, "
        f"user_dictionary: {tmp_path}/user_dictionary, minimum_length: 2, lemmas: en}}\n"
    )
    options = ["--clicks", str(tmp_path / "clicks"), "--params", str(tmp_path / "params.yaml")]
    main([*options, "--output", str(tmp_path / "queries")])
    # Without one of the five there would be: also "the"; 北京, 清华; 大学, 生活; also x, 北, 华, 大; "dogs".
    assert pl.read_parquet(tmp_path / "queries")["words"].to_list() == [["dog", "京清", "学生活"]]


def test_no_clicks(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    (tmp_path / "params.yaml").write_text(
        "segment: {stop_words: null, dictionary: null, user_dictionary: null, minimum_length: 1, lemmas: null}\n"
    )
    with pytest.raises(SystemExit):
        main(
            [
                "--clicks",
                str(tmp_path / "clicks"),
                "--params",
                str(tmp_path / "params.yaml"),
                "--output",
                str(tmp_path / "q"),
            ]
        )
    assert "no part-*.parquet shards here" in caplog.text

"""The whole command, compared with other ways to compute the same, and its bytes."""

import gzip
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click_builds import LOG, build, digest, write_log
from click_oracles import assert_equal, by_sql, read_features
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_files import time_limit

from base.artifacts import read_tables
from base.schemas import CLICK_MATRIX, CLICKS
from pipelines.beam.shuffle import merge, shards_of, split_by_shard
from pipelines.words.click_features import with_weights
from pipelines.words.click_matrix import add_up_rows, partial_click_matrix
from pipelines.words.segment import segmented_bucket
from pipelines.words.segmentation import Segmenter, SegmentParams
from pipelines.words.vocabulary import WORD_CLICKS, document_frequencies, most_clicked, vocabulary_table, word_clicks

SEGMENTER = Segmenter(
    SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
)


# Unequal clicks, an image without any vocabulary word, a word in every image, a word twice in a query, Chinese.
@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


def test_small_log_by_hand(tmp_path):
    folder = build(write_log(LOG[:3] + LOG[6:8], tmp_path / "log.tsv"), tmp_path / "out")
    vocabulary, features = read_features(folder)
    # golden: 7 + 3 + 3, dog: 3 + 2 + 3, puppy and retriever: 7; n = 3 images, d without a word.
    assert [row[:3] for row in vocabulary] == [("golden", 13, 2), ("dog", 8, 1), ("puppy", 7, 1), ("retriever", 7, 1)]
    assert [row[3] for row in vocabulary] == pytest.approx([0.4054651081081644, *[1.0986122886681098] * 3], rel=1e-15)
    assert features == {
        "a": {
            "golden": (6, pytest.approx(6 / 14 * 0.4054651081, rel=1e-6)),
            "dog": (8, pytest.approx(8 / 14 * 1.0986122887, rel=1e-6)),
        },
        "b": {
            "golden": (7, pytest.approx(0.4054651081 / 3, rel=1e-6)),
            "puppy": (7, pytest.approx(1.0986122887 / 3, rel=1e-6)),
            "retriever": (7, pytest.approx(1.0986122887 / 3, rel=1e-6)),
        },
        "d": {},
    }


@pytest.mark.parametrize("top_words", [2, 1000])
def test_small_log_equals_sql(tmp_path, top_words):
    folder = build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "out", "--top-words", str(top_words))
    assert_equal(read_features(folder), by_sql(LOG, top_words))


ids = st.text("abé01 ", min_size=1, max_size=3).filter(str.strip)
queries = st.text(st.sampled_from("abßЖDż 7-_'２ 狗金毛犬ータ가\u00a0"), min_size=1, max_size=12).filter(str.strip)
rows_of_logs = st.lists(st.tuples(ids, queries, st.integers(1, 10**12)), min_size=1, max_size=30)


def without_beam(rows: list[tuple[str, str, int]], top_words: int, num_buckets: int) -> tuple:
    """Compute features by our functions without Beam, for speed, in the shape of by_sql."""
    log = pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=CLICKS)
    parts = [part for _, part in split_by_shard(log, shards_of(log["query"], num_buckets))]
    buckets = [segmented_bucket(part, SEGMENTER)[1] for part in parts]
    words = most_clicked(merge([word_clicks(bucket) for bucket in buckets], WORD_CLICKS), top_words)
    matrix = add_up_rows(merge([partial_click_matrix(bucket, words) for bucket in buckets], CLICK_MATRIX))
    vocabulary = vocabulary_table(words, document_frequencies(matrix, words))
    names = words["word"].to_pylist()
    features = {
        row["image_id"]: {
            names[i]: (n, v) for i, n, v in zip(row["word_ids"], row["clicks"], row["tfidf"], strict=True)
        }
        for row in with_weights(matrix, vocabulary).to_pylist()
    }
    table = vocabulary.select(["word", "clicks", "document_frequency", "idf"]).to_pylist()
    return [tuple(row.values()) for row in table], features


@settings(max_examples=60)
@given(rows=rows_of_logs, top_words=st.integers(1, 8), num_buckets=st.integers(1, 5))
def test_any_log_equals_sql(rows, top_words, num_buckets):
    rows.append(("z", "always a word", 1))
    assert_equal(without_beam(rows, top_words, num_buckets), by_sql(rows, top_words))


def test_bytes_do_not_depend_on_files_order_form_or_run(tmp_path):
    whole = digest(build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "whole"))
    again = digest(build(tmp_path / "log.tsv", tmp_path / "again"))
    assert again == whole

    shuffled = random.Random(5).sample(LOG, len(LOG))
    folder = tmp_path / "parts"
    folder.mkdir()
    write_log(shuffled[:2], folder / "x.tsv")
    (folder / "y.tsv.gz").write_bytes(gzip.compress(write_log(shuffled[2:6], tmp_path / "y").read_bytes()))
    pl.DataFrame(shuffled[6:], schema=["image_id", "query", "clicks"], orient="row").write_parquet(folder / "z.parquet")
    assert digest(build(folder, tmp_path / "cut")) == whole
    assert digest(build([folder / "y*", folder / "z.parquet", folder / "x.tsv"], tmp_path / "named")) == whole


def test_buckets_that_turn_out_large_are_cut_and_change_nothing(tmp_path, monkeypatch):
    rows = [(image, f"{query} dog {number}", 1 + number) for number in range(20) for image, query, _ in LOG] * 2
    log = write_log(rows, tmp_path / "log.tsv")
    whole = build(log, tmp_path / "whole")
    assert len(list((whole / "history" / "log-0000").glob("queries-*"))) == 1
    monkeypatch.setattr("pipelines.build_click_features.LARGE_BUCKET", 2000)
    cut = build(log, tmp_path / "cut")
    assert digest(cut) == digest(whole)
    assert len(list((cut / "history" / "log-0000").glob("queries-*"))) > 5
    more = write_log(LOG, tmp_path / "more.tsv")
    assert digest(build(more, tmp_path / "added", "--previous", str(cut))) == digest(
        build([log, more], tmp_path / "at once")
    )


def test_columns_in_another_order_give_the_same_features(tmp_path):
    plain = digest(build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "plain"))
    text = "".join(f"{clicks}\t2026\t{query}\t{image}\n" for image, query, clicks in LOG)
    (tmp_path / "other.tsv").write_text(text, encoding="utf-8")
    other = digest(build(tmp_path / "other.tsv", tmp_path / "other", "--columns", "clicks,year,query,image_id"))
    assert other == plain


@pytest.mark.slow
def test_bytes_do_not_depend_on_workers(tmp_path):
    log = write_log(LOG * 5, tmp_path / "log.tsv")
    one = digest(build(log, tmp_path / "one"))
    options = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")
    assert digest(build(log, tmp_path / "two", *options)) == one


def test_summary_adds_up_and_quarantine_says_why(tmp_path):
    log = tmp_path / "log.tsv"
    log.write_bytes(b"\xef\xbb\xbfa\tgolden dog\t3\r\nb\tdog\t-1\n\nc\tdog\xff\t2\nb\tcat\t2\nb\tdog\tx\n")
    folder = build(log, tmp_path / "out", "--most-bad-rows", "0.6")
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    seconds = summary.pop("seconds")
    assert summary == {
        "rows_read": 6,
        "rows_kept": 2,
        "rows_quarantined": {"clicks below 1": 1, "clicks not an integer": 1, "empty line": 1, "not UTF-8": 1},
        "images": 2,
        "queries": 2,
        "words": 3,
        "vocabulary": 3,
    }
    assert set(seconds) == {"read", "shuffle", "segment", "vocabulary", "click_matrix", "click_features", "write"}
    assert pl.read_parquet(folder / "quarantine").rows() == [
        ("log.tsv", 2, "clicks below 1", "b\tdog\t-1", 1),
        ("log.tsv", 3, "empty line", "", 1),
        ("log.tsv", 4, "not UTF-8", "c\tdog\\xff\t2", 1),
        ("log.tsv", 6, "clicks not an integer", "b\tdog\tx", 1),
    ]


def test_images_file_chooses_the_rows_and_the_set(tmp_path):
    images = pl.DataFrame({"image_id": ["e", "a", "never", "x"], "domain": ["source", "source", "source", "target"]})
    images.write_parquet(tmp_path / "images.parquet")
    log = write_log(LOG, tmp_path / "log.tsv")
    found = read_features(build(log, tmp_path / "out", "--images", str(tmp_path / "images.parquet")))
    features = found[1]
    assert features["never"] == {}
    assert set(features) == {"a", "e", "never"}
    # For SQL, an image whose only query has no word is the same as an image that was never clicked.
    chosen = [row for row in LOG if row[0] in {"a", "e"}]
    expected_vocabulary, expected_features = by_sql([*chosen, ("never", "?", 1)], 1000)
    assert_equal(found, (expected_vocabulary, expected_features))


def test_stop_words_and_minimum_length(tmp_path):
    (tmp_path / "stop.txt").write_text("GOLDEN\n\n的\n", encoding="utf-8")
    options = ["--stop-words", str(tmp_path / "stop.txt"), "--minimum-length", "2"]
    vocabulary, _ = read_features(build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "out", *options))
    assert {row[0] for row in vocabulary} == {"retriever", "puppy", "dog", "可爱", "金毛犬", "gate", "bridge"}


def test_dictionaries_lemmas_and_stop_words_reach_the_words(tmp_path):
    for name, lines in {
        "stop": "the\n",
        "dictionary": "京清 1000 n\n北 9 n\n华 9 n\n",
        "user": "学生活 99999\n",
    }.items():
        (tmp_path / name).write_text(lines, encoding="utf-8")
    log = write_log([("a", "the dogs x 北京清华 大学生活", 3), ("b", "dog", 1)], tmp_path / "log.tsv")
    options = ["--stop-words", str(tmp_path / "stop"), "--dictionary", str(tmp_path / "dictionary")]
    options += ["--user-dictionary", str(tmp_path / "user"), "--minimum-length", "2", "--lemmas", "en"]
    vocabulary, _ = read_features(build(log, tmp_path / "out", *options))
    assert [row[:3] for row in vocabulary] == [("dog", 4, 2), ("京清", 3, 1), ("学生活", 3, 1)]


def test_a_thousand_words_are_kept_unless_another_number_is_asked_for(tmp_path):
    # The first word by code point has the most clicks and the last the fewest; the others tie.
    words = [f"w{number:04d}" for number in range(1005)]
    rows = [(f"i{n % 7}", word, {0: 9, 1004: 1}.get(n, 5)) for n, word in enumerate(words)]
    vocabulary, _ = read_features(build(write_log(rows, tmp_path / "log.tsv"), tmp_path / "out"))
    assert [row[0] for row in vocabulary] == words[:1000]


@pytest.mark.parametrize(
    ("log", "options", "message"),
    [
        ("a\t?!\t3\n", [], "the vocabulary is empty"),
        ("", [], "the vocabulary is empty"),
        ("a\tdog\t3\n", ["--top-words", "0"], "vocabulary.top_words = 0"),
        ("a\tdog\t3\n", ["--longest-line", "0"], "--longest-line 0: expected 1 .. 1073741824 bytes"),
        ("a\tdog\t3\n", ["--stop-words", "nowhere.txt"], "nowhere.txt: no such file"),
        ("a\tdog\t3\n", ["--images", "nowhere.parquet"], "nowhere.parquet: no such file"),
        ("a\tdog\t3\n", ["--clicks", "nowhere*.tsv"], "nowhere*.tsv: no such click log"),
    ],
)
def test_errors_leave_no_output(tmp_path, caplog, log, options, message):
    (tmp_path / "log.tsv").write_text(log, encoding="utf-8")
    with pytest.raises(SystemExit) as failure:
        build(tmp_path / "log.tsv", tmp_path / "out", *options)
    assert failure.value.code == 2
    assert message in caplog.text
    assert [path.name for path in tmp_path.iterdir() if path.name != "log.tsv"] == []


def test_only_a_build_is_replaced(tmp_path, caplog, monkeypatch):
    log = write_log(LOG, tmp_path / "logs" / "log.tsv")
    first = digest(build(log, tmp_path / "out"))
    assert digest(build(log, tmp_path / "out")) == first
    (tmp_path / "out" / "notes.txt").write_text("mine")
    monkeypatch.chdir(tmp_path / "logs")
    for output, message in (
        (tmp_path / "out", "out: holds notes.txt, which this command never writes"),
        (tmp_path / "logs", "logs: is or holds the current folder"),
    ):
        with pytest.raises(SystemExit) as failure:
            build(log, output)
        assert failure.value.code == 2
        assert message in caplog.text
    assert log.is_file()
    assert digest(tmp_path / "out").keys() == {*first, "notes.txt"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "out"]


@pytest.mark.parametrize("form", ["tsv", "tsv.gz", "parquet"])
def test_a_log_whose_name_is_not_utf8(tmp_path, form):
    logs = tmp_path / os.fsdecode(b"logs \xff")
    logs.mkdir()
    names = [os.fsdecode(b"caf\xe9."), os.fsdecode(b"\xc3."), "other."]
    parts = [[("a", "red cat", 3), ("a", "", 1)], [("b", "dog", 2)], [("a", "red cat", 5)]]
    for name, rows in zip(names, parts, strict=True):
        text = "".join(f"{image}\t{query}\t{clicks}\n" for image, query, clicks in rows).encode()
        content = gzip.compress(text, mtime=0) if form == "tsv.gz" else text
        if form == "parquet":
            buffer = io.BytesIO()
            pl.DataFrame(rows, ("image_id", "query", "clicks"), orient="row").write_parquet(buffer)
            content = buffer.getvalue()
        (logs / (name + form)).write_bytes(content)
    whole = build(logs, tmp_path / "whole")
    assert read_features(whole)[0][:1] == [("cat", 8, 1, pytest.approx(0.693147, rel=1e-5))]
    [refused] = read_tables(whole / "quarantine").to_pylist()
    assert (refused["file"], refused["reason"]) == (f"caf\\xe9.{form}", "empty query")
    first = build([logs / (name + form) for name in names[:2]], tmp_path / "first")
    both = build(logs / (names[2] + form), tmp_path / "both", "--previous", str(first))
    assert digest(both)["vocabulary.parquet"] == digest(whole)["vocabulary.parquet"]
    assert set(json.loads((whole / "history/log-0000/files.json").read_text(encoding="utf-8"))) == {
        *(f"caf\\xe9.{form}", f"\\xc3.{form}", f"other.{form}")
    }


def test_idle_entries_of_lists_are_named(tmp_path, caplog):
    (tmp_path / "stop.txt").write_text("dog\n!!\n", encoding="utf-8")
    (tmp_path / "user.txt").write_text("T恤 10000 n\n", encoding="utf-8")
    lists = ["--stop-words", str(tmp_path / "stop.txt"), "--user-dictionary", str(tmp_path / "user.txt")]
    build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "out", *lists)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(":")[2] for line in warnings] == [
        " 1 of 2 stop words can never match, because no word has their signs: '!!'",
        " 1 of 1 words can never be found, because jieba joins only Han characters from U+4E00 to U+9FD5: 'T恤'",
    ]


@pytest.mark.parametrize("between", [["--clicks"], []], ids=["option again", "one option"])
def test_every_log_that_is_named_is_read(tmp_path, between):
    logs = [write_log(LOG[:4], tmp_path / "one.tsv"), *between, write_log(LOG[4:], tmp_path / "two.tsv")]
    folder = build(logs, tmp_path / "out")
    assert json.loads((folder / "summary.json").read_text(encoding="utf-8"))["rows_read"] == len(LOG)


def test_a_log_behind_another_option_is_an_error(tmp_path, caplog):
    log = write_log(LOG, tmp_path / "log.tsv")
    with pytest.raises(SystemExit) as failure:
        build(log, tmp_path / "out", str(write_log(LOG[:1], tmp_path / "log2.tsv")))
    assert failure.value.code == 2
    assert "log2.tsv: belongs to no option" in caplog.text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--clicks", "--images", "--stop-words", "--dictionary", "--user-dictionary"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, caplog, option):
    os.mkfifo(tmp_path / "pipe")
    log = write_log(LOG, tmp_path / "log.tsv")
    with time_limit(60), pytest.raises(SystemExit) as ended:
        build(log, tmp_path / "out", option, str(tmp_path / "pipe"))
    assert ended.value.code == 2
    assert (
        f"{tmp_path}/pipe: is a named pipe, and only regular files are read; write the data into a file" in caplog.text
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.tsv", "pipe"]


def test_process_substitution_is_refused_with_what_to_do(tmp_path):
    command = f"{sys.executable} -m pipelines.build_click_features --clicks <(echo) --output {tmp_path}/out"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 2
    assert ": is a named pipe, and only regular files are read; write the data into a file" in ended.stderr
    assert not any(tmp_path.iterdir())

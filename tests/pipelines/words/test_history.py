"""A log added to an earlier build gives the same as building from both logs at once."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from click_builds import build, digest, write_log
from hypothesis import given, settings
from hypothesis import strategies as st

from base.schemas import CLICK_MATRIX, CLICKS
from pipelines.beam.shuffle import merge
from pipelines.words.click_features import with_weights
from pipelines.words.click_matrix import add_up_rows, partial_click_matrix
from pipelines.words.history import (
    QUERY,
    any_of,
    clicks_of_entering_words,
    num_queries,
    which_are_known,
    with_new_ids,
    write_bucket,
)
from pipelines.words.segment import segmented_bucket
from pipelines.words.segmentation import Segmenter, SegmentParams
from pipelines.words.vocabulary import WORD_CLICKS, document_frequencies, most_clicked, vocabulary_table, word_clicks

SEGMENTER = Segmenter(
    SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
)

# With a vocabulary of three words: day 0 has dog, golden and cat. On day 1 金毛犬 enters, which a row of day 0 has; cat
# leaves, which day 1 lacks; and golden overtakes dog. On day 2 cat comes back, with known images and queries.
DAYS = [
    [
        *[("b", "golden dog", 7), ("a", "dog", 3), ("c", "可爱的金毛犬 cat", 2), ("d", "cat", 4), ("e", "?!", 1)],
        ("a", "dog", 2),
    ],
    [("c", "golden 金毛犬", 5), ("f", "金毛犬", 2), ("g", "golden", 3), ("b", "long", 1)],
    [("d", "cat", 9), ("h", "cat long dog", 1), ("a", "dog", 1)],
]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


@pytest.fixture
def days(tmp_path: Path) -> list[Path]:
    return [write_log(rows, tmp_path / f"day-{day}.tsv") for day, rows in enumerate(DAYS)]


def words(folder: Path) -> list[str]:
    return pl.read_parquet(folder / "vocabulary.parquet")["word"].to_list()


def test_day_by_day_gives_the_bytes_of_all_at_once(tmp_path, days):
    folder = build(days[0], tmp_path / "features", "--top-words", "3")
    assert words(folder) == ["dog", "golden", "cat"]
    build(days[1], folder, "--previous", str(folder), "--top-words", "3")
    assert words(folder) == ["golden", "dog", "金毛犬"]
    assert digest(folder) == digest(build(days[:2], tmp_path / "two", "--top-words", "3"))
    build(days[2], folder, "--previous", str(folder), "--top-words", "3")
    assert words(folder) == ["cat", "golden", "dog"]
    at_once = build(days, tmp_path / "three", "--top-words", "3")
    assert digest(folder) == digest(at_once)
    assert json.loads((folder / "summary.json").read_text())["queries"] == 10
    assert sorted(path.name for path in (folder / "history").iterdir()) == [
        "log-0000", "log-0001", "log-0002", "options.json", "words",
    ]  # fmt: skip


def test_another_number_of_words_and_several_files_in_several_buckets(tmp_path, days, monkeypatch):
    monkeypatch.setattr("pipelines.ingest.click_log.BUCKET_BYTES", 20)
    old = build(days[:2], tmp_path / "old", "--top-words", "2")
    new = build(days[2], tmp_path / "new", "--top-words", "5", "--previous", str(old))
    monkeypatch.undo()
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    assert digest(new) == digest(build(days, tmp_path / "all", "--top-words", "5"))


def test_images_and_quarantine_of_both_logs(tmp_path, days):
    for day, path in enumerate(days):
        path.write_bytes(path.read_bytes() + b"bad\n" * day)
    images = tmp_path / "images.parquet"
    pl.DataFrame({"image_id": ["b", "c", "never", "g", "d"]}).write_parquet(images)
    options = ["--images", str(images), "--top-words", "3"]
    old = build(days[:2], tmp_path / "old", *options)
    new = build(days[2], tmp_path / "new", *options, "--previous", str(old))
    assert digest(new) == digest(build(days, tmp_path / "all", *options))
    quarantine = pl.read_parquet(new / "quarantine").select("file", "row", "rows").rows()
    assert quarantine == [("day-1.tsv", 5, 1), ("day-2.tsv", 4, 2)]


def test_the_quarantine_of_a_large_log_is_cut_and_added_to(tmp_path, days, monkeypatch):
    bad = [f"bad {row}" for row in range(60)]
    for day, path in enumerate(days):
        path.write_text("".join(f"{line}\n" for line in bad[day::3]))
    with days[0].open("a") as first:
        first.write("a\tdog\t3\n")
    monkeypatch.setattr("pipelines.ingest.quarantine.FILE_BYTES", 1000)
    all_bad = ("--most-bad-rows", "1")
    old = build(days[:2], tmp_path / "old", *all_bad)
    new = build(days[2], tmp_path / "new", "--previous", str(old), *all_bad)
    assert 1 < len(list((old / "quarantine").iterdir())) < len(list((new / "quarantine").iterdir()))
    parts = [pl.read_parquet(path) for path in sorted((new / "quarantine").iterdir())]
    assert all(part.height and part["row"].equals(part.sort("file", "row")["row"]) for part in parts)
    assert sorted(pl.concat(parts)["raw"]) == sorted(bad)
    assert digest(new) == digest(build(days[2], tmp_path / "again", "--previous", str(old), *all_bad))


def test_equal_rows_of_two_logs_of_one_name_are_one_record(tmp_path, days):
    first, second = ((tmp_path / name / "log.tsv") for name in ("monday", "tuesday"))
    for path, text in ((first, "a\tdog\t3\n\nbad\n\n"), (second, "\n\n\nworse\nb\tcat\t2\n")):
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
    folder = build(first, tmp_path / "features")
    records = folder / "quarantine/part-00000.parquet"
    by_row = pl.read_parquet(records).drop("rows")  # the format before equal rows were one record
    pl.concat([by_row, by_row.head(1).with_columns(pl.lit(4, pl.Int64).alias("row"))]).write_parquet(records)
    build(second, folder, "--previous", str(folder))
    assert pl.read_parquet(folder / "quarantine").rows() == [
        ("log.tsv", 1, "empty line", "", 5),
        ("log.tsv", 3, "wrong number of fields", "bad", 1),
        ("log.tsv", 4, "wrong number of fields", "worse", 1),
    ]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["rows_quarantined"] == {"empty line": 5, "wrong number of fields": 2}


def test_history_is_readable_by_others(tmp_path, days):
    history = build(days[0], tmp_path / "old") / "history"
    queries = pl.read_ipc(history / "log-0000" / "queries-00000.arrow")
    clicks = pl.read_ipc(history / "log-0000" / "clicks-00000.arrow")
    assert {row[0]: list(row[1]) for row in queries.rows()} == {
        "golden dog": ["golden", "dog"],
        "dog": ["dog"],
        "可爱的金毛犬 cat": ["可爱", "的", "金毛犬", "cat"],
        "cat": ["cat"],
        "?!": [],
    }
    named = clicks.select(pl.col("image_id").cast(pl.String), queries["query"].gather(clicks["query"]), "clicks")
    assert sorted(named.rows()) == [
        ("a", "dog", 5), ("b", "golden dog", 7), ("c", "可爱的金毛犬 cat", 2), ("d", "cat", 4), ("e", "?!", 1),
    ]  # fmt: skip
    counted = pl.read_parquet(history / "words").sort("clicks", "word", descending=[True, False])
    assert counted.rows() == [("dog", 12), ("golden", 7), ("cat", 6), ("可爱", 2), ("的", 2), ("金毛犬", 2)]


def test_what_cannot_be_added_to_is_an_error(tmp_path, days, caplog):
    def refused(*options: str) -> str:
        caplog.clear()
        with pytest.raises(SystemExit) as exit_:
            build(days[1], tmp_path / "out", *options)
        assert exit_.value.code == 2
        assert not (tmp_path / "out").exists()
        return caplog.text

    assert "no build of click features here (no summary.json)" in refused("--previous", str(tmp_path))
    old = str(build(days[0], tmp_path / "old", "--no-history"))
    assert not (Path(old) / "history").exists()
    assert "was built with --no-history" in refused("--previous", old)
    stop_words = tmp_path / "stop.txt"
    stop_words.write_text("cat\n")
    build(days[0], Path(old), "--stop-words", str(stop_words))
    assert "was built with another stop words" in refused("--previous", old)
    stop_words.write_text("dog\n")
    assert "was built with another stop words" in refused("--previous", old, "--stop-words", str(stop_words))
    stop_words.write_text("cat\n")
    summary = Path(old) / "summary.json"
    whole = summary.read_text(encoding="utf-8")
    summary.write_text(whole[:20], encoding="utf-8")
    assert "summary.json: damaged (" in refused("--previous", old, "--stop-words", str(stop_words))
    summary.write_text(whole, encoding="utf-8")
    (Path(old) / "click_features" / "part-00015.parquet").unlink()
    assert "has 15 shards of features, builds now have 16" in refused("--previous", old)
    build(days[0], Path(old), "--stop-words", str(stop_words))
    assert "another minimum length (1, now 2)" in refused(
        "--previous", old, "--stop-words", str(stop_words), "--minimum-length", "2"
    )


def test_a_file_that_is_in_already_is_refused_by_its_content(tmp_path, days, caplog):
    folder = build(days[0], tmp_path / "features")
    build(days[1], folder, "--previous", str(folder))
    before = digest(folder)
    again = tmp_path / "other-name.tsv"
    again.write_bytes(days[0].read_bytes())
    with pytest.raises(SystemExit) as exit_:
        build([days[2], again], folder, "--previous", str(folder))
    assert exit_.value.code == 2
    assert f"other-name.tsv: {folder} has this file already, as day-0.tsv: its clicks would count twice" in caplog.text
    assert digest(folder) == before
    sha256 = hashlib.sha256(days[1].read_bytes()).hexdigest()
    assert json.loads((folder / "history/log-0001/files.json").read_text()) == {"day-1.tsv": sha256}
    # Files without a row, for example of an hour without clicks, are all equal, and this is allowed.
    for hour in ("hour-1.tsv", "hour-2.tsv"):
        (tmp_path / hour).touch()
        build(tmp_path / hour, folder, "--previous", str(folder))
    assert digest(folder) == before


@pytest.mark.parametrize("options", [[], ["--no-history"]], ids=["history", "no history"])
def test_two_files_of_one_content_are_refused_unless_they_are_empty(tmp_path, days, caplog, options):
    copy = tmp_path / "log_copy.tsv"
    copy.write_bytes(days[0].read_bytes())
    with pytest.raises(SystemExit) as exit_:
        build([days[0], days[1], copy], tmp_path / "features", *options)
    assert exit_.value.code == 2
    assert f"{copy}: has the content of {days[0]}: its clicks would count twice; leave one out" in caplog.text
    assert not (tmp_path / "features").exists()
    for hour in ("hour-1.tsv", "hour-2.tsv"):
        (tmp_path / hour).touch()
    folder = build([days[0], tmp_path / "hour-1.tsv", tmp_path / "hour-2.tsv"], tmp_path / "features", *options)
    assert digest(folder) == digest(build(days[0], tmp_path / "alone", *options))


rows_of_logs = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from(["x", "y", "x z", "z y 狗", "狗", "?"]), st.integers(1, 99)),
    min_size=1,
    max_size=12,
)


def log_of(rows: list[tuple[str, str, int]]) -> pa.RecordBatch:
    return pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=CLICKS)


@settings(max_examples=150)
@given(old=rows_of_logs, new=rows_of_logs, top_old=st.integers(1, 6), top_new=st.integers(1, 6))
def test_any_two_logs(tmp_path_factory, old, new, top_old, top_new):
    folder = tmp_path_factory.mktemp("history")
    queries, bucket = segmented_bucket(log_of(old), SEGMENTER)
    write_bucket(3, bucket, queries, folder)
    path = str(folder / "queries-00003.arrow")
    names = pa.record_batch([pa.array(["x", "never", "狗"])], schema=QUERY)
    (known,) = which_are_known(path, names)
    asked = {row[1] for row in old}
    assert num_queries(known, names, 10) == ("queries", 10 + 3 - len(asked & {"x", "狗"}))

    old_words = most_clicked(word_clicks(bucket), top_old)
    old_matrix = add_up_rows(partial_click_matrix(bucket, old_words))
    vocabulary = vocabulary_table(old_words, document_frequencies(old_matrix, old_words))
    features = with_weights(old_matrix, vocabulary)

    _, new_bucket = segmented_bucket(log_of(new), SEGMENTER)
    words = most_clicked(merge([word_clicks(bucket), word_clicks(new_bucket)], WORD_CLICKS), top_new)
    parts = [
        partial_click_matrix(new_bucket, words),
        with_new_ids(features, vocabulary["word"], words),
        *clicks_of_entering_words(path, vocabulary["word"], words),
    ]
    _, both = segmented_bucket(log_of(old + new), SEGMENTER)
    assert add_up_rows(merge(parts, CLICK_MATRIX)).equals(add_up_rows(partial_click_matrix(both, words)))


def test_a_query_is_known_if_any_log_has_it():
    assert any_of([]) == b""
    assert any_of([b"\x81\x00", b"", b"\x01\x10"]) == b"\x81\x10"
    names = pa.record_batch([pa.array(list("abcdefghijk"))], schema=QUERY)
    assert num_queries(b"\x81\x20", names, 100) == ("queries", 100 + 11 - 3)

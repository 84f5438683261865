"""The weights, and the chain of stages compared with the single command."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from click_builds import LOG, digest, write_log
from click_oracles import assert_equal, by_sql, read_features

from base.console import UserError
from base.schemas import CLICK_FEATURES, CLICK_MATRIX
from pipelines import build_click_features
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import write_shard
from pipelines.beam.shuffle import INLINE
from pipelines.ingest.click_log import ReadClickLog, WriteClicks, find_logs
from pipelines.words import click_features, click_matrix, segment, vocabulary
from pipelines.words.click_features import read_matrix, with_weights

MATRIX = pa.record_batch(
    [["a", "b", "c"], [[0, 2], [], [1]], [[3, 1], [], [10**12]]],
    schema=CLICK_MATRIX,
)
VOCABULARY = pa.record_batch({"idf": [0.5, 2.0, 0.0]})


def test_weights_by_hand_in_single_precision():
    found = with_weights(MATRIX, VOCABULARY)
    assert found.schema == CLICK_FEATURES
    assert found["tfidf"].to_pylist() == [[0.375, 0.0], [], [2.0]]
    assert found.select(CLICK_MATRIX.names).equals(MATRIX)


def test_weights_are_computed_in_double_and_rounded_once():
    # Sums and shares that single precision would round: 7 of 2^24 + 7 clicks, a third, three sevenths.
    clicks = [[7, 2**24], [1, 2], [3, 4], [10**12 + 1, 10**12 - 1]]
    idf = np.array([0.4054651081081644, 1.0986122886681098])
    matrix = pa.record_batch([list("abcd"), [[0, 1]] * 4, clicks], schema=CLICK_MATRIX)
    found = with_weights(matrix, pa.record_batch({"idf": idf}))["tfidf"]
    expected = [[np.float32(n / sum(row) * weight) for n, weight in zip(row, idf, strict=True)] for row in clicks]
    assert found.type.value_type == pa.float32()
    assert [[np.float32(value) for value in row] for row in found.to_pylist()] == expected
    in_single = [
        [np.float32(n / sum(row)) * np.float32(weight) for n, weight in zip(row, idf, strict=True)] for row in clicks
    ]
    assert in_single != expected


def test_weights_of_a_slice_and_of_nothing():
    assert with_weights(MATRIX.slice(1, 2), VOCABULARY)["tfidf"].to_pylist() == [[], [2.0]]
    assert with_weights(MATRIX.slice(1, 1), VOCABULARY)["tfidf"].to_pylist() == [[]]
    assert with_weights(MATRIX.slice(0, 0), VOCABULARY).num_rows == 0


def test_matrix_of_another_vocabulary(tmp_path):
    write_shard((0, MATRIX), tmp_path)
    assert read_matrix(tmp_path / "part-00000.parquet", 3).equals(MATRIX)
    with pytest.raises(
        UserError, match=r"word_id 2, but the vocabulary has 2 words; run `pipelines.words.click_matrix` again"
    ):
        read_matrix(tmp_path / "part-00000.parquet", 2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write a bucketed log, the selected images (one of them was never clicked) and their split."""
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    (tmp_path / "clicks").mkdir()
    write_log(LOG, tmp_path / "log.tsv")
    with pipeline() as job:
        _ = (job | ReadClickLog(find_logs([tmp_path / "log.tsv"]))).clicks | WriteClicks(tmp_path / "clicks", 3, INLINE)
    write_images(
        tmp_path,
        {
            "image_id": ["b", "c", "d", "never", "a"],
            "domain": ["source", "source", "source", "source", "target"],
            "split": ["test", "train", "validation", "train", "train"],
        },
    )
    return tmp_path


def write_images(folder, columns: dict[str, list[str]]) -> None:
    """Write the selected images, and their splits to a file of their own, as `select` does."""
    table = pl.DataFrame(columns)
    table.drop("split").write_parquet(folder / "images.parquet")
    table.write_parquet(folder / "split.parquet")


def run_stages(folder, output, fit_on: str) -> None:
    (folder / "params.yaml").write_text(
        "segment: {stop_words: null, dictionary: null, user_dictionary: null, minimum_length: 1, lemmas: null}\n"
        f"vocabulary: {{top_words: 4, fit_on: {fit_on}}}\n"
    )
    params = ["--params", str(folder / "params.yaml")]
    images = ["--images", str(folder / "images.parquet")]
    log = ["--clicks", str(folder / "clicks"), "--queries", str(output / "queries")]
    words = ["--vocabulary", str(output / "vocabulary.parquet")]
    matrix = output / "click_matrix"
    segment.main([*log[:2], "--output", str(output / "queries"), *params])
    split = ["--split", str(folder / "split.parquet"), "--output", str(output / "vocabulary.parquet")]
    vocabulary.main([*log, *images, *split, *params])
    click_matrix.main([*log, *words, *images, "--output", str(matrix)])
    click_features.main(["--click-matrix", str(matrix), *words, "--output", str(output / "click_features")])


def test_stages_write_the_bytes_of_the_one_command(folder):
    run_stages(folder, folder / "stages", "all")
    options = ["--images", str(folder / "images.parquet"), "--top-words", "4", "--output", str(folder / "command")]
    build_click_features.main(["--clicks", str(folder / "log.tsv"), *options])
    chained, command = digest(folder / "stages"), digest(folder / "command")
    shared = [name for name in command if name == "vocabulary.parquet" or name.startswith("click_features/")]
    assert len(shared) == 17
    assert {name: chained[name] for name in shared} == {name: command[name] for name in shared}


def test_fit_on_train_takes_words_and_weights_from_the_training_split_only(folder):
    run_stages(folder, folder / "stages", "train")
    words, features = read_features(folder / "stages")
    train = [row for row in LOG if row[0] == "c"]
    expected, _ = by_sql([*train, ("never", "?", 1)], 4)
    assert_equal((words, {}), (expected, {}))
    assert set(features) == {"b", "c", "d", "never"}
    ids = {row[0]: row for row in words}
    assert {word: clicks for word, (clicks, _) in features["b"].items()} == {"golden": 12}
    assert features["b"]["golden"][1] == np.float32(ids["golden"][3])


def test_no_clicks_on_the_images_is_an_error(folder, caplog):
    write_images(folder, {"image_id": ["x"], "domain": ["source"], "split": ["train"]})
    with pytest.raises(SystemExit):
        run_stages(folder, folder / "stages", "all")
    assert "the vocabulary is empty: no query clicked for these images has a word" in caplog.text
    assert sorted(path.name for path in (folder / "stages").iterdir()) == ["queries"]

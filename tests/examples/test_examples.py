"""Every example reads the same features; the oracle is the log itself, by SQL."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click_builds import LOG, build, write_log
from click_oracles import by_sql
from javascript import install

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    return build(write_log(LOG, folder / "log.tsv"), folder / "features", "--no-history")


@pytest.fixture(scope="module")
def expected() -> list[tuple[str, str, float]]:
    _, images = by_sql(LOG, 1000)
    return sorted(
        (image, word, round(weight, 6)) for image, words in images.items() for word, (_, weight) in words.items()
    )


def rounded(rows: object) -> list[tuple[str, str, float]]:
    return sorted((image, word, round(float(weight), 6)) for image, word, weight in rows)


def example(name: str):
    return importlib.import_module(name)


def test_polars_duckdb_and_pandas_read_the_same(features: Path, expected: list) -> None:
    assert rounded(example("with_polars").load(features).rows()) == expected
    assert rounded(example("with_duckdb").load(features)) == expected
    assert rounded(example("with_pandas").load(features).itertuples(index=False)) == expected


def test_scipy_and_torch_read_the_same(features: Path, expected: list) -> None:
    images, words, matrix = example("to_scipy").load(features)
    entries = matrix.tocoo()
    assert (
        rounded((images[row], words[col], w) for row, col, w in zip(*entries.coords, entries.data, strict=True))
        == expected
    )
    assert sorted(images) == list("abcde")
    dataset = example("with_torch").ClickFeatures(features)
    assert len(dataset) == 5
    assert [dataset[row][0] for row in range(5)] == images
    assert np.array_equal(np.stack([dataset[row][1].numpy() for row in range(5)]), matrix.toarray())


def test_hugging_face_reads_the_same(features: Path, expected: list, tmp_path: Path) -> None:
    words = pl.read_parquet(features / "vocabulary.parquet")["word"]
    rows = example("with_datasets").load(features, str(tmp_path))
    flat = ((row["image_id"], words[i], w) for row in rows for i, w in zip(row["word_ids"], row["tfidf"], strict=True))
    assert rounded(flat) == expected


def test_a_linear_classifier_learns_from_clicks_alone(tmp_path: Path) -> None:
    log, images = [], []
    for number in range(40):
        kind = "cat" if number % 2 else "dog"
        log.append((f"i{number}", f"{kind} w{number % 5}", 2 + number % 3))
        images.append((f"i{number}", kind if number != 39 else "dog", "test" if number >= 30 else "train"))
    features = build(write_log(log, tmp_path / "log.tsv"), tmp_path / "features", "--no-history")
    splits = tmp_path / "splits.parquet"
    pl.DataFrame(images, schema=["image_id", "category", "split"], orient="row").write_parquet(splits)
    assert example("with_scikit_learn").accuracy(features, splits) == 0.9  # one test image has the wrong name


def test_javascript_reads_the_same(features: Path, expected: list, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "read.mjs", program := install(tmp_path / "readers"))
    run = subprocess.run(["node", program / "read.mjs", features], capture_output=True, text=True, check=True)
    assert rounded(tuple(row.values()) for row in json.loads(run.stdout)) == expected


def test_an_example_runs_as_its_first_lines_say(features: Path) -> None:
    run = subprocess.run(
        [sys.executable, EXAMPLES / "with_duckdb.py", features], capture_output=True, text=True, check=True
    )
    assert "golden" in run.stdout

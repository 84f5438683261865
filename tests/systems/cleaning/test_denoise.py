"""The command on made-up features and logs: better labels, a stated accuracy, and refusals."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_labels import write_labels

from base import schemas
from systems.cleaning.denoise import main

CATEGORIES = ("akita", "corgi", "husky", "pug")
PARAMS = """
cleaning:
  denoise:
    method: METHOD
    least_right: 0.5
    soft_labels: 0.05
    head: {folds: 3, components: 8, hidden: 16, dropout: 0.1, epochs: 30, batch_size: 100, learning_rate: 0.01,
           weight_decay: 0.01, seed: 0, threads: 1}
    table: {method: table, size_borders: [1], first_half: [0.3], second_half: [0.5], below_first_border: keep}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write features of 300 images, and labels from clicks of which some two thirds are right by majority."""
    random = np.random.default_rng(7)
    truth = random.integers(0, 4, 300)
    features = 3 * np.eye(8)[truth] + random.normal(0, 1, (300, 8))
    rows = []
    for i, z in enumerate(truth):
        drawn = random.multinomial(5, random.dirichlet(3 * (0.1 + 0.6 * np.eye(4)[z])))
        named = np.flatnonzero(drawn) if i % 50 else []
        best = sorted(named, key=lambda c: (-drawn[c], c))
        row = {"image_id": f"i{i:03d}", "clicks": 5 if len(named) else 0}
        rows.append({**row, "categories": [CATEGORIES[c] for c in best], "shares": [drawn[c] / 5 for c in best]})
    write_labels(rows, tmp_path / "labels")
    permuted = random.permutation(300)
    write_labels([{**rows[j], "image_id": f"i{i:03d}"} for i, j in enumerate(permuted)], tmp_path / "shuffled")
    (tmp_path / "features").mkdir()
    of_images = [{"image_id": f"i{i:03d}", "domain": "source", "feature": list(f)} for i, f in enumerate(features)]
    pq.write_table(pa.Table.from_pylist(of_images, schemas.EMBEDDED), tmp_path / "features/part-00000.parquet")
    (tmp_path / "truth.json").write_text(json.dumps([CATEGORIES[z] for z in truth]))
    for method in ("reliability", "table"):
        (tmp_path / f"{method}.yaml").write_text(PARAMS.replace("METHOD", method))
    return tmp_path


def run(data: Path, labels: str, output: str, params: str = "reliability", given: str | None = None) -> dict:
    beside = ["--given", str(data / given)] if given else []
    main(["--labels", str(data / labels), "--features", str(data / "features"), "--output", str(data / output),
          "--params", str(data / f"{params}.yaml"), *beside])  # fmt: skip
    return json.loads((data / output / "summary.json").read_text())


def test_labels_get_better_and_the_stated_accuracy_is_right(data: Path) -> None:
    summary = run(data, "labels", "denoised")
    images = pq.read_table(data / "denoised/images.parquet").to_pylist()
    truth = json.loads((data / "truth.json").read_text())
    kept = [row["category"] == z for row, z in zip(images, truth, strict=True) if row["kept"]]
    names = [row["name"] == z for row, z in zip(images, truth, strict=True) if row["name"]]
    assert summary["kept"] == len(kept)
    assert summary["several_clicks"] == summary["named"] == 294
    assert np.mean(kept) > np.mean(names) + 0.1
    assert summary["expected_right"]["kept"] == pytest.approx(np.mean(kept), abs=0.03)
    assert summary["expected_right"]["names"] == pytest.approx(np.mean(names), abs=0.04)
    for row in images:
        assert not row["kept"] or (row["name"] and row["right"] >= 0.5)
        assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
        assert row["categories"][0] == row["category"]
        assert min(row["probabilities"]) >= 0.05
    categories = pq.read_table(data / "denoised/categories.parquet").to_pylist()
    assert [row["category"] for row in categories] == list(CATEGORIES)
    assert sum(row["images_kept"] for row in categories) == len(kept)
    mean = sum(row["right"] * row["images_kept"] for row in categories) / len(kept)
    assert mean == pytest.approx(summary["expected_right"]["kept"])


def test_the_same_call_writes_the_same_bytes(data: Path) -> None:
    for output in ("one", "other"):
        run(data, "labels", output)
    for name in ("images.parquet", "categories.parquet", "summary.json"):
        assert (data / "one" / name).read_bytes() == (data / "other" / name).read_bytes()


@pytest.mark.parametrize("method", ["reliability", "table"])
def test_a_shuffled_log_is_refused_and_writes_nothing(
    data: Path, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(data, "shuffled", "denoised", method)
    assert ended.value.code == 2
    assert "the labels say nothing of the images" in caplog.text
    assert not (data / "denoised").exists()


def test_the_papers_filter_keeps_the_name_and_states_no_accuracy(data: Path) -> None:
    summary = run(data, "labels", "denoised", "table")
    images = pq.read_table(data / "denoised/images.parquet").to_pylist()
    assert all(row["category"] == row["name"] for row in images)
    assert all(row["right"] >= np.float32(0.3) for row in images if row["kept"])
    assert 0 < summary["kept"] < summary["named"]
    assert summary["expected_right"] == {"names": None, "labels": None, "kept": None}


def test_given_labels_and_clicks_together_are_better_than_either(data: Path) -> None:
    truth = json.loads((data / "truth.json").read_text())
    random = np.random.default_rng(11)
    given = [z if random.random() < 0.75 else CATEGORIES[random.integers(4)] for z in truth]
    (data / "given").mkdir()
    rows = {"image_id": [f"i{i:03d}" for i in range(300)], "category": given}
    pq.write_table(pa.table(rows), data / "given/part-00000.parquet")
    summaries = {name: run(data, labels, name, given=beside) for name, labels, beside in (
        ("of clicks", "labels", None), ("of given", "given", None), ("together", "labels", "given"))}  # fmt: skip
    right = {
        name: sum(row["kept"] and row["category"] == z for row, z in zip(
            pq.read_table(data / name / "images.parquet").to_pylist(), truth, strict=True))
        for name in summaries
    }  # fmt: skip
    assert right["together"] > max(right["of clicks"], right["of given"])
    images = pq.read_table(data / "together/images.parquet").to_pylist()
    assert [row["name"] for row in images] == given  # i000 has no clicks, but a label
    assert summaries["together"]["named"] == 300
    model = summaries["together"]["model"]["given"]
    assert model["name_right"] == pytest.approx(0.8, abs=0.08)
    assert model["repeated"] < 0.2
    assert summaries["of clicks"]["model"]["given"] is None


def test_the_papers_filter_judges_one_kind_of_labels(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run(data, "labels", "denoised", "table", given="labels")
    assert "method: table judges one kind of labels" in caplog.text

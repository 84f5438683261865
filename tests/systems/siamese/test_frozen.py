"""Heads on frozen features: what they train on, what they are tested on, and what is written."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from graph import ROOT, SAFE
from siamese_data import SOURCE, TARGET, named, table, write_data_set

from base import schemas
from base.artifacts import shard_name, write_table
from model.heads import HeadParams
from model.measures.units import check_reduces
from systems.siamese.frozen import evaluate_run, main, read_components
from systems.siamese.recipes import main as write_recipes

RUNS = ["given_frozen", "clicks_frozen", "clicks_frozen_targets=1"]
EVERY = named("source", SOURCE) + named("target", TARGET)
PARAMS = HeadParams(
    components=6, hidden=16, dropout=0.1, epochs=60, batch_size=100, learning_rate=0.01, weight_decay=0.01, threads=1
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_data_set(tmp_path / "data", tmp_path / "labels")
    write_params(RUNS)
    write_features()
    write_recipes(["--data", "data", "--labels", "labels", "--output", "recipes"])
    return tmp_path


def write_params(frozen: list[str]) -> None:
    params = SAFE.load(ROOT / "params.yaml")
    params["siamese"]["plan"] |= {"denoised": [], "runs": [], "frozen": frozen, "truth": None}
    params["siamese"]["frozen"] = PARAMS.model_dump()
    params["seeds"] = [3]
    Path("params.yaml").write_text(json.dumps(params))


def write_features(without: str | None = None) -> None:
    """Write features of 8 dimensions that show the category."""
    random = np.random.default_rng(2)
    categories, centres = sorted(SOURCE), random.normal(0, 3, (3, 8))
    rows = [
        (name, domain, (centres[categories.index(category)] + random.normal(0, 0.5, 8)).tolist())
        for name, domain, category in EVERY
    ]
    rows = [row for row in rows if row[0] != without]
    write_table(table(rows, schemas.EMBEDDED), Path("features") / shard_name(0))


def run() -> None:
    main(["--features", "features", "--recipes", "recipes", "--output", "frozen"])


def rows_of(name: str, images: pl.DataFrame) -> pl.DataFrame:
    rows = pl.read_parquet(f"recipes/{name}/seed-3.parquet").filter(pl.col("split") != "left out")
    return rows.join(images, on=["domain", "image_id"])


def test_every_run_is_measured_on_the_targets_test_images(root: Path) -> None:
    run()
    test = pl.read_parquet("data/splits/seed-3.parquet").filter(domain="target", split="test")
    for name in RUNS:
        folder = Path("frozen") / name / "seed-3"
        metrics, units = json.loads((folder / "metrics.json").read_text()), pl.read_parquet(folder / "units.parquet")
        check_reduces(metrics, units, scale=100, tolerance=1e-3)
        assert metrics["accuracy_frozen"] == 100
        assert set(units.filter(metric="accuracy_frozen")["unit"]) == set(test["image_id"])
        assert metrics["images"]["tested"] == len(test)
        assert metrics["images"].get("target train", 0) == (3 if "targets" in name else 0)
    assert json.loads((folder / "metrics.json").read_text())["images"]["source train"] == 22  # one cat has no name
    assert json.loads(Path("frozen/summary.json").read_text()) == dict.fromkeys(RUNS, 100.0)


def test_a_test_image_changes_nothing_but_its_own_result(root: Path) -> None:
    images, x = read_components(Path("features"), PARAMS.components)
    rows = rows_of("given_frozen", images)
    first = rows.filter(domain="target", split="test")["image_id"][0]
    shards = pl.read_parquet("features")
    moved = pl.when(image_id=first).then(pl.lit([-50.0] * 8, pl.List(pl.Float32))).otherwise("feature")
    write_table(shards.with_columns(feature=moved).to_arrow().cast(schemas.EMBEDDED), Path("moved") / shard_name(0))
    _, other = read_components(Path("moved"), PARAMS.components)
    changed = np.flatnonzero((x != other).any(axis=1))
    assert images.filter(pl.col("place").is_in(changed))["image_id"].to_list() == [first]
    of_others = [
        evaluate_run(rows, points, 0, PARAMS)[1].filter(pl.col("unit") != first, metric="accuracy_frozen")
        for points in (x, other)
    ]
    assert of_others[0].equals(of_others[1])


def test_wrong_labels_of_the_source_are_learned_and_the_seed_is_the_heads(root: Path) -> None:
    images, x = read_components(Path("features"), PARAMS.components)
    rows = rows_of("given_frozen", images)
    swapped = pl.col("category").replace({"ant": "bee", "bee": "ant"})
    wrong = rows.with_columns(category=pl.when(domain="source").then(swapped).otherwise("category"))
    metrics, _ = evaluate_run(wrong, x, 0, PARAMS)
    share = rows.filter(domain="target", split="test", category="cat").height / metrics["images"]["tested"]
    assert metrics["accuracy_frozen"] == pytest.approx(100 * share, abs=1e-3)
    assert metrics["nearest_mean_frozen"] == pytest.approx(100 * share, abs=1e-3)
    lacking = rows.filter((pl.col("domain") == "target") | (pl.col("category") != "cat"))
    assert evaluate_run(lacking, x, 0, PARAMS)[0]["images"]["of categories that the source lacks"] == 1


def test_without_runs_the_folder_exists(root: Path) -> None:
    write_params([])
    run()
    assert json.loads(Path("frozen/summary.json").read_text()) == {}


def test_an_image_without_features_is_named(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_features(without="s-bee-3")
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    assert "image 's-bee-3' of run given_frozen has no features" in caplog.text
    assert not Path("frozen").exists()

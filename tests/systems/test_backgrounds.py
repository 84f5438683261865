"""A new system runs by its own dvc.yaml, without a change to any other file."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from graph import ROOT, SAFE, write_graph
from PIL import Image
from ruamel.yaml import YAML

from base import schemas
from base.artifacts import shard_name, write_table

SYSTEM = Path(__file__).parent / "backgrounds"
SECTION = {
    "network": {"backbone": "plain", "weights": "none", "image_size": 16, "resize": 24},
    "train": {
        "epochs": 12, "batch_size": 8, "accumulation": 1, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.0,
        "schedule": {"kind": "one-cycle", "warm_up": 0.3}, "mixed_precision": "no", "compile": False,
        "channels_last": False, "workers": 0, "threads": 1, "cache_images": True,
    },
}  # fmt: skip


def write_pictures(folder: Path) -> None:
    """Write pictures with a grey middle that is lighter the redder the border is, so the middle predicts the border."""
    rng = np.random.default_rng(2)
    images, splits = [], []
    for number in range(60):
        red = int(rng.integers(40, 216))
        pixels = np.full((24, 24, 3), (red, 60, 90), np.uint8)
        pixels[4:20, 4:20] = red
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        name = f"picture-{number:02d}"
        images.append((name, "target", "any", 24, 24, {"bytes": encoded.getvalue(), "path": f"{name}.png"}))
        splits.append((name, "target", "any", True, ("train", "train", "validation", "test")[number % 4]))
    for rows, schema, path in (
        (images, schemas.IMAGES, folder / "ingested/images" / shard_name(0)),
        (splits, schemas.SPLITS, folder / "splits/seed-0.parquet"),
    ):
        columns = [pa.array([row[column] for row in rows], field.type) for column, field in enumerate(schema)]
        write_table(pa.Table.from_arrays(columns, schema=schema), path)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("base", "pipelines", "model", "report", "systems"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    write_graph(tmp_path, ROOT / "params.yaml")
    write_pictures(tmp_path / "data/sets/toy")
    return tmp_path


def repro(project: Path, stage: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(project), "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", stage]
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def digests(project: Path) -> dict[str, str]:
    repro(project, "code")
    return {path.name: path.read_text() for path in (project / "data/code").iterdir()}


@pytest.mark.slow
def test_a_new_system_runs_through_its_own_graph_and_makes_nothing_else_stale(project: Path) -> None:
    before = digests(project)
    code = shutil.ignore_patterns("__pycache__", "dvc.yaml")
    shutil.copytree(SYSTEM, project / "systems/backgrounds", ignore=code)
    (project / "stages/backgrounds").mkdir()
    shutil.copy(SYSTEM / "dvc.yaml", project / "stages/backgrounds")
    params = SAFE.load(project / "params.yaml")
    YAML().dump({**params, "backgrounds": SECTION}, project / "params.yaml")
    after = digests(project)
    assert {name: after[name] for name in before} == before  # no stage of another system becomes stale
    added = {f"systems.backgrounds.{name}.json" for name in ("train", "evaluate", "report")}
    assert set(after) - set(before) == added
    for stage in ("train", "evaluate", "report"):
        repro(project, f"stages/backgrounds/dvc.yaml:{stage}")
    folder = project / "data/backgrounds"
    error = json.loads((folder / "evaluation/metrics.json").read_text())["squared_error"]
    units = pl.read_parquet(folder / "evaluation/units.parquet")
    assert error == pytest.approx(units["numerator"].sum() / 15)
    assert error < 0.02  # the variance of the red is 0.04
    run = json.loads((folder / "model/run.json").read_text())
    assert run["chosen"][0]["chosen_on"] == "validation error"
    part = json.loads((folder / "report/part.json").read_text())
    assert f"mean squared error {error:.4f}" in part["html"]
    assert part["sections"] == [["backgrounds_error", "Squared error"]]


def test_it_is_short() -> None:
    lines = [line for path in SYSTEM.glob("*.py") for line in path.read_text().splitlines()]
    code = [line for line in lines if line.strip() and not line.strip().startswith(("#", "from ", "import ", '"""'))]
    assert len(code) <= 120

"""Real trainings on a tiny data set, in a flow whose server and process are killed in mid-training."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from dvc_projects import DVC, ROOT, new_project
from family import commands
from served import until

from base.artifacts import write_json
from systems.mtmdd.recipes import build_recipe

EPOCHS = 16  # they take seconds after the imports
GRAPH = """\
stages:
  train:
    matrix: {seed: [0, 1]}
    meta: {device: gpu}
    cmd: >-
      python -m systems.mtmdd.train --recipe recipe.json --seed ${item.seed} --images images --split seed-0.parquet
      --features features --output models/${item.seed}
    deps: [recipe.json, images, seed-0.parquet, features]
    outs: ["models/${item.seed}"]
  evaluate:  # the training that is killed
    cmd: >-
      python -m systems.mtmdd.evaluate --model models/1 --images images --split seed-0.parquet
      --features features --params params.yaml --output evaluations/1
    deps: [models/1, images, seed-0.parquet, features]
    outs: [evaluations/1]
"""


def tiny() -> ModuleType:
    """Import tests/conftest.py, which writes the tiny data set and has its parameters."""
    spec = importlib.util.spec_from_file_location("tiny", ROOT / "tests" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny"] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def value(fixture: Any) -> Any:
    """Return the value of a fixture that has no arguments."""
    return fixture._get_wrapped_function()()


def write_workspace(root: Path) -> Path:
    root.mkdir()
    new_project(root)
    made = tiny()
    made.write_tiny_data(root, ("ant", "bee", "cat"), ("ant", "bee", "cat"))
    options = value(made.train_params).model_copy(update={"epochs": EPOCHS})
    recipe = build_recipe("VGGimg", value(made.network_params), value(made.objective_params), options)
    write_json(recipe.model_dump(mode="json", exclude_none=True), root / "recipe.json")
    (root / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (root / "dvc.yaml").write_text(GRAPH)
    return root


class Flow:
    """A process of the flow, which logs to a file."""

    def __init__(self, root: Path, number: int) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.root, self._log = root, root / f"flow-{number}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.reproduce", "--cpu-slots", "1"],
                cwd=root,
                env={**own, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def stage_output(self) -> str:
        """Return what the flow's log file has of the stages, in which it names it."""
        return (self.root / self.output.partition("log: ")[2].partition("\n")[0]).read_text()

    def wait_for(self, what: Callable[[], Any]) -> Any:
        """Wait until a function returns a true value while the flow runs, and return the value."""
        until(lambda: self.process.poll() is not None or what(), 600, 0.05)
        assert self.process.poll() is None, self.output
        return what()

    def epochs(self, seed: int) -> list[Path]:
        """Return the whole checkpoints of a training that is running; one that is being written has a hidden name."""
        return list((self.root / ".state" / "checkpoints").glob(f"{seed}-*/[!.]*-epoch-*"))

    def servers(self) -> list[psutil.Process]:
        return [
            process
            for process, command in commands(self.process.pid)
            if "flows.server.locked_server" in command and "-I" not in command  # the server's guard has -I
        ]


def results(root: Path) -> dict[str, bytes]:
    files = [path for name in ("models", "evaluations") for path in (root / name).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def inodes(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_killed_server_and_a_killed_flow_cost_no_finished_training(tmp_path: Path) -> None:
    root, twin = write_workspace(tmp_path / "project"), write_workspace(tmp_path / "twin")
    undisturbed = subprocess.Popen([*DVC, "repro", "--quiet"], cwd=twin, env={**os.environ, "PYTHONPATH": str(ROOT)})
    flow = Flow(root, 1)
    flow.wait_for(lambda: flow.epochs(0))
    servers = flow.servers()
    assert servers
    for server in servers:
        server.kill()
    assert not (root / "models" / "0").exists()
    flow.wait_for(lambda: flow.epochs(1))
    done = inodes(root / "models" / "0")
    assert done
    assert "continues after epoch" not in flow.stage_output  # the kill of the server did not disturb the first training
    lock = json.loads((root / ".state" / "flow.lock").read_text())
    os.kill(int(lock["pid"]), signal.SIGKILL)
    flow.process.wait()
    assert not (root / "models" / "1").exists()
    again = Flow(root, 2)
    assert again.process.wait(timeout=600) == 0, again.output
    assert "continues after epoch" in again.stage_output
    assert "3 stages: 2 ran, 1 were up to date" in again.output
    assert inodes(root / "models" / "0") == done
    assert undisturbed.wait(timeout=600) == 0
    assert len(results(root)) > 8
    assert results(root) == results(twin)

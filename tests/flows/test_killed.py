"""kill -9 of the flow, of `make ui` and of the server, in mid-training: finished stages do not run again."""

import json
import os
import signal
import socket
import subprocess
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest
from dvc_projects import DVC, is_alive
from served import Served, free_port, serve, until, write_project

from flows.gpus import limit_of

TRAININGS = ["round-3", "round-4", "flat-3", "flat-4"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_project(tmp_path / "project")
    # No schedule: on a busy machine scheduled runs would delay the test's runs.
    (root / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    return root


def hang_in_training(served: Served) -> tuple[str, int]:
    """Start a run that finishes one training and hangs in the next; return the run's id and the training's process."""
    done = served.final_state(served.start("reproduce/workspace", targets=["train_shapes@round-3-7"]))
    assert done["name"] == "Completed", done["message"]
    (served.root / "hang").touch()
    run = served.start("reproduce/workspace", cpu_slots=1)
    return run, int(until(lambda: (served.root / "pid").exists() and (served.root / "pid").read_text()))


def finish(served: Served) -> str:
    """Run everything and return the message of the flow's state."""
    (served.root / "hang").unlink(missing_ok=True)
    state = served.final_state(served.start("reproduce/workspace", cpu_slots=1))
    assert state["name"] == "Completed", state["message"]
    return str(state["message"])


def check(root: Path, tmp_path: Path, num_starts: int) -> None:
    """Check that all trainings were started, `num_starts` times in all, and that results equal an undisturbed run's."""
    starts = Counter((root / "trained").read_text().split())
    assert set(starts) == set(TRAININGS)
    assert starts.total() == num_starts
    assert starts["round-3"] == 1
    twin = write_project(tmp_path / "twin")
    subprocess.run([*DVC, "repro", "--quiet"], cwd=twin, check=True)

    def results(folder: Path) -> dict[str, bytes]:
        files = [path for name in ("models", "data") for path in (folder / name).rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    assert results(root) == results(twin)


@pytest.mark.slow
def test_a_killed_flow(root: Path, tmp_path: Path) -> None:
    with serve(root) as served:
        run, training = hang_in_training(served)
        os.kill(int(json.loads((root / ".state/flow.lock").read_text())["pid"]), signal.SIGKILL)
        until(lambda: not is_alive(training), 30)
        assert served.final_state(run)["name"] == "Crashed"
        assert finish(served) == "10 stages: 8 ran, 2 were up to date"
    check(root, tmp_path, num_starts=5)


@pytest.mark.slow
def test_what_serves_is_killed_and_served_again(root: Path, tmp_path: Path) -> None:
    port = free_port()
    with serve(root, port) as served:
        run, training = hang_in_training(served)
        flow = int(json.loads((root / ".state/flow.lock").read_text())["pid"])
        served.process.kill()
        served.process.wait()
        until(lambda: not answers(served), 30)  # the server ends with it
        os.kill(flow, signal.SIGKILL)  # as if the machine failed
        until(lambda: not is_alive(training), 30)
    with serve(root, port) as served:
        assert served.final_state(run)["name"] == "Crashed"
        assert served.deployment("reproduce/workspace")["paused"] is False
        assert finish(served) == "10 stages: 8 ran, 2 were up to date"
    check(root, tmp_path, num_starts=5)


@pytest.mark.slow
def test_what_serves_is_killed_and_the_run_goes_on(root: Path, tmp_path: Path) -> None:
    port = free_port()
    with serve(root, port) as served:
        hang_in_training(served)
        flow = int(json.loads((root / ".state/flow.lock").read_text())["pid"])
        served.process.kill()
        served.process.wait()
        (root / "hang").unlink()  # from here on nobody reads the run's output
        until(lambda: not (root / ".state/flow.lock").read_text())
        os.kill(flow, signal.SIGKILL)  # it would try for two minutes to report its end
    check(root, tmp_path, num_starts=4)
    with serve(root, port) as served:
        assert finish(served) == "10 stages: 0 ran, 10 were up to date"


def answers(served: Served) -> bool:
    try:
        return httpx.get(f"{served.address}/api/health", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_a_killed_server_comes_back_and_the_run_goes_on(root: Path, tmp_path: Path) -> None:
    with serve(root, CUDA_VISIBLE_DEVICES="0") as served:
        run, _ = hang_in_training(served)
        limit = f"v2/concurrency_limits/{limit_of('0')}"
        assert served.get(limit)["active_slots"] == 1
        servers = [
            process
            for process in psutil.Process(served.process.pid).children(recursive=True)
            if "flows.server.locked_server" in process.cmdline() and "guard.py" not in " ".join(process.cmdline())
        ]
        assert servers
        for process in servers:
            process.kill()
        psutil.wait_procs(servers)
        with pytest.raises(
            OSError, match="Address already in use"
        ):  # otherwise its new owner would receive the password
            socket.create_server(("127.0.0.1", int(served.address.rpartition(":")[2])))
        (root / "hang").unlink()
        until(lambda: answers(served))
        state = served.final_state(run)
        assert state["name"] == "Completed", state["message"]
        assert state["message"] == "10 stages: 8 ran, 2 were up to date"
        assert len(json.loads(served.artifact("stages"))) == 10
        assert served.get(limit)["active_slots"] == 0  # the restarted server still knew who had the GPU
    check(root, tmp_path, num_starts=4)

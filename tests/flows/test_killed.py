"""kill -9 of the flow, of `make ui` and of the server, in mid-training: finished stages do not run again."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
from dvc_projects import DVC, is_alive
from family import commands
from served import Served, free_port, serve, until, write_project

from flows.gpus import limit_of

TRAININGS = {"round-3", "round-4", "flat-3", "flat-4"}


class Serving:
    """A project, and what serves it; if that was killed, it is started again on the same port."""

    def __init__(self, root: Path) -> None:
        self.root, self._port = root, free_port()
        self._served: Served | None = None

    def served(self) -> Served:
        """Return the process that serves the project, and a client of its server."""
        if self._served is None or self._served.process.poll() is not None:
            self._served = Served(self.root, self._port)
        return self._served

    def end(self) -> None:
        if self._served is not None and self._served.process.poll() is None:
            self._served.end()


def new_root(folder: Path) -> Path:
    root = write_project(folder)
    # No schedule: on a busy machine scheduled runs would delay the test's runs.
    (root / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    return root


@pytest.fixture(scope="module")
def project_of_this_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(new_root(tmp_path_factory.mktemp("killed") / "project"))
    yield serving
    serving.end()


@pytest.fixture
def serving(project_of_this_file: Serving) -> Serving:
    """Return the project without anything that earlier tests' stages have made."""
    root = project_of_this_file.root
    for folder in ("models", "data", ".dvc/cache"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for file in ("dvc.lock", "drawn.txt", "trained", "pid", "hang"):
        (root / file).unlink(missing_ok=True)
    return project_of_this_file


def results(folder: Path) -> dict[str, bytes]:
    files = [path for name in ("models", "data") for path in (folder / name).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the results of `dvc repro`."""
    twin = write_project(tmp_path_factory.mktemp("killed") / "twin")
    subprocess.run([*DVC, "repro", "--quiet"], cwd=twin, check=True)
    return results(twin)


@dataclass(frozen=True)
class Hanging:
    """A flow run that hangs in a training.

    Attributes:
        run: the run's id on the server.
        flow: its process.
        training: the process of the training.
        finished: the trainings that the run finished before.
    """

    run: str
    flow: int
    training: int
    finished: list[str]


def hang_in_training(served: Served, finished: int = 1, targets: Sequence[str] = ()) -> Hanging:
    """Start a run that finishes some trainings and hangs in the next."""
    root = served.root
    (root / "hang").write_text(str(finished))
    run = served.start("reproduce/workspace", cpu_slots=1, targets=targets)
    training = int(until(lambda: (root / "pid").exists() and (root / "pid").read_text()))
    flow = int(json.loads((root / ".state/flow.lock").read_text())["pid"])
    names = (root / "trained").read_text().split()
    assert len(names) == finished + 1
    return Hanging(run, flow, training, names[:-1])


def finish(served: Served) -> str:
    """Run everything and return the message of the flow's state."""
    (served.root / "hang").unlink(missing_ok=True)
    state = served.final_state(served.start("reproduce/workspace", cpu_slots=1))
    assert state["name"] == "Completed", state["message"]
    return str(state["message"])


def check(root: Path, undisturbed: Mapping[str, bytes], before: Hanging, num_starts: int) -> None:
    """Check that all trainings ran, those that were finished only once, and that results equal an undisturbed run's.

    Args:
        root: the project.
        undisturbed: the results of an undisturbed run.
        before: the run that hung.
        num_starts: of all trainings together.
    """
    starts = Counter((root / "trained").read_text().split())
    assert set(starts) == TRAININGS
    assert starts.total() == num_starts
    assert [starts[name] for name in before.finished] == [1] * len(before.finished)
    assert results(root) == undisturbed


@pytest.mark.slow
def test_a_killed_flow(serving: Serving, undisturbed: dict[str, bytes]) -> None:
    served = serving.served()
    before = hang_in_training(served)
    os.kill(before.flow, signal.SIGKILL)
    until(lambda: not is_alive(before.training))
    assert served.final_state(before.run)["name"] == "Crashed"
    assert finish(served) == "10 stages: 8 ran, 2 were up to date"
    check(serving.root, undisturbed, before, num_starts=5)


@pytest.mark.slow
def test_what_serves_is_killed_and_the_run_goes_on(serving: Serving, undisturbed: dict[str, bytes]) -> None:
    served = serving.served()
    before = hang_in_training(served, finished=2, targets=["train_shapes"])
    served.process.kill()
    served.process.wait()
    (serving.root / "hang").unlink()  # from here on nobody reads the run's output
    until(lambda: not (serving.root / ".state/flow.lock").read_text())
    os.kill(before.flow, signal.SIGKILL)  # it would try for two minutes to report its end
    assert len(list((serving.root / "models").iterdir())) == len(TRAININGS)
    assert finish(serving.served()) == "10 stages: 5 ran, 5 were up to date"
    check(serving.root, undisturbed, before, num_starts=4)


@pytest.mark.slow
def test_what_serves_is_killed_and_served_again(serving: Serving, undisturbed: dict[str, bytes]) -> None:
    served = serving.served()
    before = hang_in_training(served)
    served.process.kill()
    served.process.wait()
    until(lambda: not answers(served))  # the server ends with it
    os.kill(before.flow, signal.SIGKILL)  # as if the machine failed
    until(lambda: not is_alive(before.training))
    served = serving.served()
    assert served.final_state(before.run)["name"] == "Crashed"
    assert served.deployment("reproduce/workspace")["paused"] is False
    assert finish(served) == "10 stages: 8 ran, 2 were up to date"
    check(serving.root, undisturbed, before, num_starts=5)


def answers(served: Served) -> bool:
    try:
        return httpx.get(f"{served.address}/api/health", timeout=5).is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_a_killed_server_comes_back_and_the_run_goes_on(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    root = new_root(tmp_path / "project")
    with serve(root, CUDA_VISIBLE_DEVICES="0") as served:
        before = hang_in_training(served)
        limit = f"v2/concurrency_limits/{limit_of('0')}"
        assert served.get(limit)["active_slots"] == 1
        servers = [
            process
            for process, command in commands(served.process.pid)
            if "flows.server.locked_server" in command and "guard.py" not in " ".join(command)
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
        state = served.final_state(before.run)
        assert state["name"] == "Completed", state["message"]
        assert state["message"] == "10 stages: 10 ran, 0 were up to date"
        assert len(json.loads(served.artifact("stages"))) == 10
        assert served.get(limit)["active_slots"] == 0  # the restarted server still knew who had the GPU
    check(root, undisturbed, before, num_starts=4)

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from base.console import UserError
from pipelines.beam.flink.supervisor import Place

ROOT = Path(__file__).parents[4]
# `parent` starts a child in its process group, as a TaskManager starts workers; `deaf` ignores SIGTERM.
SUPERVISE = """
import sys
from pathlib import Path
from pipelines.beam.flink import supervisor
from pipelines.beam.flink.settings import Program
folder = Path(sys.argv[1])
supervisor.STOP_S = 1
place = supervisor.Place(folder)
programs = [
    Program("parent", ("sh", "-c", "sleep 1000 & exec sleep 1000"), folder / "scratch"),
    Program("deaf", ("sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")),
]
with place.held():
    place.logs.mkdir(exist_ok=True)
    supervisor.supervise(place, programs, {"rest": "http://there"})
"""


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISE, str(tmp_path)], cwd=ROOT)
    yield process
    process.kill()
    process.wait()


def pids(place: Place, starts: int = 1) -> dict[str, int]:
    """Wait until `parent` has been started so often and both programs run; return their process ids."""

    def ready() -> dict[str, int]:
        programs = (place.running() or {}).get("programs", {"parent": {"pid": None, "starts": 0}})
        is_ready = programs["parent"]["starts"] >= starts and all(one["pid"] for one in programs.values())
        return {name: one["pid"] for name, one in programs.items()} if is_ready else {}

    return until(ready)


def tree(pid: int, size: int) -> list[psutil.Process]:
    """Wait until a process has so many descendants; return all of them."""
    process = psutil.Process(pid)
    return until(lambda: len(found := [process, *process.children(recursive=True)]) >= size and found)


def test_a_killed_program_takes_its_group_along_and_starts_again(tmp_path: Path, supervisor: subprocess.Popen) -> None:
    place = Place(tmp_path)
    first = pids(place)
    killed = tree(first["parent"], 2)
    (tmp_path / "scratch/left").touch()
    os.kill(first["parent"], signal.SIGKILL)
    second = pids(place, starts=2)
    assert second["parent"] != first["parent"]
    assert second["deaf"] == first["deaf"]
    assert [process for process in killed if process.is_running()] == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_sigterm_stops_everything_even_what_ignores_it(tmp_path: Path, supervisor: subprocess.Popen) -> None:
    place = Place(tmp_path)
    processes = [process for pid in pids(place).values() for process in tree(pid, 2)]
    supervisor.terminate()
    assert supervisor.wait(20) == 0
    assert [process for process in processes if process.is_running() and process.name() != "sleep"] == []
    until(lambda: not any(process.is_running() for process in processes))  # a shell's last sleep ends by itself
    assert place.running() is None
    assert not place.state.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's signal to children is Linux's")
def test_programs_end_with_a_killed_supervisor(tmp_path: Path, supervisor: subprocess.Popen) -> None:
    processes = [psutil.Process(pid) for pid in pids(Place(tmp_path)).values()]
    supervisor.kill()
    supervisor.wait()
    psutil.wait_procs(processes, timeout=10)
    assert [process for process in processes if process.is_running()] == []
    assert Place(tmp_path).running() is None


def test_only_one_supervisor_holds_a_place_and_its_state_counts_only_then(tmp_path: Path) -> None:
    place = Place(tmp_path / "new")
    assert place.running() is None
    with place.held():
        assert place.running() == {}
        place.state.write_text(json.dumps({"pid": 7}))
        assert place.running() == {"pid": 7}
        with pytest.raises(UserError, match="a cluster runs here already; `make cluster-down` stops it"), place.held():
            pass
    assert place.running() is None  # a file that a killed supervisor has left says nothing

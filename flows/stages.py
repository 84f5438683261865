"""The DVC side of the flows: the graph of stages, what is up to date, and running one stage as a process.

DVC alone decides what is stale; a stage is run as ``dvc repro --single-item STAGE`` in its own process group, so that
it can be ended with everything it has started. The cheap questions (which stages, is this one stale) are asked through
DVC's Python API in this process: 0.05 s each instead of the 1.3 s of a new ``dvc`` process.
"""

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import networkx as nx
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo

from pipelines.console import UserError

log = logging.getLogger("clicksight")
Result = TypeVar("Result")

TAIL_LINES = 40
LOCK_PAUSES_S = (1, 2, 4, 8, 15, 30, 30, 30)  # two minutes in all
# How DVC words its two lock errors (the repository's, and a path's that another process reads or writes), and a
# stage's own failure. It is the last error line that counts: the stage may have printed anything before.
LOCKED = re.compile(r"^ERROR: .*(Unable to acquire lock|is busy, it is being blocked by)")
EXITED = re.compile(r"^ERROR: .*exited with (-?\d+)$")


@dataclass(frozen=True)
class Stage:
    """A node of DVC's graph.

    Attributes:
        name: as ``dvc stage list`` shows it, as in ``train@TDL-0``.
        upstream: names of the stages it takes files from.
        on_gpu: dvc.yaml gives it ``meta: {device: gpu}``: it uses a GPU where there is one.
    """

    name: str
    upstream: frozenset[str]
    on_gpu: bool


class StageFailed(RuntimeError):
    """A stage's process ended with an error; says which stage, its exit code and its last lines."""

    def __init__(self, stage: str, exit_code: int, tail: Iterable[str]) -> None:
        self.stage, self.exit_code, self.tail = stage, exit_code, list(tail)
        super().__init__(f"stage {stage} failed with exit code {exit_code}; its last lines:\n" + "\n".join(self.tail))


class Stopped(RuntimeError):
    """The workspace has been stopped: no stage is started any more."""


class Workspace:
    """A DVC project on disk, and the stage processes that this process runs in it.

    Args:
        root: the folder with dvc.yaml.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._dvc = threading.Lock()  # DVC's own lock is per process
        self._running: set[subprocess.Popen[str]] = set()
        self._processes = threading.Lock()
        self._stopped = threading.Event()

    def stages(self, targets: Iterable[str] = ()) -> dict[str, Stage]:
        """Return the stages that the targets need, in an order in which they could run.

        Args:
            targets: stage names (``train`` means all of its matrix) or paths of outputs; none means all stages.

        Raises:
            UserError: dvc.yaml or params.yaml is broken, there is no such stage or output, or DVC's lock stays taken.
        """
        try:
            return self._ask(lambda repo: _collect(repo, list(targets)))
        except DvcException as error:
            raise UserError(f"{self.root / 'dvc.yaml'}: {error} (`dvc stage list` shows where)") from error

    def is_up_to_date(self, name: str) -> bool:
        """Whether a stage's outputs stand and belong to its present dependencies, parameters and command.

        True is final only when the stages upstream have run.
        """
        return not self._ask(lambda repo: repo.status([name]))

    def stale(self) -> set[str]:
        """Return the stages that are not up to date now; those after them may turn out to be stale too."""
        return set(self._ask(lambda repo: repo.status()))

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Return what the metric files hold, by path; files that are not there yet are left out."""
        shown = self._ask(lambda repo: repo.metrics.show())
        files = shown.get("", {}).get("data", {})
        return {path: entry["data"] for path, entry in sorted(files.items()) if "data" in entry}

    def run(self, name: str, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Run one stage to its end, unless it is up to date.

        Args:
            name: the stage.
            environment: set for its processes, on top of this process's environment.
            say: is called with each line of its output as it comes.

        Raises:
            StageFailed: its command failed; or DVC's locks were held by others for more than two minutes.
            Stopped: the workspace was stopped before or while it ran.
        """
        for pause in (*LOCK_PAUSES_S, None):
            lines: deque[str] = deque(maxlen=TAIL_LINES)
            exit_code = self._run_once(name, environment, say, lines)
            if exit_code == 0:
                return
            if self._stopped.is_set():
                raise Stopped(f"stage {name} was stopped")
            verdict = next((line for line in reversed(lines) if line.startswith("ERROR: ")), "")  # DVC's, it comes last
            exited = EXITED.match(verdict)
            if pause is None or exited or not LOCKED.match(verdict):
                raise StageFailed(name, int(exited[1]) if exited else exit_code, lines)
            say(f"DVC's lock is taken by another process, trying again in {pause} s")
            self._stopped.wait(pause)
        raise AssertionError("unreachable")

    def stop(self, grace_s: float = 2.5) -> None:
        """End every running stage with its whole process tree, and start none any more.

        First as Ctrl-C in a terminal would, which lets DVC finish its bookkeeping; what still lives ``grace_s`` later
        is asked to terminate, then killed.
        """
        self._stopped.set()
        with self._processes:
            running = list(self._running)
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            for process in running:
                _signal_group(process, how)
            deadline = time.monotonic() + grace_s
            while time.monotonic() < deadline and any(_group_lives(process) for process in running):
                time.sleep(0.05)
            if not any(_group_lives(process) for process in running):
                return

    def _run_once(
        self, name: str, environment: Mapping[str, str], say: Callable[[str], None], lines: deque[str]
    ) -> int:
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        with self._processes:
            if self._stopped.is_set():
                raise Stopped(f"stage {name} was not started")
            process = subprocess.Popen(
                command,
                cwd=self.root,
                env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,  # also ends lines at the carriage returns of progress bars
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,
            )
            self._running.add(process)
        sweeper = threading.Thread(target=_sweep, args=(process,), daemon=True)
        sweeper.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                line = line.rstrip()
                if line:
                    lines.append(line)
                    say(line)
        except BaseException:
            _signal_group(process, signal.SIGKILL)
            raise
        finally:
            sweeper.join()
            process.wait()
            with self._processes:
                self._running.discard(process)
        return process.returncode

    def _ask(self, question: Callable[[Repo], Result]) -> Result:
        """Put a question to a freshly opened repository: dvc.lock changes under us.

        Raises:
            UserError: DVC's lock was held by others for more than two minutes.
        """
        with self._dvc:
            for pause in (*LOCK_PAUSES_S, None):
                try:
                    with Repo(str(self.root)) as repo:
                        return question(repo)
                except LockError as error:
                    if pause is None:
                        raise UserError(
                            f"{self.root}: another dvc or flow is at work in this workspace and holds DVC's lock; "
                            "wait until it has ended, or stop it"
                        ) from error
                    log.warning("DVC's lock is taken by another process, trying again in %d s", pause)
                    self._stopped.wait(pause)
        raise AssertionError("unreachable")


def _collect(repo: Repo, targets: list[str]) -> dict[str, Stage]:
    graph = repo.index.graph  # an edge leads from a stage to one it depends on
    wanted = set(graph)
    if targets:
        chosen = {info.stage for target in targets for info in repo.stage.collect_granular(target)}
        wanted = chosen.union(*(nx.descendants(graph, stage) for stage in chosen))
    order = [stage for stage in nx.dfs_postorder_nodes(graph) if stage in wanted]
    return {
        stage.addressing: Stage(
            stage.addressing,
            frozenset(upstream.addressing for upstream in graph.successors(stage)),
            (stage.meta or {}).get("device") == "gpu",
        )
        for stage in order
    }


def _sweep(process: subprocess.Popen[str]) -> None:
    """Wait for a process's end and kill what it has left behind, which may hold its output open.

    The process is not reaped, so its id is still ours.
    """
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[str], how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, how)


def _group_lives(process: subprocess.Popen[str]) -> bool:
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True

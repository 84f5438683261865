"""The DVC side of the flows: the graph of stages, what is up to date, and running one stage as a process.

DVC alone decides what is stale; a stage is run as ``dvc repro --single-item STAGE`` (flows/dvc_command.py) under a
guard (flows/processes.py), which ends everything that the stage started. Queries (the stages, which are stale) use
DVC's Python API in this process: 0.05 s each instead of the 1.3 s of a new ``dvc`` process.
"""

import contextlib
import fcntl
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, TypeVar

import networkx as nx
from dvc.dvcfile import load_file
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.parsing import MatrixDefinition
from dvc.parsing.context import Value
from dvc.repo import Repo
from dvc.scm import Git, SCMError
from pygit2 import GitError

from base.console import STATE, UserError
from base.replacement import is_alive
from flows import records
from flows.graph import address_of, graph_files, name_of, system_of
from flows.preloaded import words_of
from flows.processes import Processes, Stopped
from flows.site_cache import open_repo

log = logging.getLogger("clicksight")
Result = TypeVar("Result")
for name in ("dvc.progress", "dvc_data.callbacks"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # no progress bars for the queries of this process

LOCK_PAUSES_S = (1, 2, 4, 8, 15, 30, 30, 30)  # two minutes altogether
LOCK_FILE = STATE / "flow.lock"
ENDING_S = 15  # after which the stages of a killed flow have ended
# DVC's words for its two lock errors (of the repository, and of a path that another process reads or writes) and for a
# failed stage. Only the last error line counts: the stage may have printed anything before it.
LOCKED = re.compile(r"^ERROR: .*(Unable to acquire lock|is busy, it is being blocked by)")
EXITED = re.compile(r"^ERROR: .*exited with (-?\d+)$")


@dataclass(frozen=True)
class Stage:
    """A node of DVC's graph.

    Attributes:
        name: ``ingest@toy`` for a stage of the root's dvc.yaml, ``mtmdd:train@TDL-0`` for a stage of a system's.
        upstream: names of the stages whose outputs it reads.
        on_gpu: True for ``meta: {device: gpu}`` in dvc.yaml: the stage uses a GPU where there is one.
        is_module: its command is ``python -m MODULE ...``, which a preloaded process can run.
    """

    name: str
    upstream: frozenset[str]
    on_gpu: bool
    is_module: bool = False


@dataclass(frozen=True)
class Matrix:
    """Stages that a dvc.yaml declares by a ``matrix``.

    Attributes:
        points: the values of the keys by stage name, as in ``{"mtmdd:train@TDL-0": {"run": "TDL", "seed": 0}}``.
        where: the text of each key's list in dvc.yaml, as in ``{"seed": "${seeds}"}``.
    """

    points: Mapping[str, Mapping[str, Any]]
    where: Mapping[str, str]


class StageFailed(RuntimeError):
    """A stage's process ended with an error; the message has the stage, the exit code and the last lines."""

    def __init__(self, stage: str, exit_code: int, tail: Iterable[str]) -> None:
        self.stage, self.exit_code, self.tail = stage, exit_code, list(tail)
        super().__init__(f"stage {stage} failed with exit code {exit_code}; its last lines:\n" + "\n".join(self.tail))


class Workspace:
    """A DVC project on disk, and the stage processes that this process runs in it.

    Args:
        root: the folder with dvc.yaml.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._dvc = threading.Lock()  # DVC's own lock is per process
        self.processes = Processes(self.root)
        self._facts: dict[str, str] = {}  # about the flow run that holds the workspace
        self._lock_file: IO[str] | None = None

    def stages(self, targets: Iterable[str] = ()) -> dict[str, Stage]:
        """Return the targets and all stages upstream of them, in an order in which they could run.

        Args:
            targets: stage names (``mtmdd:train`` means all of its matrix) or paths of outputs; none means all stages.

        Raises:
            UserError: dvc.yaml or params.yaml is broken, there is no such stage or output, another process keeps DVC's
                lock, there is no git repository, or git refuses it.
        """
        try:
            return self._ask(lambda repo: _collect(repo, list(targets)))
        except DvcException as error:
            raise UserError(f"{self.root / 'dvc.yaml'}: {error} (`dvc stage list` shows where)") from error

    def is_up_to_date(self, name: str) -> bool:
        """Return True if a stage's outputs exist and belong to its present dependencies, parameters and command.

        The answer is final only when the stages upstream have run.
        """
        return not self._ask(lambda repo: repo.status([address_of(name)]))

    def stale(self) -> dict[str, bool]:
        """Return the stages that are stale now; stages downstream of them may turn out to be stale too.

        Returns:
            For each stale stage, True if it has to run in any case. False means that only its dependencies have
            changed, and the stages upstream may restore these.
        """
        found = self._ask(lambda repo: repo.status())
        return {
            name_of(address): any("changed deps" not in change for change in changes)
            for address, changes in found.items()
        }

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Return the contents of the metric files, by path; missing files are left out."""
        shown = self._ask(lambda repo: repo.metrics.show())
        files = shown.get("", {}).get("data", {})
        return {path: entry["data"] for path, entry in sorted(files.items()) if "data" in entry}

    def metrics_of(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the contents of the metric files of some stages, by stage; missing files are left out."""
        wanted = set(names)
        files = self._ask(
            lambda repo: {
                str(out): name_of(stage.addressing)
                for stage in repo.index.stages
                if name_of(stage.addressing) in wanted
                for out in stage.outs
                if out.metric
            }
        )
        return {files[path]: values for path, values in self.metrics().items() if path in files}

    def matrices(self) -> dict[str, Matrix]:
        """Return the matrices of all dvc.yaml files, by the name of the declaring entry.

        Raises:
            UserError: as :meth:`stages`.
        """
        try:
            return self._ask(_matrices)
        except DvcException as error:
            raise UserError(f"{self.root / 'dvc.yaml'}: {error} (`dvc stage list` shows where)") from error

    def writer_of(self, path: Path) -> str | None:
        """Return the stage whose command writes a path or a folder above the path; None if there is none."""
        place = (self.root / path).resolve()
        outputs = self._ask(
            lambda repo: [
                (Path(out.fs_path), name_of(stage.addressing))
                for stage in repo.index.stages
                if stage.cmd  # not what `dvc add` tracks
                for out in stage.outs
            ]
        )
        return next((name for output, name in outputs if output == place or output in place.parents), None)

    def run(self, name: str, environment: Mapping[str, str], log_line: Callable[[str], None]) -> None:
        """Run one stage to its end, unless it is up to date.

        Args:
            name: the stage.
            environment: variables for its processes, besides those of this process.
            log_line: called with each line of output as soon as it is complete.

        Raises:
            StageFailed: the command failed, or other processes held DVC's locks for more than two minutes.
            Stopped: the workspace was stopped before or while the stage ran.
        """
        command = [
            sys.executable,
            "-m",
            "flows.dvc_command",
            "--wait-for-lock",
            "repro",
            "--single-item",
            address_of(name),
        ]
        for pause in (*LOCK_PAUSES_S, None):
            try:
                exit_code, lines = self.processes.run(command, environment, log_line)
            except Stopped as error:
                raise Stopped(f"stage {name} {error}") from None
            if exit_code == 0:
                return
            verdict = next((line for line in reversed(lines) if line.startswith("ERROR: ")), "")  # DVC's, it comes last
            exited = EXITED.match(verdict)
            if pause is None or exited or not LOCKED.match(verdict):
                raise StageFailed(name, int(exited[1]) if exited else exit_code, lines)
            log_line(f"DVC's lock is taken by another process, trying again in {pause} s")
            self.processes.pause(pause)
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """End every running stage with its whole process tree, and start no more.

        The processes get SIGINT first, as from Ctrl-C in a terminal, so that DVC can finish its bookkeeping; those that
        still live some seconds later get SIGTERM, then SIGKILL.
        """
        self.processes.stop()

    @contextlib.contextmanager
    def hold(self, run: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Lock the workspace until the last stage that was started has ended.

        Args:
            run: facts about this run, which go into the lock file: ``name``, and perhaps more.

        Yields:
            The facts about the last holder if it was killed and could not release the lock; else an empty mapping.

        Raises:
            UserError: another flow run holds the lock; the message names it.
        """
        file = self.root / LOCK_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        with file.open("r+", encoding="utf-8") as lock:
            deadline = time.monotonic() + ENDING_S
            while not _is_locked(lock):
                holder = _holder(lock)
                if ("pid" in holder and is_alive(int(holder["pid"]))) or time.monotonic() > deadline:
                    name, pid, since = (holder.get(key, "?") for key in ("name", "pid", "since"))
                    raise UserError(
                        f"{self.root}: flow run {name!r} (process {pid}, since {since}) is at work in this workspace; "
                        "wait until it has ended, or cancel it"
                    )
                time.sleep(0.2)  # the holder was killed and its stages are ending, or it is just starting or ending
            killed = _holder(lock)
            since = datetime.now(UTC).isoformat(timespec="seconds")
            self._lock_file, self._facts = lock, {**run, "pid": str(os.getpid()), "since": since}
            self.tell({})
            self.processes.keep_open = (lock.fileno(),)
            try:
                yield killed
            finally:
                self.processes.keep_open = ()
                self._lock_file = None
                lock.truncate(0)

    def tell(self, facts: Mapping[str, str]) -> None:
        """Add facts about this run to the lock file, for the run that comes after a kill of this one."""
        assert self._lock_file is not None
        self._facts |= facts
        size = os.fstat(self._lock_file.fileno()).st_size
        # One write over the old text: a kill leaves either the old text or the new one.
        os.pwrite(self._lock_file.fileno(), json.dumps(self._facts).encode().ljust(size), 0)

    def _ask(self, question: Callable[[Repo], Result]) -> Result:
        """Ask a freshly opened repository, since dvc.lock changes meanwhile; mend what a kill has cut first.

        Raises:
            UserError: other processes held DVC's lock for more than two minutes, the folder is no git repository, or
                git refuses the repository because it belongs to another user.
        """
        with self._dvc:
            for pause in (*LOCK_PAUSES_S, None):
                try:
                    with open_repo(self.root) as repo:
                        if isinstance(repo.scm, Git):
                            _ = repo.scm.pygit2  # raises GitError now if git refuses the repository, not hours later
                        if records.is_suspect(self.root):
                            with repo.lock:
                                records.mend(self.root)
                        return question(repo)
                except (SCMError, GitError) as error:
                    raise _without_git(self.root, error) from error
                except LockError as error:
                    if pause is None:
                        raise UserError(
                            f"{self.root}: another dvc or flow is at work in this workspace and holds DVC's lock; "
                            "wait until it has ended, or stop it"
                        ) from error
                    log.warning("DVC's lock is taken by another process, trying again in %d s", pause)
                    self.processes.pause(pause)
        raise AssertionError("unreachable")


def _without_git(root: Path, error: Exception) -> UserError:
    """Return the error for a workspace whose git repository is missing, or that git refuses."""
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        return UserError(
            f"{root}: no git repository, which DVC needs; run `git init` there (for example after unpacking an archive)"
        )
    return UserError(
        f"{root}: git refuses this repository ({error}); if it belongs to another user whom you trust, run "
        f"`git config --global --add safe.directory {root}`"
    )


def _collect(repo: Repo, targets: list[str]) -> dict[str, Stage]:
    graph = repo.index.graph  # an edge leads from a stage to one it depends on
    wanted = set(graph)
    if targets:
        chosen = {info.stage for target in targets for info in repo.stage.collect_granular(_target(repo, target))}
        wanted = chosen.union(*(nx.descendants(graph, stage) for stage in chosen))
    order = [stage for stage in nx.dfs_postorder_nodes(graph) if stage in wanted]
    return {
        name_of(stage.addressing): Stage(
            name_of(stage.addressing),
            frozenset(name_of(upstream.addressing) for upstream in graph.successors(stage)),
            (stage.meta or {}).get("device") == "gpu",
            isinstance(stage.cmd, str) and words_of(stage.cmd) is not None,
        )
        for stage in order
    }


def _target(repo: Repo, target: str) -> str:
    """Return a target in DVC's form: the address of a stage, or the path of an output."""
    is_path = "/" in target or (Path(repo.root_dir) / target).exists()
    return target if is_path else address_of(target)


def _matrices(repo: Repo) -> dict[str, Matrix]:
    found = {}
    for file in graph_files(Path(repo.root_dir)):
        system = system_of(Path(repo.root_dir), file)
        prefix = f"{system}:" if system else ""
        for name, definition in load_file(repo, str(file)).resolver.definitions.items():
            if isinstance(definition, MatrixDefinition):
                points = {
                    f"{prefix}{name}@{key}": {axis: _plain(value) for axis, value in values.items()}
                    for key, values in definition.normalized_iterable.items()
                }
                where = {key: str(values) for key, values in definition.matrix_data.items()}
                found[f"{prefix}{name}"] = Matrix(points, where)
    return found


def _plain(value: Any) -> Any:
    """Return a value that DVC read from params.yaml without its note of the position."""
    return value.value if isinstance(value, Value) else value


def _is_locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> dict[str, str]:
    """Return the facts in a lock file; an empty mapping if the lock was released, or the file is being written."""
    lock.seek(0)
    try:
        return dict(json.loads(lock.read() or "{}"))
    except ValueError:
        return {}

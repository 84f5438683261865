"""Keep the programs of a cluster running: start them, start again what ends, stop them all together.

One process supervises. It holds a lock on a file as long as it lives, and writes its process id beside it, so a process
id in that file is the supervisor's as long as the lock is held. Every program leads a process group of its own, to
which the workers that it starts belong; where it ends, however, its group is killed.
"""

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from base.artifacts import write_json
from base.console import UserError, log
from pipelines.beam.flink.settings import Program, environment

LOCK_S = 1.0  # seconds to wait for the lock, which a look at it takes for a moment
LOOK_S = 0.2  # seconds between two looks at the programs
STOP_S = 10  # seconds that programs have to end before they are killed
SOON_S = 30  # a program that ends earlier than this starts again later and later
LONGEST_PAUSE_S = 30
PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Place:
    """The files of a cluster.

    Attributes:
        folder: as in .state/flink.
    """

    folder: Path

    @property
    def state(self) -> Path:
        """The supervisor's process id, the addresses, and the programs' process ids; exists while the cluster runs."""
        return self.folder / "cluster.json"

    @property
    def lock(self) -> Path:
        """A file on which the supervisor holds a lock."""
        return self.folder / "cluster.lock"

    @property
    def logs(self) -> Path:
        """The folder of logs; one file for each program, and the supervisor's."""
        return self.folder / "logs"

    @property
    def work(self) -> Path:
        """The folder of everything that is deleted when the cluster stops."""
        return self.folder / "cluster"

    def running(self) -> dict[str, Any] | None:
        """Return the contents of :attr:`state`, or None if no cluster runs here; empty while it starts or stops."""
        try:
            with self.lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return None
        except BlockingIOError:
            with suppress(OSError, ValueError):
                return dict(json.loads(self.state.read_text(encoding="utf-8")))
            return {}
        return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock during the block.

        Raises:
            UserError: another supervisor holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + LOCK_S
        with self.lock.open("ab") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        message = "a cluster runs here already; `make cluster-down` stops it"
                        raise UserError(f"{self.folder}: {message}") from error
                time.sleep(LOCK_S / 20)
            yield


@dataclass
class _Supervised:
    """A program, and its process if it runs now."""

    program: Program
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    starts: int = 0
    pause_s: float = 1.0
    not_before: float = field(default=0.0)

    def start(self) -> None:
        if self.program.scratch is not None:
            shutil.rmtree(self.program.scratch, ignore_errors=True)
            self.program.scratch.mkdir(parents=True)
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                self.program.command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                env=environment(), start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip
        self.started = time.monotonic()
        self.starts += 1

    def has_ended(self) -> bool:
        """Return True if the process has ended; then nothing of its group is left."""
        if self.process is None:
            return False
        # The process stays a zombie until the group is killed, so that no other process can have its id.
        if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return True

    def send(self, number: signal.Signals) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.process.pid, number)


def _end_with_parent() -> None:
    """Let the kernel kill this new process when the supervisor ends, even if that is killed itself (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def supervise(place: Place, programs: Sequence[Program], about: dict[str, Any]) -> None:
    """Start programs and keep them running until SIGTERM or SIGINT; then stop them all. Hold ``place.held()``.

    Args:
        place: of the state and the logs.
        programs: in the order in which they start.
        about: written into the state, beside the process ids.
    """
    is_over = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal is_over
        is_over = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    supervised = [_Supervised(program, place.logs / f"{program.name}.log") for program in programs]

    def write_state() -> None:
        processes = {
            one.program.name: {"pid": None if one.process is None else one.process.pid, "starts": one.starts}
            for one in supervised
        }
        write_json({"pid": os.getpid(), **about, "programs": processes}, place.state)

    try:
        while not is_over:
            has_changed = False
            for one in supervised:
                if one.has_ended():
                    has_changed = True
                    _note_end(one)
                if one.process is None and time.monotonic() >= one.not_before:
                    has_changed = True
                    one.start()
            if has_changed:
                write_state()
            time.sleep(LOOK_S)
    finally:
        _stop(supervised)
        place.state.unlink(missing_ok=True)


def _note_end(one: _Supervised) -> None:
    """Log that a process has ended, and decide when it starts again."""
    assert one.process is not None
    lived_s = time.monotonic() - one.started
    one.pause_s = min(LONGEST_PAUSE_S, one.pause_s * 2) if lived_s < SOON_S else 1.0
    code = one.process.returncode
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    log.warning("%s has ended after %.0f s (%s); starts again in %.0f s", one.program.name, lived_s, how, one.pause_s)
    one.process, one.not_before = None, time.monotonic() + one.pause_s


def _stop(supervised: Sequence[_Supervised]) -> None:
    """Ask all processes to end, those that depend on others first; kill what is left after some seconds."""
    deadline = time.monotonic() + STOP_S
    for one in reversed(supervised):
        one.send(signal.SIGTERM)
        # ZooKeeper is the first of the list: the others would wait long for it if it ended before them.
        while one.process is not None and time.monotonic() < deadline:
            if one.has_ended():
                one.process = None
            else:
                time.sleep(LOOK_S / 4)
    for one in supervised:
        one.send(signal.SIGKILL)
    for one in supervised:
        while one.process is not None and not one.has_ended():
            time.sleep(LOOK_S / 4)
        one.process = None

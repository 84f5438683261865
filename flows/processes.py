"""The processes that a flow runs; they end with their whole process trees, however the flow ends.

Each command runs under its own :mod:`flows.guard`, which ends the command and everything that it started when the flow
asks for it, and also when the flow is killed. Each line of output is passed on at once, with secrets masked
(:mod:`flows.masking`). After :meth:`Processes.preload`, Python modules run in forks of a process that has imported the
large libraries already (:mod:`flows.preloaded`).
"""

import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prefect.settings import get_current_settings

from flows import guard
from flows.masking import Mask
from flows.preloaded import Forked, Preloaded

GRACE_S = 2.5  # between SIGINT and SIGTERM, and between SIGTERM and SIGKILL
TAIL_LINES = 40


class Stopped(RuntimeError):
    """The flow is being stopped, so no more processes are started."""


class Processes:
    """The commands that this process runs in a folder.

    Args:
        root: the working directory of the commands.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keep_open: tuple[int, ...] = ()
        """File descriptors that each command's guard inherits: the workspace's lock, held until the last one ends."""
        self._running: set[subprocess.Popen[str] | Forked] = set()
        self._preloaded: Preloaded | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        # The password of our own server is in the settings only.
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        self._without_secrets = Mask({**os.environ, **settings})

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopped.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, but return at once when :meth:`stop` is called."""
        self._stopped.wait(seconds)

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], log_line: Callable[[str], None]
    ) -> tuple[int, deque[str]]:
        """Run a command to its end; return its exit code (negative: the signal that ended it) and its last lines.

        Args:
            command: program and arguments; the folder of this process's Python comes first on PATH.
            environment: variables for the command, besides those of this process.
            log_line: called with each line of output as soon as it is complete.

        Raises:
            Stopped: the command was not started, or was ended, because of :meth:`stop`.
        """
        with self._lock:
            if self.stopped:
                raise Stopped("was not started")
            process = self._forked(command, environment) or subprocess.Popen(
                guarded(command),
                cwd=self.root,
                env=self._environment(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,  # also ends lines at the carriage returns of progress bars
                encoding="utf-8",
                errors="backslashreplace",
                start_new_session=True,
                pass_fds=self.keep_open,
            )
            self._running.add(process)
        lines: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                line = self._without_secrets(line.rstrip())
                if line:
                    lines.append(line)
                    log_line(line)
        finally:
            let_go(process)  # also when `log_line` fails
            if process.stdout is not None:
                process.stdout.close()
            process.wait()
            with self._lock:
                self._running.discard(process)
        if self.stopped and process.returncode != 0:
            raise Stopped("was stopped")
        return process.returncode, lines

    def preload(self, environment: Mapping[str, str]) -> None:
        """Start the process that later commands ``python -m MODULE ...`` are forked from, as soon as it is ready.

        Args:
            environment: as :meth:`run`'s; commands with others are started as before.
        """
        with self._lock:
            if self._preloaded is None and not self.stopped:
                self._preloaded = Preloaded(self.root, self._environment(environment))

    def close(self) -> None:
        """End the process that :meth:`preload` has started."""
        with self._lock:
            if self._preloaded is not None:
                self._preloaded.close()
                self._preloaded = None

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **own}

    def _forked(self, command: Sequence[str], environment: Mapping[str, str]) -> Forked | None:
        if self._preloaded is None or command[:2] != [sys.executable, "-m"]:
            return None
        return self._preloaded.start(command[2:], self._environment(environment), self.keep_open, GRACE_S)

    def stop(self) -> None:
        """End every running command with its whole process tree, and start no more."""
        self._stopped.set()
        with self._lock:
            running = list(self._running)
        for process in running:
            let_go(process)
        for process in running:
            process.wait()
        self.close()


def guarded(command: Sequence[str], keep: Sequence[int] = ()) -> list[str]:
    """Return a command line that runs the command under a guard; its standard input must be a pipe.

    Args:
        command: program and arguments.
        keep: file descriptors that the guard inherits and passes on to the command.
    """
    kept = ",".join(map(str, keep))
    return [sys.executable, "-I", "-S", guard.__file__, str(GRACE_S), kept, *command]


def let_go(process: subprocess.Popen[str] | subprocess.Popen[bytes] | Forked) -> None:
    """Close the pipe to a process's guard, which then ends the process; return at once."""
    assert process.stdin is not None
    process.stdin.close()

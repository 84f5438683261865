"""The processes that a flow runs: each with everything it starts, ended together, however the flow ends.

Each command runs under its own :mod:`flows.guard`, which ends it with its whole tree when the flow asks for it, and
also when the flow is killed. Lines of output are told as they come; secrets never are (flows/masking.py).
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

GRACE_S = 2.5  # between Ctrl-C and "terminate", and again before "kill"
TAIL_LINES = 40


class Stopped(RuntimeError):
    """The flow is being stopped: no process is started any more."""


class Processes:
    """The commands that this process runs in a folder.

    Args:
        root: their working directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keep_open: tuple[int, ...] = ()
        """File descriptors that stay open until the last command has ended: the workspace's lock."""
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        # The password of a server of ours is in the settings only.
        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        self._without_secrets = Mask({**os.environ, **settings})

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopped.is_set()

    def pause(self, seconds: float) -> None:
        """Sleep, but not beyond a stop."""
        self._stopped.wait(seconds)

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]
    ) -> tuple[int, deque[str]]:
        """Run a command to its end; return its exit code (negative: the signal it died of) and its last lines.

        Args:
            command: program and arguments; this process's Python and its tools come first on its path.
            environment: set for it, on top of this process's environment.
            say: is called with each line of its output as it comes.

        Raises:
            Stopped: it was not started, or was ended, because of :meth:`stop`.
        """
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        with self._lock:
            if self.stopped:
                raise Stopped("was not started")
            process = subprocess.Popen(
                guarded(command),
                cwd=self.root,
                env={**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **environment},
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
                    say(line)
        finally:
            let_go(process)  # also when `say` fails
            if process.stdout is not None:
                process.stdout.close()
            process.wait()
            with self._lock:
                self._running.discard(process)
        if self.stopped and process.returncode != 0:
            raise Stopped("was stopped")
        return process.returncode, lines

    def stop(self) -> None:
        """End every running command with its whole process tree, and start none any more."""
        self._stopped.set()
        with self._lock:
            running = list(self._running)
        for process in running:
            let_go(process)
        for process in running:
            process.wait()


def guarded(command: Sequence[str], keep: Sequence[int] = ()) -> list[str]:
    """Return the command under a guard; its standard input is to be a pipe.

    Args:
        command: program and arguments.
        keep: file descriptors that the guard gets and the command is to have too.
    """
    kept = ",".join(map(str, keep))
    return [sys.executable, "-I", "-S", guard.__file__, str(GRACE_S), kept, *command]


def let_go(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    """Make a process's guard end it; does not wait."""
    assert process.stdin is not None
    process.stdin.close()

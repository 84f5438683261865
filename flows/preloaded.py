"""A process that has imported the large libraries, and runs each stage in a fork of itself.

Most stages of a small data set import PyTorch, Beam or scikit-learn for two to four seconds of a core, and then work
for less. A flow with many stages therefore starts one such process (:class:`Preloaded`), which imports
:data:`LIBRARIES` and waits for commands on a socket. For each one it forks

- a guard as in :mod:`flows.guard`, which forks
- ``flows.dvc_command``, which first of all forks
- the process that will run the stage's own module, as soon as DVC has decided that the stage has to run.

Each is forked from a process that has imported libraries and has done nothing else: no thread of ours runs, no file is
open, and none of the project's own modules is in the stage's process, so that it reads them as they are at its start.
A command that is no plain ``python -m MODULE ARGUMENT ...``, or that has other variables of the kind that libraries
read when they are loaded, is run by a shell as ever. Polars is not among the libraries: its threads start at import,
and its authors warn of forks.
"""

import gc
import json
import logging
import os
import random
import re
import runpy
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from base.console import STATE
from flows import guard

LIBRARIES = (
    "torch",
    "accelerate",
    "apache_beam",
    "dvc.cli",
    "dvc.repo",
    "jinja2",
    "matplotlib.pyplot",
    "pandas",
    "PIL.Image",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic",
    "ruamel.yaml",
    "safetensors.torch",
    "scipy.sparse",
    "sklearn.decomposition",
    "sklearn.linear_model",
    "torchvision",  # and torch._dynamo, which also the first optimizer of a process imports: 1.4 s
)
OURS = ("base", "flows", "model", "pipelines", "report", "systems")
WITH_NAMES = "base.with_names"
# Words that every shell passes on as they are; braces around a name, which no shell expands.
PLAIN = re.compile(r"python -m [\w.]+(?: +(?:[\w@%+=:,./-]|\{\w+(?:\.\w+)*\}|'[^'\n]*')+)* *")
PRELOAD = "CLICKSIGHT_PRELOAD"  # the libraries of a preloaded process
# Variables that a stage may have and this process not, because nothing reads them at import.
FREE = frozenset({"DVC_ROOT", "DVC_STAGE", "DVC_SITE_CACHE_DIR", PRELOAD, "PWD", "OLDPWD", "SHLVL", "_"})
# Not -m, by which this module would be loaded twice: flows.dvc_command asks it for `waiting`.
START = "import sys; from flows.preloaded import main; main(sys.argv[1:])"
READY = b"ready\n"
LOG = STATE / "preloaded.log"  # what the libraries say at their import, and why the process ended


def words_of(command: str) -> list[str] | None:
    """Return the module and the arguments of a command ``python -m ...``; None if it takes a shell to run it."""
    return shlex.split(command)[2:] if PLAIN.fullmatch(command) else None


class Preloaded:
    """The preloaded process of a flow run, which ends with this object's owner, however that ends.

    Args:
        root: the working directory of the commands.
        environment: all variables of the process.
        libraries: modules to import.
    """

    def __init__(self, root: Path, environment: Mapping[str, str], libraries: Sequence[str] = LIBRARIES) -> None:
        self._environment = {**environment, PRELOAD: " ".join(libraries)}
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        log_file = root / LOG
        log_file.parent.mkdir(exist_ok=True)
        with theirs, log_file.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, str(theirs.fileno())],
                cwd=root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        self._control.setblocking(False)
        self._is_ready = False

    def wait_until_ready(self, timeout_s: float) -> bool:
        """Wait for the imports; return whether commands can be run now."""
        self._control.settimeout(timeout_s)
        try:
            return self._ready()
        finally:
            self._control.setblocking(False)

    def _ready(self) -> bool:
        if not self._is_ready:
            with suppress(OSError):  # it is still importing
                self._is_ready = self._control.recv(len(READY)) == READY
        return self._is_ready

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], keep: Sequence[int], grace_s: float
    ) -> "Forked | None":
        """Start a module in a fork, under a guard that ends it when the standard input of the result is closed.

        Args:
            command: the module and its arguments.
            environment: all its variables.
            keep: file descriptors that the guard holds until all is over.
            grace_s: as :mod:`flows.guard`'s.

        Returns:
            The running command; None if it can't be started here: the process is not ready yet, has ended, or was
            started with other variables.
        """
        if not self._ready() or not is_like(environment, self._environment):
            return None
        from_us, to_us, done = os.pipe(), os.pipe(), os.pipe()
        handles = [from_us[0], to_us[1], done[1], *keep]
        request = {"command": list(command), "environment": dict(environment), "grace_s": grace_s}
        content = json.dumps(request).encode()
        try:
            self._control.setblocking(True)
            socket.send_fds(self._control, [len(content).to_bytes(8, "big")], handles)
            self._control.sendall(content)
        except OSError:  # it was killed
            self._is_ready = False
            for handle in (from_us[1], to_us[0], done[0]):
                os.close(handle)
            return None
        finally:
            self._control.setblocking(False)
            for handle in (from_us[0], to_us[1], done[1]):
                os.close(handle)
        return Forked(from_us[1], to_us[0], done[0])

    def close(self) -> None:
        """End the process; commands that it has started go on."""
        self._control.close()
        self._process.kill()  # perhaps it is still importing
        self._process.wait()


class Forked:
    """A command that a preloaded process runs; what :class:`subprocess.Popen` has, as far as it is needed.

    Args:
        stdin: a handle on the other end of the guard's standard input.
        stdout: of its output.
        done: of the pipe by which its exit code comes.
    """

    def __init__(self, stdin: int, stdout: int, done: int) -> None:
        self.stdin = os.fdopen(stdin, "wb")
        self.stdout = os.fdopen(stdout, encoding="utf-8", errors="backslashreplace")
        self._done = os.fdopen(done, "rb")
        self.returncode = 0
        self._waiting = threading.Lock()

    def wait(self) -> int:
        """Return the exit code, or the negative number of a signal; SIGKILL's if the preloaded process was killed."""
        with self._waiting:
            if not self._done.closed:
                self.returncode = int(self._done.read() or -signal.SIGKILL)
                self._done.close()
        return self.returncode


def is_like(environment: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether two environments differ only in variables that nothing reads when it is imported."""
    names = (environment.keys() | other.keys()) - FREE
    return all(environment.get(name) == other.get(name) for name in names)


class StageProcess:
    """A forked process that waits for the one command that it is to run.

    Args:
        pid: of the process.
        channel: takes the command.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self._pid, self._channel = pid, channel
        self._environment = dict(os.environ)

    def suits(self, environment: Mapping[str, str]) -> bool:
        """Return whether a command with these variables, which begins with ``python``, may run here."""
        program = Path(sys.executable).with_name("python")
        return shutil.which("python", path=environment.get("PATH")) == str(program) and is_like(
            environment, self._environment
        )

    def run(self, words: Sequence[str], environment: Mapping[str, str], folder: str) -> int:
        """Run a module to its end; return its exit code, or the negative number of the signal that ended it."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process gets it too, and decides
        try:
            with self._channel:
                self._channel.sendall(json.dumps([list(words), dict(environment), folder]).encode())
            return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        finally:
            signal.signal(signal.SIGINT, before)


waiting: StageProcess | None = None
"""In ``flows.dvc_command``, if a preloaded process has forked it: the process for the stage's module."""


def main(argv: Sequence[str]) -> None:
    """Import the libraries and serve the socket of a handle; in a fork, run its module as ``python -m`` does."""
    for name in os.environ.pop(PRELOAD).split():
        resolve_name(name)  # imports it
    _forget_logging()
    gc.freeze()  # no fork looks through, and so copies, what all have in common
    words = _serve(socket.socket(fileno=int(argv[0])))
    if words[0] == "flows.dvc_command":
        words = _with_stage_process(words)
    sys.argv = words
    sys.path[0] = str(Path.cwd())
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _forget_logging() -> None:
    """Remove the handlers of the root logger: Beam warns at import, and the first warning adds one."""
    for handler in list(logging.root.handlers):
        logging.root.removeHandler(handler)


def _serve(control: socket.socket) -> list[str]:
    """Fork a guard for each request, and report its exit code; return a command in the process that is to run it."""
    control.sendall(READY)
    ends: dict[int, tuple[int, int]] = {}  # by a handle on the process: its number, and the pipe for its exit code
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    process, done = ends.pop(key.fd)
                    os.write(done, str(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
                    selector.unregister(key.fd)
                    os.close(done)
                    os.close(key.fd)
                    continue
                received = _receive(control)
                if received is None:
                    os._exit(0)  # the flow has ended
                request, (stdin, stdout, done, *keep) = received
                process = os.fork()
                if process == 0:
                    for handle in [done, *ends, *(end[1] for end in ends.values())]:
                        os.close(handle)
                    selector.close()
                    control.close()
                    return _under_guard(request, stdin, stdout, keep)
                for handle in (stdin, stdout, *keep):
                    os.close(handle)
                ended = os.pidfd_open(process)
                ends[ended] = process, done
                selector.register(ended, selectors.EVENT_READ)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return a request and its file descriptors; None at the end."""
    size, handles, _, _ = socket.recv_fds(control, 8, 16)
    if not size:
        return None
    missing, content = int.from_bytes(size, "big"), bytearray()
    while missing:  # and not a byte of the next request
        more = control.recv(min(missing, 65536))
        if not more:
            return None
        content += more
        missing -= len(more)
    return json.loads(content), list(handles)


def _under_guard(request: Mapping[str, Any], stdin: int, stdout: int, keep: Sequence[int]) -> list[str]:
    """Make this process a guard with a session of its own; return the command in the process that it guards."""
    os.setsid()
    for handle, number in ((stdin, 0), (stdout, 1), (stdout, 2)):
        os.dup2(handle, number)
    os.close(stdin)
    os.close(stdout)
    os.environ.clear()
    os.environ.update(request["environment"])
    guard.prepare()
    process = os.fork()
    if process:
        guard.watch(process, request["grace_s"])
    for handle in keep:
        os.close(handle)
    _be_as_new()
    return list(request["command"])


def _be_as_new() -> None:
    """Give this process the signals, the standard input and the random numbers of a new one."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    random.seed()


def _with_stage_process(words: list[str]) -> list[str]:
    """Fork the process for the stage's module; return the words in this process, the stage's command in the other."""
    ours, theirs = socket.socketpair()
    process = os.fork()
    if process:
        theirs.close()
        global waiting
        waiting = StageProcess(process, ours)
        return words
    ours.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with theirs, theirs.makefile("rb") as channel:
        content = channel.read()
    if not content:  # the stage was up to date
        os._exit(0)
    words, environment, folder = json.loads(content)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    _be_as_new()
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    if words[0] == WITH_NAMES:
        from base.with_names import filled  # after the project's modules were forgotten

        words = filled(words[1:])
    return list(words)

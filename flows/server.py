"""A Prefect server of our own, for as long as one command runs.

Prefect would start a temporary server by itself, but in the terminal's process group: Ctrl-C ends that server first,
and the flow then tries for minutes to tell it that it was interrupted. This one is ended by us, last; it ends too if we
are killed, and one that dies is started again.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import httpx
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from base.console import UserError
from flows.processes import guarded, let_go

HOST = "127.0.0.1"  # nothing listens beyond this machine
START_S = 120  # 5 to 20 s, more beside busy training stages
LIVES_S = 10  # a server that dies sooner is not started again


@contextlib.contextmanager
def server(port: int | None = None, page: bool = False) -> Iterator[str]:
    """Yield the address of a server: the one that PREFECT_API_URL names, or else one that ends with the block.

    Args:
        port: where it listens; none takes a free one.
        page: whether it serves its page (the UI) too.

    Raises:
        UserError: the port is taken, or the server did not start; the message names its log.
    """
    if PREFECT_API_URL.value():
        yield str(PREFECT_API_URL.value()).removesuffix("/api")
        return
    port = _free_port(port)
    address = f"http://{HOST}:{port}"
    home = Path(PREFECT_HOME.value())
    home.mkdir(parents=True, exist_ok=True)
    log_file = home / "server.log"
    with log_file.open("w", encoding="utf-8") as log, _Server(port, page, log) as process:
        _wait_until_healthy(process, address, log_file)
        with temporary_settings({PREFECT_API_URL: f"{address}/api"}):
            try:
                yield address
            finally:
                _deliver()


class _Server:
    """The server's process: started at once, and again should it die, until the block ends.

    Args:
        port: where it listens.
        page: whether it serves its page too.
        log: the file that takes what it says.
    """

    def __init__(self, port: int, page: bool, log: IO[str]) -> None:
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
        self._environment = {
            **os.environ,
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_UI_API_URL": f"http://{HOST}:{port}/api",  # else the page asks port 4200, wherever it stands
        }
        self._command = guarded([*command, "--ui" if page else "--no-ui"])
        self._log = log
        self._ends = threading.Event()
        self._changes = threading.Lock()
        self._process = self._start()
        self._watch = threading.Thread(target=self._keep_up, daemon=True)

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._watch.start()
        return self._process

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        with self._changes:
            let_go(self._process)
        self._watch.join()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _keep_up(self) -> None:
        """Start the server again when it has died; one that dies young has a reason, and stays dead."""
        while True:
            started = time.monotonic()
            self._process.wait()
            with self._changes:
                if self._ends.is_set() or time.monotonic() - started < LIVES_S:
                    return
                self._process = self._start()


def _deliver() -> None:
    """Send what Prefect's background threads still hold; they would look for the server long after its end."""
    APILogWorker.drain_all(timeout=5)
    EventsWorker.drain_all(timeout=5)


def _free_port(port: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port or 0))
        except OSError as error:
            raise UserError(f"{HOST}:{port}: cannot listen there ({error.strerror}); name another --port") from None
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[bytes], address: str, log_file: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/api/health", timeout=5).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    how = "did not answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    raise UserError(f"the Prefect server on {address} {how}; see {log_file}")

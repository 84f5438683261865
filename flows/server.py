"""A Prefect server of our own, for as long as one command runs.

Prefect would start a temporary server by itself, but in the terminal's process group: Ctrl-C ends that server first,
and the flow then tries for minutes to tell it that it was interrupted. This one is ended by us, last; it ends too if we
are killed, and one that dies is started again. Its clients need a password (flows/password.py), which they get in their
settings and the server in its environment; flows/locked_server.py says what else it refuses.
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
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_HOME,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)

from base.console import UserError
from flows.password import password
from flows.processes import guarded, let_go

HOST = "127.0.0.1"  # nothing listens beyond this machine
START_S = 120  # 5 to 20 s, more beside busy training stages
CLIENT_SETTINGS = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")  # the server has no use for them
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
    home = Path(PREFECT_HOME.value())
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    auth_string = PREFECT_SERVER_API_AUTH_STRING.value() or password(home)
    log_file = home / "server.log"
    with _listen(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        with log_file.open("w", encoding="utf-8") as log, _Server(listener, page, auth_string, log) as process:
            _wait_until_healthy(process, address, log_file)
            ours = {
                PREFECT_API_URL: f"{address}/api",
                PREFECT_API_AUTH_STRING: auth_string,
                PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: True,
            }
            with temporary_settings(ours):
                try:
                    yield address
                finally:
                    _deliver()


def refused(address: str) -> UserError:
    """Return the error of a client that a server refuses (401)."""
    return UserError(
        f"the Prefect server on {address} refuses the password; set PREFECT_API_AUTH_STRING to the server's (that of "
        "`make ui` is in .state/prefect/password of its workspace)"
    )


class _Server:
    """The server's process: started at once, and again should it die, until the block ends.

    The socket is ours, and stays open while the server is started again: clients wait, and nobody else on this machine
    can take the port and be sent their password.

    Args:
        listener: where it listens; closed if the server can't be kept alive.
        page: whether it serves its page too.
        auth_string: what clients have to know, as in ``user:password``.
        log: the file that takes what it says.
    """

    def __init__(self, listener: socket.socket, page: bool, auth_string: str, log: IO[str]) -> None:
        port = listener.getsockname()[1]
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in CLIENT_SETTINGS},
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_UI_ENABLED": str(page),
            # Else the page asks port 4200, wherever it stands.
            "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
            "PREFECT_SERVER_API_AUTH_STRING": auth_string,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(
                f"http://{name}:{port}" for name in (HOST, "localhost")
            ),
        }
        handle = listener.fileno()
        self._command = guarded([sys.executable, "-m", "flows.locked_server", str(handle)], keep=[handle])
        self._listener = listener
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
            pass_fds=[self._listener.fileno()],
            umask=0o077,  # database, and what runs keep there: nobody else's business
        )

    def _keep_up(self) -> None:
        """Start the server again when it has died; one that dies young has a reason, and stays dead."""
        while True:
            started = time.monotonic()
            self._process.wait()
            with self._changes:
                if self._ends.is_set():
                    return
                if time.monotonic() - started < LIVES_S:
                    self._listener.close()  # else clients would wait
                    return
                self._process = self._start()


def _deliver() -> None:
    """Send what Prefect's background threads still hold; they would look for the server long after its end."""
    APILogWorker.drain_all(timeout=5)
    EventsWorker.drain_all(timeout=5)


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on a port, or on a free one."""
    try:
        return socket.create_server((HOST, port or 0))
    except OSError as error:
        raise UserError(f"{HOST}:{port}: cannot listen there ({error.strerror}); name another --port") from None


def _wait_until_healthy(process: subprocess.Popen[bytes], address: str, log_file: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{address}/api/health", timeout=5).status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    how = "did not answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    raise UserError(f"the Prefect server on {address} {how}; see {log_file}")

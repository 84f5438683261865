"""A Prefect server that runs as long as one command.

Prefect would start a temporary server by itself, but in the terminal's process group: Ctrl-C would end that server
first, and the flow would then try for minutes to report its interruption to it. The server of this module ends after
the flow, and also when this process is killed; if it dies, it is started again. Its clients need a password
(flows/server/password.py): clients get it in their settings, the server in its environment.
flows/server/locked_server.py lists the other requests that the server refuses.
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
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_CSRF_SUPPORT_ENABLED,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_HOME,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)

from base.console import UserError
from flows.processes import guarded, let_go
from flows.server.password import password

HOST = "127.0.0.1"  # reachable from this machine only
START_S = 120  # a start takes 5 to 20 s, longer while training stages run
CLIENT_SETTINGS = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_API_KEY")  # not passed to the server
MIN_LIFETIME_S = 10  # a server that dies sooner is not started again
ANSWER_S = 10  # in which a server that runs already has to answer


@contextlib.contextmanager
def server(port: int | None = None, page: bool = False) -> Iterator[str]:
    """Yield the address of the server that PREFECT_API_URL names, otherwise of a new one that ends with the block.

    Args:
        port: the new server's port; None means any free port.
        page: whether the new server also serves its page (the UI).

    Raises:
        UserError: the port is taken; or the server did not start, then the message names its log; or nobody answers at
            PREFECT_API_URL.
    """
    if PREFECT_API_URL.value():
        address = str(PREFECT_API_URL.value()).removesuffix("/api")
        _check_answers(address)
        yield address
        return
    home = Path(PREFECT_HOME.value())
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    auth_string = PREFECT_SERVER_API_AUTH_STRING.value() or password(home)
    log_file = home / "server.log"
    with _listen(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        with log_file.open("w", encoding="utf-8") as log, _Server(listener, page, auth_string, log) as process:
            _wait_until_healthy(process, address, log_file)
            client_settings = {
                PREFECT_API_URL: f"{address}/api",
                PREFECT_API_AUTH_STRING: auth_string,
                PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: True,
            }
            with temporary_settings(client_settings):
                try:
                    yield address
                finally:
                    _flush_prefect()


def refused(address: str) -> UserError:
    """Return the error for a client that the server refuses (401)."""
    return UserError(
        f"the Prefect server on {address} refuses the password; set PREFECT_API_AUTH_STRING to the server's (that of "
        "`make ui` is in .state/prefect/password of its workspace)"
    )


class _Server:
    """The server's process: started by the constructor, and started again if it dies, until the block ends.

    This process owns the socket, which stays open while the server is restarted. Clients wait meanwhile, and no other
    user of this machine can take the port and receive their password.

    Args:
        listener: the socket on which the server listens; closed if the server dies soon after its start.
        page: whether the server also serves its page.
        auth_string: the clients' login, in the form ``user:password``.
        log: the file for the server's output.
    """

    def __init__(self, listener: socket.socket, page: bool, auth_string: str, log: IO[str]) -> None:
        port = listener.getsockname()[1]
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in CLIENT_SETTINGS},
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_UI_ENABLED": str(page),
            # Without this the page calls port 4200, whatever its own port is.
            "PREFECT_SERVER_UI_API_URL": f"http://{HOST}:{port}/api",
            "PREFECT_SERVER_API_AUTH_STRING": auth_string,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(
                f"http://{name}:{port}" for name in (HOST, "localhost")
            ),
        }
        handle = listener.fileno()
        self._command = guarded([sys.executable, "-m", "flows.server.locked_server", str(handle)], keep=[handle])
        self._listener = listener
        self._log = log
        self._ends = threading.Event()
        self._restart_lock = threading.Lock()
        self._process = self._start()
        self._watch = threading.Thread(target=self._restart_when_dead, daemon=True)

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._watch.start()
        return self._process

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        with self._restart_lock:
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
            umask=0o077,  # only this user can read the database and the runs' files
        )

    def _restart_when_dead(self) -> None:
        """Start the server again when it dies; not if it lived for less than MIN_LIFETIME_S, as it would die again."""
        while True:
            started = time.monotonic()
            self._process.wait()
            with self._restart_lock:
                if self._ends.is_set():
                    return
                if time.monotonic() - started < MIN_LIFETIME_S:
                    self._listener.close()  # otherwise clients would wait for ever
                    return
                self._process = self._start()


def _check_answers(address: str) -> None:
    """Check that Prefect's API answers at PREFECT_API_URL; Prefect itself would print a traceback, after minutes.

    Raises:
        UserError: it cannot be reached, or not by the proxy that the environment names; or another program answers; or
            the server refuses the password.
    """
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        try:
            client = get_client(httpx_settings={"timeout": ANSWER_S}, sync_client=True)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise UserError(
                f"the Prefect server on {address} cannot be reached ({error}); change HTTP_PROXY, HTTPS_PROXY and "
                "ALL_PROXY, name the server in NO_PROXY, or unset PREFECT_API_URL to have a server of your own"
            ) from None
        with client:
            _ask_version(client, address)


def _ask_version(client: SyncPrefectClient, address: str) -> None:
    try:
        client.api_version()
    except httpx.TransportError as error:
        raise no_answer(address, error) from None
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            raise refused(address) from None
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return  # Prefect's client tries again
        if client.server_type != ServerType.CLOUD:
            raise _other_program(address, f"status {status}") from None
    except ValueError:  # no JSON
        raise _other_program(address, "a page") from None


def _other_program(address: str, answer: str) -> UserError:
    return UserError(
        f"{address} answers with {answer}, so it is not Prefect's API; PREFECT_API_URL must be the address of the API, "
        f"as in http://127.0.0.1:4200/api"
    )


def no_answer(address: str, error: Exception) -> UserError:
    """Return the error for a server that cannot be reached."""
    return UserError(
        f"no Prefect server answers on {address} ({error or type(error).__name__}); start it, or unset PREFECT_API_URL "
        "to have one for the moment"
    )


def _flush_prefect() -> None:
    """Send the queued logs and events of Prefect's threads; later they would retry without a server, for minutes."""
    APILogWorker.drain_all(timeout=5)
    EventsWorker.drain_all(timeout=5)


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on a port; None means any free port."""
    try:
        return socket.create_server((HOST, port or 0))
    except OSError as error:
        raise UserError(f"{HOST}:{port}: cannot listen there ({error.strerror}); choose another --port") from None


def _wait_until_healthy(process: subprocess.Popen[bytes], address: str, log_file: Path) -> None:
    deadline = time.monotonic() + START_S
    with httpx.Client(timeout=5) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get(f"{address}/api/health").status_code == httpx.codes.OK:
                    return
            time.sleep(0.1)
    how = "did not answer" if process.poll() is None else f"ended with exit code {process.returncode}"
    raise UserError(f"the Prefect server on {address} {how}; see {log_file}")

import signal
import socket
from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import interrupt_on_hangup, server
from pipelines.console import UserError


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            temporary_settings(restore_defaults={PREFECT_API_URL}),
            pytest.raises(UserError, match=rf"127\.0\.0\.1:{port}: cannot listen there \(.+\); name another --port"),
            server(port),
        ):
            pass


def test_the_users_own_server_is_used() -> None:
    with temporary_settings({PREFECT_API_URL: "http://elsewhere:4200/api"}), server() as address:
        assert address == "http://elsewhere:4200"


@pytest.fixture
def hangup() -> Iterator[None]:
    """Put SIGHUP back to what it was."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
def test_a_hangup_interrupts_once() -> None:
    interrupt_on_hangup()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)  # nothing happens


@pytest.mark.usefixtures("hangup")
def test_nohup_is_respected() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt_on_hangup()
    signal.raise_signal(signal.SIGHUP)  # nothing happens

import socket

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from base.console import UserError
from flows.server import server


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

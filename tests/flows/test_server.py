import socket
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings
from served import until

from base.console import UserError
from flows import reproduce, serve
from flows.server.lifetime import _listen, _Server, server


def test_a_taken_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            temporary_settings(restore_defaults={PREFECT_API_URL}),
            pytest.raises(UserError, match=rf"127\.0\.0\.1:{port}: cannot listen there \(.+\); choose another --port"),
            server(port),
        ):
            pass


def test_a_server_that_cannot_live_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port stays open while the server is restarted; after the last attempt connections are refused."""
    monkeypatch.setattr("flows.server.lifetime.guarded", lambda command, keep: ["sh", "-c", "exit 3"])
    with (
        temporary_settings({PREFECT_HOME: tmp_path}, restore_defaults={PREFECT_API_URL}),
        pytest.raises(UserError, match=r"ended with exit code 3; see .*server\.log"),
        server(),
    ):
        pass
    with _listen(None) as listener, (tmp_path / "log").open("w") as log:
        address = listener.getsockname()
        with _Server(listener, page=False, auth_string="me:hush", log=log):

            def is_refused() -> bool:
                with socket.socket() as client:
                    return client.connect_ex(address) != 0

            until(is_refused, pause=0.05)


@pytest.mark.parametrize("command", ["reproduce", "serve"])
def test_a_wrong_password_is_told_in_one_line(
    prefect_server: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}\n")
    (project / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    with temporary_settings({PREFECT_API_AUTH_STRING: "me:guessed"}), pytest.raises(SystemExit) as exit_:
        {"reproduce": reproduce.main, "serve": serve.main}[command]([])
    assert exit_.value.code == 2
    address = prefect_server.removesuffix("/api")
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: the Prefect server on {address} refuses the password; set PREFECT_API_AUTH_STRING to the server's "
        "(that of `make ui` is in .state/prefect/password of its workspace)"
    )


def test_the_users_own_server_is_used(prefect_server: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_server}), server() as address:
        assert f"{address}/api" == prefect_server

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc_projects import ROOT, database, new_project

import flows  # noqa: F401  sets Prefect's environment before Prefect is imported


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """Let started processes receive SIGINT and SIGHUP, even if the suite runs in the background or under nohup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the API's address of one real server for the session, with its own database and password.

    This process and the processes that it starts get the password.
    """
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

    from flows.server.lifetime import server

    home = tmp_path_factory.mktemp("prefect")
    shutil.copy2(database(), home)  # the server would work seconds to make it
    with (
        pytest.MonkeyPatch.context() as environment,
        temporary_settings({PREFECT_HOME: home}, restore_defaults={PREFECT_API_URL}),
    ):
        environment.setenv("PREFECT_HOME", str(home))
        with server() as address:
            environment.setenv("PREFECT_API_AUTH_STRING", str(PREFECT_API_AUTH_STRING.value()))
            yield f"{address}/api"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty DVC project, which is also the working directory."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # commands import this repository's code, not an installed package
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    new_project(root)
    return root

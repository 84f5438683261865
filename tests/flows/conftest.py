import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT, new_project

import flows  # noqa: F401  sets Prefect's environment before Prefect is imported


@pytest.fixture(scope="session", autouse=True)
def signals() -> Iterator[None]:
    """What the tests start hears Ctrl-C and hang-ups, also where the suite runs in the background or under nohup."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """One real server for the session, with a database of its own; yields its API's address."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DVC project, which is also the working directory."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # commands run this code, wherever the package was installed from
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    new_project(root)
    return root

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT, new_project

import flows  # noqa: F401  sets Prefect's environment before Prefect is imported


@pytest.fixture(scope="session", autouse=True)
def hangups() -> Iterator[None]:
    """What the tests start hears a hang-up, also under nohup, which hands on that it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


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

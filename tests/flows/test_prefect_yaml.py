"""prefect.yaml: `prefect deploy --all` to a server with the pool, and a worker that runs the deployments."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dvc_projects import ROOT
from served import Server, until, write_project

pytestmark = pytest.mark.slow


def prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", "--no-prompt", *words]


@pytest.fixture(scope="module")
def server(prefect_server: str, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Return a client of the session's server, with the pool and the deployments of prefect.yaml."""
    server = Server(prefect_server)
    server.post("work_pools/", name="clicksight", type="process")
    home = tmp_path_factory.mktemp("prefect")
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(home)}
    done = subprocess.run(
        prefect("deploy", "--all"), cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return server


@contextmanager
def worker(server: Server, root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a worker of the pool that runs flows in a project."""
    environment = {
        **os.environ,
        "PREFECT_API_URL": server.api,
        "PREFECT_HOME": str(root / ".state/prefect"),
        "PYTHONPATH": str(ROOT),
        "CLICKSIGHT_ROOT": str(root),
        "CUDA_VISIBLE_DEVICES": "",
        "PREFECT_WORKER_QUERY_SECONDS": "1",  # instead of 10
    }
    with (root / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            prefect("worker", "start", "--pool", "clicksight", "--name", "machine", "--with-healthcheck"),
            cwd=root.parent, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(180)


def test_prefect_deploys_what_the_file_says(server: Server) -> None:
    deployments: list[dict[str, Any]] = server.post("deployments/filter")
    pool_deployments = {
        deployment["entrypoint"]: deployment for deployment in deployments if deployment["name"] == "pool"
    }
    assert set(pool_deployments) == {"flows/reproduce.py:reproduce", "flows/sweeps.py:sweep", "flows/daily.py:daily"}
    for deployment in pool_deployments.values():
        assert deployment["work_pool_name"] == "clicksight"
        (step,) = deployment["pull_steps"]
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $CLICKSIGHT_ROOT }}"}}
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["schedules"] == []
    assert "its whole matrix" in str(pool_deployments["flows/reproduce.py:reproduce"]["parameter_openapi_schema"])


def test_a_run_goes_on_when_its_worker_is_killed(server: Server, tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    (root / "flows").symlink_to(ROOT / "flows")
    (root / "hang").touch()
    with worker(server, root) as first:
        run = server.start("reproduce/pool", cpu_slots=1)
        until((root / "pid").exists)
        first.kill()
        first.wait()
        (root / "hang").unlink()  # from here on nobody reads the run's output
        state = server.final_state(run)
    assert state["name"] == "Completed", state["message"]
    assert state["message"] == "10 stages: 10 ran, 0 were up to date"
    with worker(server, root):
        again = server.final_state(server.start("reproduce/pool"))
    assert again["message"] == "10 stages: 0 ran, 10 were up to date"

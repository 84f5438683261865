"""prefect.yaml, read by Prefect itself: `prefect deploy --all` against a server with the pool."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from processes import ROOT


@pytest.mark.slow
def test_prefect_deploys_what_the_file_says(prefect_server: str, tmp_path: Path) -> None:
    pool = {"name": "clicksight", "type": "process"}
    httpx.post(f"{prefect_server}/work_pools/", json=pool, timeout=60).raise_for_status()
    environment = {**os.environ, "PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    deployments = httpx.post(f"{prefect_server}/deployments/filter", json={}, timeout=60).json()
    ours = {deployment["entrypoint"]: deployment for deployment in deployments if deployment["name"] == "pool"}
    assert set(ours) == {"flows/reproduce.py:reproduce", "flows/sweeps.py:sweep", "flows/daily.py:daily"}
    for deployment in ours.values():
        assert deployment["work_pool_name"] == "clicksight"
        (step,) = deployment["pull_steps"]
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $CLICKSIGHT_ROOT }}"}}
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["schedules"] == []
    assert "its whole matrix" in str(ours["flows/reproduce.py:reproduce"]["parameter_openapi_schema"])

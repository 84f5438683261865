import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_page_and_deployment_stand_on_this_machine_only_and_end_cleanly(
    tmp_path: Path, port: int, how: signal.Signals
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    served = subprocess.Popen(
        [sys.executable, "-m", "flows.serve", "--port", str(port)], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert served.stdout is not None
        assert served.stdout.readline() == f"The flows' page: http://127.0.0.1:{port}\n"
        deployment = f"http://127.0.0.1:{port}/api/deployments/name/reproduce/workspace"
        while (answer := httpx.get(deployment)).status_code != httpx.codes.OK:
            assert served.poll() is None
            time.sleep(0.2)
        parameters = answer.json()["parameter_openapi_schema"]["properties"]
        assert parameters["cpu_slots"]["anyOf"][0] == {"minimum": 1, "type": "integer"}
        assert "its whole matrix" in parameters["targets"]["description"]
        assert "<html" in httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True).text
        family = [psutil.Process(served.pid), *psutil.Process(served.pid).children(recursive=True)]
        listening = [
            connection.laddr.ip
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}
        assert (tmp_path / ".state/prefect/prefect.db").exists()
    finally:
        served.send_signal(how)
        served.communicate(timeout=60)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0

"""A tiny project, served as `make ui` serves the real one, and a client for its server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from dvc_projects import ROOT, new_project
from PIL import Image
from prefect.settings import PREFECT_API_AUTH_STRING

# A study whose runs have two axes, a report of its evaluations, and trainings that hang while the file hang exists; the
# file may contain a number, and then only trainings after so many others hang.
GRAPH = """\
stages:
  draw: {cmd: cp seed.txt drawn.txt, deps: [seed.txt], outs: [drawn.txt]}
  train_shapes:
    matrix: {method: [round, flat], sides: [3, 4], seed: [7]}
    meta: {device: gpu}
    cmd: >-
      echo ${item.method}-${item.sides} >> trained;
      if [ -e hang ] && [ $(wc -l < trained) -gt "0$(cat hang)" ]; then
      echo $$ > pid; while [ -e hang ]; do sleep 0.1; done; fi;
      mkdir -p models; cp drawn.txt models/${item.method}-${item.sides}
    deps: [drawn.txt]
    outs: ["models/${item.method}-${item.sides}"]
  evaluate_shapes:
    matrix: {method: [round, flat], sides: [3, 4], seed: [7]}
    cmd: >-
      mkdir -p data/evaluations;
      echo '{"target": {"accuracy": 0.${item.sides}}}' > data/evaluations/${item.method}-${item.sides}.json
    deps: ["models/${item.method}-${item.sides}"]
    metrics: ["data/evaluations/${item.method}-${item.sides}.json"]
  report:
    cmd: >-
      mkdir -p data/shapes/report data/report; cp table.md data/shapes/report/table_viii.md;
      cp plot.png data/shapes/report/sides.png; echo '<p>The report' > data/report/index.html
    deps: [data/evaluations, table.md, plot.png]
    outs: [data/shapes/report, data/report]
"""
DEPLOYMENTS = """\
- {name: workspace, flow: reproduce}
- {name: often, flow: reproduce, parameters: {targets: [draw]}, schedules: [{interval_s: 15, active: true}]}
"""


def write_project(root: Path) -> Path:
    """Write the project and return its folder."""
    root.mkdir(parents=True, exist_ok=True)
    new_project(root)
    (root / "dvc.yaml").write_text(GRAPH)
    (root / "deployments.yaml").write_text(DEPLOYMENTS)
    (root / "seed.txt").write_text("1\n")
    (root / "table.md").write_text("| method | Acc-T |\n|---|---|\n| round | 40.0 |\n")
    Image.new("RGB", (160, 90), "orange").save(root / "plot.png")
    return root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], Any], seconds: float = 180, pause: float = 0.25) -> Any:
    """Wait until a function returns a true value, and return the value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if found := what():
                return found
        time.sleep(pause)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class Server:
    """A client of a Prefect server that has the password.

    Args:
        api: the address of the server's API.
        auth_string: the login, in the form ``user:password``; None means the one in this process's settings.
    """

    def __init__(self, api: str, auth_string: str | None = None) -> None:
        self.api = api
        user, _, password = (auth_string or PREFECT_API_AUTH_STRING.value() or "").partition(":")
        # One client: to make one takes 40 ms, which is most of what a request costs. A restarted server knows no old
        # connections, so none is kept.
        self._client = httpx.Client(auth=(user, password), timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
        self._client_id = str(uuid.uuid4())
        self._token = ""

    def get(self, path: str) -> Any:
        return self.ask("GET", path).raise_for_status().json()

    def post(self, path: str, **content: Any) -> Any:
        return self.ask("POST", path, content).raise_for_status().json()

    def ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """Send a request to the server; repeat it while SQLite is busy, as Prefect's own client does."""

        def asked() -> httpx.Response | None:
            headers = {} if method == "GET" else self.csrf_headers()
            address = f"{self.api}/{path}"
            answer = self._client.request(method, address, json=content, headers=headers)
            return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

        return until(lambda: (answer := asked()) is not None and [answer])[0]

    def csrf_headers(self) -> dict[str, str]:
        """Return the headers that a request needs if it changes anything."""
        if not self._token:
            self._token = self.get(f"csrf-token?client={self._client_id}")["token"]
        return {"Prefect-Csrf-Token": self._token, "Prefect-Csrf-Client": self._client_id}

    def deployment(self, name: str) -> dict[str, Any]:
        """Wait until the deployment FLOW/NAME exists, and return it."""
        return until(lambda: (answer := self.ask("GET", f"deployments/name/{name}")).is_success and answer.json())

    def start(self, name: str, **parameters: Any) -> str:
        """Start a flow run of a deployment and return the run's id."""
        identity = self.deployment(name)["id"]
        return str(self.post(f"deployments/{identity}/create_flow_run", parameters=parameters)["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.get(f"flow_runs/{run}")["state"])

    def final_state(self, run: str, seconds: float = 180) -> dict[str, Any]:
        ends = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
        until(lambda: self.state(run)["type"] in ends, seconds, pause=0.5)  # a question costs the server 20 ms
        return self.state(run)

    def artifact(self, key: str) -> Any:
        """Return the data of the newest artifact of a key."""
        return self.get(f"artifacts/{key}/latest")["data"]

    def logs(self, run: str) -> str:
        """Return the log lines of a flow run and its tasks."""
        found = self.post("logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
        return "\n".join(line["message"] for line in found)


class Served(Server):
    """A process `python -m flows.serve` in a folder, and a client of its server.

    It asks every two seconds for runs that are due, as Prefect would every ten seconds.
    """

    def __init__(self, root: Path, port: int, **environment: str) -> None:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.root, self.address = root, f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.serve", "--port", str(port)],
            cwd=root,
            env={
                **own,
                "PYTHONPATH": str(ROOT),
                "CUDA_VISIBLE_DEVICES": "",
                "PREFECT_RUNNER_POLL_FREQUENCY": "2",
                **environment,
            },
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert self.process.stdout is not None
            assert self.process.stdout.readline() == f"The flows' page: {self.address}\n"
            file = root / ".state/prefect/password"
            assert self.process.stdout.readline() == f"Its password is in {file}\n"  # because the output is no terminal
            self.password = file.read_text().strip()
            super().__init__(f"{self.address}/api", self.password)
        except BaseException:  # an interrupted test run leaves no process behind
            self.process.kill()
            raise

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.communicate(timeout=180)


@contextlib.contextmanager
def serve(root: Path, port: int | None = None, **environment: str) -> Iterator[Served]:
    served = Served(root, port or free_port(), **environment)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.end()

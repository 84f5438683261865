"""Each GPU runs one stage at a time, across all workspaces of a server, even if flows or the server are killed."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from dvc_projects import ROOT, is_alive, new_project
from gate import Gate
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from served import Server, until

from flows.gpus import LEASE_S, Limits, find_gpus, limit_of
from flows.reproduce import reproduce

# mkdir fails if another stage, of this or another workspace, runs on the GPU.
TRAININGS = """\
stages:
  train:
    matrix: {n: [1, 2, 3, 4, 5, 6]}
    meta: {device: gpu}
    cmd: >-
      set -e; mkdir ../gpu-$CUDA_VISIBLE_DEVICES; sleep 0.2; rmdir ../gpu-$CUDA_VISIBLE_DEVICES;
      echo $CUDA_VISIBLE_DEVICES > on-${item.n}
    outs: ["on-${item.n}"]
"""
# The stage hangs until the file go exists; it then fails if the file broken exists.
HANGING = """\
stages:
  train:
    meta: {device: gpu}
    cmd: echo $$ > pid; while [ ! -e go ]; do sleep 0.1; done; echo $CUDA_VISIBLE_DEVICES > on; test ! -e broken
    outs: [{on: {persist: true}}]
"""

# The same stage ignores Ctrl-C and SIGTERM, so it uses its GPU for some seconds more.
DEAF = HANGING.replace("cmd: echo", "cmd: trap '' INT TERM; echo")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0,1,5", ["0", "1", "5"]), ("", []), ("-1", []), ("GPU-8932f937", ["GPU-8932f937"])],
)
def test_gpus_are_those_that_the_environment_names(value: str, expected: list[str]) -> None:
    assert find_gpus({"CUDA_VISIBLE_DEVICES": value}) == expected


def test_a_limit_is_named_after_gpu_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.node", lambda: "alpha.example")
    assert limit_of("0") == "gpu-0@alpha.example"
    assert limit_of("MIG-GPU-8932/1/0") == "gpu-MIG-GPU-8932-1-0@alpha.example"


IMPATIENT = "import flows.gpus; flows.gpus.PATIENCE_S = 3; from flows.reproduce import main; main(['--cpu-slots', '1'])"


def start(root: Path, api: str, gpus: str, **environment: str) -> subprocess.Popen[str]:
    """Start the flow in a workspace, with pretended GPUs and a short patience for a server that does not answer."""
    return subprocess.Popen(
        [sys.executable, "-c", IMPATIENT],
        cwd=root,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": api, "CUDA_VISIBLE_DEVICES": gpus, **environment
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip


def hang(root: Path, api: str, gpus: str, stage: str = HANGING) -> subprocess.Popen[str]:
    """Start the flow in a new workspace and return it when its training hangs."""
    root.mkdir(exist_ok=True)
    new_project(root)
    (root / "dvc.yaml").write_text(stage)
    flow = start(root, api, gpus)
    until(lambda: flow.poll() is not None or ((root / "pid").exists() and (root / "pid").read_text()), pause=0.05)
    assert flow.poll() is None, flow.communicate()
    return flow


def finished(flow: subprocess.Popen[str]) -> str:
    """Wait until a flow completes and return its error output."""
    _, output = flow.communicate(timeout=180)
    assert flow.returncode == 0, output
    return output


def slots(api: str, gpu: str) -> int:
    """Return the number of taken slots of a GPU's limit."""
    return int(Server(api).get(f"v2/concurrency_limits/{limit_of(gpu)}")["active_slots"])


def make_limit(api: str, gpu: str, limit: int) -> None:
    """Create a limit as the page does."""
    Server(api).post("v2/concurrency_limits/", name=limit_of(gpu), limit=limit)


def change(api: str, gpu: str, **values: Any) -> None:
    """Change a limit as the page does."""
    Server(api).ask("PATCH", f"v2/concurrency_limits/{limit_of(gpu)}", values).raise_for_status()


@pytest.mark.slow
def test_two_workspaces_never_share_a_gpu(prefect_server: str, tmp_path: Path) -> None:
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        root.mkdir()
        new_project(root)
        (root / "dvc.yaml").write_text(TRAININGS)
    for flow in [start(root, prefect_server, "20,21") for root in roots]:
        finished(flow)
    used = [(root / f"on-{n}").read_text().strip() for root in roots for n in range(1, 7)]
    assert set(used) == {"20", "21"}
    assert [slots(prefect_server, gpu) for gpu in ("20", "21")] == [0, 0]


@pytest.mark.slow
def test_a_killed_flow_leaves_its_gpu_to_the_next_and_nothing_running(prefect_server: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    flow = hang(root, prefect_server, "22")
    assert slots(prefect_server, "22") == 1
    run = json.loads((root / ".state/flow.lock").read_text())["run"]
    server = Server(prefect_server)

    def task_runs() -> list[dict[str, Any]]:
        return list(server.post("task_runs/filter", flow_runs={"id": {"any_": [run]}}))

    until(lambda: [task["state_type"] for task in task_runs()] == ["RUNNING"])
    flow.kill()
    killed_at = time.monotonic()
    flow.communicate()
    assert slots(prefect_server, "22") == 1
    (root / "go").touch()
    finished(start(root, prefect_server, "22"))
    assert time.monotonic() - killed_at < LEASE_S  # the lease was released before it could expire
    assert slots(prefect_server, "22") == 0
    assert server.state(run)["name"] == "Crashed"
    (task,) = task_runs()
    assert task["state_name"] == "Crashed"
    assert task["state"]["message"] == f"its process {flow.pid} was killed; what was finished stays"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "failure"])
def test_a_gpu_is_free_again_at_once(prefect_server: str, tmp_path: Path, how: str) -> None:
    root = tmp_path / "project"
    flow = hang(root, prefect_server, "23")
    training = int((root / "pid").read_text())
    assert slots(prefect_server, "23") == 1
    if how == "failure":
        (root / "broken").touch()
        (root / "go").touch()
    else:
        flow.send_signal(signal.SIGINT if how == "Ctrl-C" else signal.SIGTERM)
    flow.communicate(timeout=180)
    assert flow.returncode == (1 if how == "failure" else 130)
    assert slots(prefect_server, "23") == 0
    assert not is_alive(training)


@pytest.mark.slow
def test_a_gpu_is_not_given_back_before_its_stage_has_ended(prefect_server: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    flow = hang(root, prefect_server, "28", stage=DEAF)
    training = int((root / "pid").read_text())
    flow.send_signal(signal.SIGINT)
    while flow.poll() is None:
        if slots(prefect_server, "28") == 0:
            assert not is_alive(training)
        time.sleep(0.05)
    flow.communicate()
    assert not is_alive(training)
    assert slots(prefect_server, "28") == 0


@pytest.mark.slow
def test_a_limit_of_0_keeps_a_gpu_free(prefect_server: str, tmp_path: Path) -> None:
    make_limit(prefect_server, "24", limit=0)
    (tmp_path / "go").touch()
    finished(start_with_hanging_graph(tmp_path, prefect_server, "24,25"))
    assert (tmp_path / "on").read_text() == "25\n"
    (tmp_path / "on").unlink()
    waiting = start_with_hanging_graph(tmp_path, prefect_server, "24")
    run = until(lambda: json.loads((tmp_path / ".state/flow.lock").read_text() or "{}").get("run"))
    until(lambda: "train waits for a GPU" in Server(prefect_server).logs(run))
    assert not (tmp_path / "on").exists()
    change(prefect_server, "24", limit=1)
    finished(waiting)
    assert (tmp_path / "on").read_text() == "24\n"


def start_with_hanging_graph(root: Path, api: str, gpus: str) -> subprocess.Popen[str]:
    new_project(root)
    (root / "dvc.yaml").write_text(HANGING)
    return start(root, api, gpus)


@pytest.mark.slow
def test_an_inactive_limit_says_nothing(prefect_server: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    flow = hang(first, prefect_server, "26")
    change(prefect_server, "26", active=False)
    second.mkdir()
    (second / "go").touch()
    finished(start_with_hanging_graph(second, prefect_server, "26"))
    (first / "go").touch()
    finished(flow)


@pytest.mark.slow
def test_what_is_up_to_date_needs_no_gpu(
    prefect_server: str, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (project / "dvc.yaml").write_text(HANGING)
    (project / "go").touch()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "27")
    assert reproduce([], 1, return_state=True).is_completed()
    flow = hang(tmp_path / "other", prefect_server, "27")
    state = reproduce([], 1, return_state=True)
    assert state.message == "1 stages: 0 ran, 1 were up to date"
    (tmp_path / "other" / "go").touch()
    finished(flow)


@pytest.fixture
def gate(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Yield a proxy to the server that can be shut; limits notice within seconds that it is shut."""
    monkeypatch.setattr("flows.gpus.RENEW_S", 0.1)
    monkeypatch.setattr("flows.gpus.PATIENCE_S", 3.0)
    monkeypatch.setattr("flows.gpus.get_run_logger", lambda: logging.getLogger("clicksight"))
    gate = Gate(prefect_server)
    with temporary_settings({PREFECT_API_URL: gate.api, PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield gate
    gate.shut()


def take_soon(limits: Limits, gpu: str) -> None:
    """Occupy a limit as a flow does, which asks again if the server is late; long before a lease would expire."""
    until(lambda: limits.take(gpu), seconds=LEASE_S / 3, pause=0.1)


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.message for record in caplog.records if record.name == "clicksight" and record.levelno == level]


def test_while_the_server_is_away_gpus_are_had_without_it(
    gate: Gate, prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    saved: list[Mapping[str, str]] = []
    with Limits(["30", "31", "32"], saved.append) as limits:
        take_soon(limits, "30")
        assert len(saved[-1]["leases"].split()) == 1
        gate.shut()
        assert not limits.take("31")  # the server may be restarting
        until(lambda: limits.take("31"), pause=0.1)
        assert limits.take("32")
        limits.give_back("32")
        assert len(messages(caplog, logging.WARNING)) == 1
        assert "this flow run assigns its GPUs without it" in messages(caplog, logging.WARNING)[0]
        gate.open()
        until(lambda: len(saved[-1]["leases"].split()) == 2, pause=0.1)
        assert [slots(prefect_server, gpu) for gpu in ("30", "31")] == [1, 1]
        assert messages(caplog, logging.INFO)[-1] == "the Prefect server answers again"
        assert len(messages(caplog, logging.WARNING)) == 1
    assert saved[-1] == {"leases": ""}
    assert [slots(prefect_server, gpu) for gpu in ("30", "31")] == [0, 0]


def test_a_server_that_was_never_there_stops_nothing(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    gate.shut()
    with Limits(["33", "34"], lambda facts: None) as limits:
        until(lambda: limits.take("33"), pause=0.1)
        assert limits.take("34")
    assert len(messages(caplog, logging.WARNING)) == 1


def test_what_could_not_be_given_back_is_given_back_later(gate: Gate, prefect_server: str) -> None:
    with Limits(["35"], lambda facts: None) as limits:
        take_soon(limits, "35")
        gate.shut()
        limits.give_back("35")
        assert slots(prefect_server, "35") == 1
        gate.open()
        take_soon(limits, "35")  # this run's own old lease is no obstacle
        assert slots(prefect_server, "35") == 1
    assert slots(prefect_server, "35") == 0


def test_a_lease_that_has_ended_is_had_again_or_told(
    gate: Gate, prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    saved: list[Mapping[str, str]] = []
    server, path = Server(prefect_server), "v2/concurrency_limits"

    def end_lease(lease: str = "") -> None:
        """End a lease as the server does when it was not renewed."""
        content = {"lease_id": lease or saved[-1]["leases"]}
        server.ask("POST", f"{path}/decrement-with-lease", content).raise_for_status()

    with Limits(["36"], saved.append) as limits:
        take_soon(limits, "36")
        first = saved[-1]["leases"]
        end_lease()
        until(lambda: saved[-1]["leases"] not in ("", first), pause=0.05)
        assert slots(prefect_server, "36") == 1
        assert messages(caplog, logging.WARNING) == []
        gate.shut()
        end_lease()
        lease = server.post(f"{path}/increment-with-lease", names=[limit_of("36")], slots=1)["lease_id"]
        gate.open()
        until(lambda: any("another flow run may use GPU 36" in line for line in messages(caplog, logging.WARNING)))
        limits.give_back("36")
        assert slots(prefect_server, "36") == 1  # the other holder's
        assert not limits.take("36")
        end_lease(lease)
        take_soon(limits, "36")
    assert slots(prefect_server, "36") == 0


def test_a_limit_that_is_set_to_0_meanwhile_is_obeyed_and_had_again(
    gate: Gate, prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Limits(["38"], lambda facts: None) as limits:
        take_soon(limits, "38")
        change(prefect_server, "38", limit=0)
        limits.give_back("38")
        deadline = time.monotonic() + 6  # twice the patience for a silent server
        while time.monotonic() < deadline:
            assert not limits.take("38")
            time.sleep(0.1)
        change(prefect_server, "38", limit=1)
        take_soon(limits, "38")
    assert slots(prefect_server, "38") == 0
    assert messages(caplog, logging.WARNING) == []


GONE = """\
stages:
  train:
    matrix: {n: [1, 2, 3]}
    meta: {device: gpu}
    cmd: touch began-${item.n}; while [ ! -e go ]; do sleep 0.1; done; cp dvc.yaml model-${item.n}
    outs: ["model-${item.n}"]
  report: {cmd: cat model-1 model-2 model-3 > report, deps: [model-1, model-2, model-3], outs: [report]}
"""


@pytest.mark.slow
def test_a_server_that_is_gone_for_good_costs_no_work(prefect_server: str, tmp_path: Path) -> None:
    new_project(tmp_path)
    (tmp_path / "dvc.yaml").write_text(GONE)
    gate = Gate(prefect_server)
    flow = start(
        tmp_path, gate.api, "37", PREFECT_CLIENT_MAX_RETRIES="1"
    )  # with more retries the flow would send its final state for 2 minutes
    until(lambda: list(tmp_path.glob("began-*")))
    gate.shut()
    (tmp_path / "go").touch()
    text = finished(flow)
    assert f"The Prefect server on {gate.api.removesuffix('/api')} is gone (" in text
    assert "Completed: 4 stages: 4 ran, 0 were up to date" in text
    assert (tmp_path / "report").read_text() == GONE * 3
    again = start(tmp_path, prefect_server, "37")
    assert "Completed: 4 stages: 0 ran, 4 were up to date" in finished(again)

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, struct_pb2

from pipelines.beam.flink import worker

ROOT = Path(__file__).parents[4]
NAMES = (
    "WORKER_ID", "PIPELINE_OPTIONS", "LOGGING_API_SERVICE_DESCRIPTOR", "CONTROL_API_SERVICE_DESCRIPTOR",
    "RUNNER_CAPABILITIES",
)  # fmt: skip


class Provision(beam_provision_api_pb2_grpc.ProvisionServiceServicer):
    """Answers as a TaskManager does; remembers who has asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def GetProvisionInfo(self, request: object, context: grpc.ServicerContext) -> object:
        self.asked += [value for key, value in context.invocation_metadata() if key == "worker_id"]
        info = beam_provision_api_pb2.ProvisionInfo(
            pipeline_options=json_format.ParseDict({"beam:option:job_name:v1": "mine"}, struct_pb2.Struct()),
            logging_endpoint=endpoints_pb2.ApiServiceDescriptor(url="127.0.0.1:1"),
            control_endpoint=endpoints_pb2.ApiServiceDescriptor(url="127.0.0.1:2"),
            runner_capabilities=["one", "two"],
        )
        return beam_provision_api_pb2.GetProvisionInfoResponse(info=info)


@pytest.fixture
def provision() -> Iterator[tuple[str, Provision]]:
    service, server = Provision(), grpc.server(ThreadPoolExecutor(1))
    beam_provision_api_pb2_grpc.add_ProvisionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", service
    server.stop(0)


def test_beams_worker_runs_in_the_commands_folder_with_what_the_task_manager_answers(
    provision: tuple[str, Provision], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, service = provision
    seen: dict[str, str] = {}

    def run(arguments: list[str]) -> None:
        seen.update({name: os.environ[name] for name in NAMES}, folder=str(Path.cwd()))

    monkeypatch.setattr(sdk_worker_main, "main", run)
    monkeypatch.setenv(worker.COMMANDS_FOLDER, str(tmp_path))
    monkeypatch.chdir(ROOT)
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that monkeypatch removes what the worker sets
    worker.main(["--id", "7-1", "--provision_endpoint", endpoint, "--logging_endpoint", "unused:1"])
    assert service.asked == ["7-1"]
    assert json.loads(seen["PIPELINE_OPTIONS"]) == {"beam:option:job_name:v1": "mine"}
    assert seen["LOGGING_API_SERVICE_DESCRIPTOR"] == 'url: "127.0.0.1:1"\n'
    assert seen["CONTROL_API_SERVICE_DESCRIPTOR"] == 'url: "127.0.0.1:2"\n'
    assert seen["RUNNER_CAPABILITIES"] == "one two"
    assert seen["WORKER_ID"] == "7-1"
    assert seen["folder"] == str(tmp_path)


def test_a_worker_ends_with_its_parent() -> None:
    child = (
        "import os, time; from pipelines.beam.flink.worker import call_when_orphaned; "
        "call_when_orphaned(os.getppid(), lambda: os._exit(3)); print('ready', flush=True); time.sleep(60)"
    )
    start = f"subprocess.Popen([sys.executable, '-c', {child!r}])"
    parent = f"import subprocess, sys; print({start}.pid, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", parent], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert process.stdout.readline() == "ready\n"
    orphan = psutil.Process(pid)
    time.sleep(3 * worker.LOOK_S)
    assert orphan.status() != psutil.STATUS_ZOMBIE
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while orphan.is_running() and orphan.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)

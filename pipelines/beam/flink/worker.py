"""The program of a Beam worker on a Flink cluster (Beam's PROCESS environment); a TaskManager starts it for a job.

Beam has this program for containers only, where it is written in Go. It asks the TaskManager for the job's options and
for the addresses to connect to, and then runs Beam's worker. It ends when its TaskManager ends, so that a killed
TaskManager leaves no process that still writes.
"""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format, text_format

from base.proxies import bypass_for_this_machine

COMMANDS_FOLDER = "CLICKSIGHT_FOLDER"  # the folder that relative paths of the job start from
LOOK_S = 0.3  # seconds between two looks at the parent
CONNECT_S = 60  # seconds that a TaskManager has to answer


def call_when_orphaned(parent: int, action: Callable[[], object]) -> None:
    """Call the action once this process has another parent than ``parent``, which has then ended; return at once."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        action()

    threading.Thread(target=watch, name="orphaned", daemon=True).start()


def provision(endpoint: str, worker_id: str) -> beam_provision_api_pb2.ProvisionInfo:
    """Ask the TaskManager at an address for what this worker needs.

    Raises:
        grpc.RpcError: it didn't answer in time.
    """
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        answer = service.GetProvisionInfo(
            request, metadata=[("worker_id", worker_id)], timeout=CONNECT_S, wait_for_ready=True
        )
    return answer.info


def variables(info: beam_provision_api_pb2.ProvisionInfo, worker_id: str, control_endpoint: str) -> dict[str, str]:
    """Return the environment variables from which Beam's worker reads its options."""
    control = info.control_endpoint
    if not control.url:
        control = endpoints_pb2.ApiServiceDescriptor(url=control_endpoint)
    found = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "LOGGING_API_SERVICE_DESCRIPTOR": text_format.MessageToString(info.logging_endpoint),
        "CONTROL_API_SERVICE_DESCRIPTOR": text_format.MessageToString(control),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    if info.status_endpoint.url:
        found["STATUS_API_SERVICE_DESCRIPTOR"] = text_format.MessageToString(info.status_endpoint)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run a worker until its job or its TaskManager ends."""
    parent = os.getppid()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--id", required=True, help="the worker's name in its job")
    parser.add_argument("--provision_endpoint", required=True, metavar="HOST:PORT", help="the TaskManager's address")
    parser.add_argument("--control_endpoint", default="", metavar="HOST:PORT", help="if the TaskManager names none")
    arguments, _ = parser.parse_known_args(argv)  # a runner may give the other addresses too
    call_when_orphaned(parent, lambda: os.kill(os.getpid(), signal.SIGKILL))
    bypass_for_this_machine()
    info = provision(arguments.provision_endpoint, arguments.id)
    os.environ.update(variables(info, arguments.id, arguments.control_endpoint))
    os.chdir(os.environ.get(COMMANDS_FOLDER, "."))
    sdk_worker_main.main([])


if __name__ == "__main__":
    main()

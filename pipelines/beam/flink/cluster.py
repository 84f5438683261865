"""A Flink session cluster on this machine: start it, look at it, stop it.

    python -m pipelines.beam.flink.cluster up     # or: make cluster
    python -m pipelines.build_click_features --clicks logs --output features --runner cluster
    python -m pipelines.beam.flink.cluster status
    python -m pipelines.beam.flink.cluster down   # or: make cluster-down

The cluster has one JobManager and two TaskManagers, and the ZooKeeper that lets a JobManager go on after a restart. A
process that ends is started again. The logs are in .state/flink/logs. docs/cluster.md says what happens after faults,
and how to run on several machines.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from base.console import UserError, log, stage
from pipelines.beam.flink.rest import Flink
from pipelines.beam.flink.settings import FOLDER, HOST, JOB_SERVER, Ports, Size, programs
from pipelines.beam.flink.supervisor import STOP_S, Place, supervise

READY_S = 240  # seconds that a cluster has to start
LOOK_S = 0.5
TAIL = 15  # lines of a log that an error shows


def up(place: Place, jar: Path, java: str, size: Size) -> None:
    """Start a cluster that stays after this command; return when it can run jobs.

    Raises:
        UserError: it doesn't get ready; the message names the logs.
    """
    if place.running() is not None:
        log.info("cluster: runs already, see `make cluster-status`")
        return
    if not jar.is_file():
        raise UserError(f"{jar}: no such file; `make {JOB_SERVER}` downloads it")
    if shutil.which(java) is None:
        raise UserError(f"{java}: command not found; Flink needs Java 11 or newer")
    shutil.rmtree(place.logs, ignore_errors=True)
    place.logs.mkdir(parents=True)
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "run", "--folder", str(place.folder)]
    command += ["--jar", str(jar), "--java", java, "--task-managers", str(size.task_managers)]
    command += ["--slots", str(size.slots), "--heap-mib", str(size.heap_mib), "--managed-mib", str(size.managed_mib)]
    with (place.logs / "supervisor.log").open("ab") as file:
        supervisor = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + READY_S
    try:
        while not is_ready(place, size):
            if supervisor.poll() is not None:
                raise UserError("\n".join(["the cluster has ended while it started", *_ends_of_logs(place)]))
            if time.monotonic() > deadline:
                raise UserError(
                    "\n".join([f"the cluster was not ready after {READY_S} s; see {place.logs}", *_ends_of_logs(place)])
                )
            time.sleep(LOOK_S)
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        raise


def is_ready(place: Place, size: Size) -> bool:
    """Return True if all TaskManagers have joined the JobManager."""
    state = place.running() or {}
    if "rest" not in state:
        return False
    try:
        with Flink(state["rest"]) as flink:
            return bool(flink.overview()["taskmanagers"] >= size.task_managers)
    except httpx.HTTPError:
        return False


def _ends_of_logs(place: Place) -> list[str]:
    lines = []
    for file in sorted(place.logs.glob("*.log")):
        text = file.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in text if "ERROR" in line or "error:" in line or "Exception" in line]
        lines += [f"{file}: {line}" for line in (errors or text)[-TAIL:]]
    return lines


def run(place: Place, jar: Path, java: str, size: Size) -> None:
    """Run a cluster until a signal ends it.

    Raises:
        UserError: another cluster runs here.
    """
    with place.held():
        place.logs.mkdir(exist_ok=True)
        shutil.rmtree(place.work, ignore_errors=True)
        place.work.mkdir()
        ports = Ports.free()
        about = {
            "rest": f"http://{HOST}:{ports.rest}",
            "parallelism": size.task_managers * size.slots,
        }
        try:
            supervise(place, programs(jar, java, size, ports, place.work.absolute()), about)
        finally:
            shutil.rmtree(place.work, ignore_errors=True)


def down(place: Place) -> bool:
    """Stop the cluster, wait until all its processes have ended; return False if none ran.

    Raises:
        UserError: it has only begun to start, so its process id is not known yet.
    """
    deadline = time.monotonic() + 3 * STOP_S
    has_been_asked = False
    while (state := place.running()) is not None:
        pid = state.get("pid")
        if time.monotonic() > deadline:
            if pid is None:
                raise UserError(f"{place.folder}: the cluster is about to start or stop; try again")
            # The kernel then kills all programs (supervisor.py), and the workers notice that they are orphaned.
            _send(pid, signal.SIGKILL)
        elif pid is not None and not has_been_asked:
            _send(pid, signal.SIGTERM)
            has_been_asked = True
        time.sleep(LOOK_S / 5)
    shutil.rmtree(place.work, ignore_errors=True)
    place.state.unlink(missing_ok=True)
    return has_been_asked


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def status(place: Place) -> list[str]:
    """Return lines about a cluster: its addresses, processes, slots and jobs."""
    state = place.running()
    if state is None:
        return ["no cluster runs here; `make cluster` starts one"]
    if "rest" not in state:
        return ["the cluster is about to start or stop"]
    lines = [f"JobManager {state['rest']}"]
    for name, process in state["programs"].items():
        again = f", started {process['starts']} times" if process["starts"] > 1 else ""
        lines.append(f"{name}: " + (f"process {process['pid']}" if process["pid"] else "waits to start again") + again)
    try:
        with Flink(state["rest"]) as flink:
            found = flink.overview()
    except httpx.HTTPError as error:
        return [*lines, f"the JobManager does not answer ({error})"]
    jobs = {name: found[f"jobs-{name}"] for name in ("running", "finished", "failed", "cancelled")}
    slots = f"{found['slots-available']} of {found['slots-total']} slots free"
    return [*lines, f"{found['taskmanagers']} TaskManagers, {slots}", f"jobs: {jobs}"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("up", "down", "status", "run"), help="run: as up, but until Ctrl-C")
    parser.add_argument("--folder", type=Path, default=FOLDER, metavar="DIR", help=f"state and logs ({FOLDER})")
    parser.add_argument("--jar", type=Path, default=JOB_SERVER, metavar="JAR", help=f"Beam's job server ({JOB_SERVER})")
    parser.add_argument("--java", default="java", metavar="PROGRAM", help="the Java launcher (java)")
    parser.add_argument("--task-managers", type=int, default=Size.task_managers, metavar="N", help="processes (2)")
    parser.add_argument("--slots", type=int, default=Size.slots, metavar="N", help="tasks at a time of each (1)")
    parser.add_argument("--heap-mib", type=int, default=Size.heap_mib, metavar="MIB", help="Java memory of each (384)")
    parser.add_argument("--managed-mib", type=int, default=Size.managed_mib, metavar="MIB", help="sort buffers (256)")
    arguments = parser.parse_args(argv)
    place = Place(arguments.folder)
    size = Size(arguments.task_managers, arguments.slots, arguments.heap_mib, arguments.managed_mib)
    with stage(f"cluster {arguments.action}") as closing:
        if min(size.task_managers, size.slots, size.heap_mib, size.managed_mib) < 1:
            raise UserError("--task-managers, --slots, --heap-mib and --managed-mib must be at least 1")
        if arguments.action == "up":
            up(place, arguments.jar, arguments.java, size)
            closing.next_command = "a command with --runner cluster; `make cluster-down` stops the cluster"
        elif arguments.action == "run":
            run(place, arguments.jar, arguments.java, size)
        elif arguments.action == "down":
            log.info("cluster: %s", "has stopped" if down(place) else "none ran here")
        if arguments.action in ("up", "status"):
            for line in status(place):
                log.info("cluster: %s", line)


if __name__ == "__main__":
    main()

"""Kill processes of a Flink cluster in mid-job: `make cluster`, then `python -m benchmarks.flink.kills --kills 20`.

Each run builds click features of one log on the cluster. At a random moment of the job, counted in finished tasks, one
random process gets SIGKILL: the ZooKeeper, the JobManager, a TaskManager, or the worker of a TaskManager. Nobody else
helps: the cluster starts its processes again, Flink the job's lost parts. Each result must have the same bytes as a
build in process, with no other file beside it. The benchmark prints a Markdown table; the exit code is 1 if a run
failed or has other bytes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command, fingerprint, results_of  # noqa: E402
from pipelines.beam.flink.rest import Flink  # noqa: E402
from pipelines.beam.flink.settings import FOLDER  # noqa: E402
from pipelines.beam.flink.supervisor import Place  # noqa: E402

LONGEST_S = 600
OWN = {**os.environ, **ENVIRONMENT}


@dataclass(frozen=True)
class Run:
    """What happened in a run; ``tasks`` finished tasks before the kill, -1 if the job ended before."""

    victim: str
    tasks: int
    seconds: float
    verdict: str


class Cluster:
    """The cluster of ``make cluster``."""

    def __init__(self) -> None:
        state = Place(FOLDER).running()
        if not state or "rest" not in state:
            sys.exit("no cluster runs here: run `make cluster`")
        self.flink = Flink(state["rest"])

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes that may be killed; the worker of a TaskManager as in ``taskmanager-1's worker``."""
        found = {}
        for name, program in (Place(FOLDER).running() or {"programs": {}})["programs"].items():
            if program["pid"] is not None:
                found[name] = psutil.Process(program["pid"])
                for worker in found[name].children():
                    found[f"{name}'s worker"] = worker
        return found

    def jobs(self) -> dict[str, int]:
        """Return how many tasks each job has finished, by the job's id; {} while the JobManager doesn't answer."""
        try:
            return {job["jid"]: job["tasks"]["finished"] for job in self.flink.jobs()}
        except httpx.HTTPError:
            return {}


def run(cluster: Cluster, log: Path, output: Path, victim: str, after_tasks: int) -> tuple[int, float, int]:
    """Build on the cluster and kill a process; return the tasks before the kill, the seconds and the exit code."""
    before = cluster.jobs().keys()
    started = time.perf_counter()
    killed_at = -1
    process = subprocess.Popen(build_command([log], output, "--runner", "cluster"), cwd=ROOT, env=OWN)
    try:
        while process.poll() is None and killed_at < 0:
            finished = max((tasks for job, tasks in cluster.jobs().items() if job not in before), default=-1)
            if finished >= after_tasks and (target := cluster.processes().get(victim)) is not None:
                target.kill()
                killed_at = finished
            time.sleep(0.05)
        code = process.wait(LONGEST_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        code = process.wait()
    return killed_at, time.perf_counter() - started, code


def runs(cluster: Cluster, log: Path, place: Path, kills: int, most_tasks: int, seed: int) -> Iterator[Run]:
    """Yield one run after the other."""
    random = np.random.default_rng(seed)
    right = results_of(fingerprint(build(log, place / "right")))
    victims = ["zookeeper", "jobmanager", *(f"taskmanager-{n}{of}" for n in (1, 2) for of in ("", "'s worker"))]
    for number in range(kills):
        victim, after_tasks = victims[random.integers(len(victims))], int(random.integers(1, most_tasks))
        output = place / f"run-{number}" / "out"
        output.parent.mkdir()
        tasks, seconds, code = run(cluster, log, output, victim, after_tasks)
        if code:
            verdict = f"exit code {code}"
        elif results_of(fingerprint(output)) != right:
            verdict = "OTHER BYTES"
        elif left := [path.name for path in output.parent.rglob(".*")]:
            verdict = f"left {left}"
        else:
            verdict = "same bytes"
        shutil.rmtree(output.parent)
        yield Run(victim, tasks, seconds, verdict)


def build(log: Path, output: Path) -> Path:
    """Build in process."""
    subprocess.run(build_command([log], output), cwd=ROOT, env=OWN, check=True, stderr=subprocess.DEVNULL)
    return output


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="runs (20)")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the log (200,000)")
    parser.add_argument("--most-tasks", type=int, default=120, help="finished tasks before the latest kill (120)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cluster = Cluster()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="cluster-kills-") as folder:
        log = Path(folder) / "log.tsv"
        zipf_log.write_log(log, arguments.rows, seed=arguments.seed)
        print("| run | killed | after tasks | seconds | result |\n|---|---|---|---|---|")
        arguments_of_runs = (log, Path(folder), arguments.kills, arguments.most_tasks, arguments.seed)
        for number, one in enumerate(runs(cluster, *arguments_of_runs), 1):
            after = "ended before" if one.tasks < 0 else one.tasks
            print(f"| {number} | {one.victim} | {after} | {one.seconds:.0f} | {one.verdict} |", flush=True)
            failed += one.verdict != "same bytes"
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

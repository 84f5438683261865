"""Jobs on a Flink session cluster write the same bytes as in process, whatever is killed; run by `make test-flink`."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import httpx
import psutil
import pytest
from click_builds import build, digest, write_log
from small_images import write_jpeg

from base.console import UserError
from pipelines.beam.flink import cluster, runner
from pipelines.beam.flink.rest import Flink
from pipelines.beam.flink.settings import JOB_SERVER, Size
from pipelines.beam.flink.supervisor import Place
from pipelines.ingest import click_data
from pipelines.tags import tag_log

ROOT = Path(__file__).parents[1]
ON_CLUSTER = ("--runner", "cluster")
LOG = [
    ("b", "golden retriever puppy", 7),
    ("a", "golden dog", 3),
    ("a", "dog dog DOG!", 2),
    ("c", "可爱的金毛犬", 11),
    ("", "no image", 5),
    ("b", "clicked less than once", 0),
]

pytestmark = [pytest.mark.timeout(600), pytest.mark.flink, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start a cluster for all tests; check at the end that nothing of it is left."""
    place = Place(tmp_path_factory.mktemp("flink"))
    cluster.up(place, ROOT / JOB_SERVER, "java", Size())
    try:
        yield place
        state = place.running()
        assert state is not None
        processes = descendants(state["pid"])
        assert len(processes) >= 5  # supervisor, ZooKeeper, JobManager, two TaskManagers
        assert cluster.down(place)
        assert alive(processes) == []
        assert place.running() is None
        assert sorted(path.name for path in place.folder.iterdir()) == ["cluster.lock", "logs"]
    finally:
        cluster.down(place)


@pytest.fixture(autouse=True)
def _use(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FOLDER", place.folder)


@pytest.fixture
def flink(place: Place) -> Iterator[Flink]:
    state = place.running()
    assert state is not None
    with Flink(state["rest"]) as flink:
        yield flink


def descendants(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that run; the supervisor is this process's child, so it may be a zombie for a moment."""
    _, alive = psutil.wait_procs(processes, timeout=1)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def large_log(path: Path) -> Path:
    """Write a log whose job takes long enough to be hit in its middle."""
    random = Random(11)
    words = [f"word{number}" for number in range(3_000)]
    rows = [
        (f"image {random.randrange(9_999)}", " ".join(random.choices(words, k=3)), number % 9 + 1)
        for number in range(150_000)
    ]
    return write_log(rows, path)


class Fault(threading.Thread):
    """Does something once a new job has finished some of its tasks, and remembers whether the job still ran then."""

    def __init__(self, address: str, tasks: int, action: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.flink, self.tasks, self.action = Flink(address), tasks, action
        self.before = {job["jid"] for job in self.jobs()}
        self.hit = ""  # the state of the job when the action began
        self.start()

    def jobs(self) -> list[dict]:
        try:
            return self.flink.jobs()
        except httpx.HTTPError:
            return []

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            for job in self.jobs():
                if job["jid"] not in self.before and job["tasks"]["finished"] >= self.tasks:
                    self.hit = job["state"]
                    self.action()
                    return
            time.sleep(0.05)


def build_through_a_fault(log: Path, output: Path, flink: Flink, action: Callable[[], object]) -> None:
    fault = Fault(flink.address, 40, action)
    build(log, output, *ON_CLUSTER)
    fault.join()
    assert fault.hit == "RUNNING"


def kill(place: Place, name: str) -> list[psutil.Process]:
    """Kill a process of the cluster; return it and all its descendants."""
    state = place.running()
    assert state is not None
    killed = descendants(state["programs"][name]["pid"])
    killed[0].kill()
    return killed


def starts(place: Place, name: str) -> int:
    state = place.running()
    assert state is not None
    return state["programs"][name]["starts"]


def test_a_day_added_to_a_build_has_the_same_bytes(tmp_path: Path) -> None:
    """Whole builds are compared after the faults below."""
    (tmp_path / "logs").mkdir()
    write_log(LOG[:3], tmp_path / "logs" / "one.tsv")
    (tmp_path / "logs/two.tsv.gz").write_bytes(gzip.compress(write_log(LOG[3:], tmp_path / "two").read_bytes()))
    build(write_log([("z", "golden gate", 5), ("", "nothing", 2)], tmp_path / "day.tsv"), tmp_path / "day")
    for name, options in (("here", ()), ("cluster", ON_CLUSTER)):
        build(tmp_path / "logs", tmp_path / name, "--previous", str(tmp_path / "day"), *options)
    assert digest(tmp_path / "cluster") == digest(tmp_path / "here")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_ingest_of_images_and_of_tags_has_the_same_bytes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    names = {"s1": "red fox", "s2": "coyote", "s3": "red fox"}
    for number, name in enumerate(names):
        write_jpeg(raw / f"source/images/{name}.jpg", number)
    write_jpeg(raw / "target/red fox/t1.jpg", 9)
    (raw / "target/red fox/t2.jpg").write_bytes(b"no image")
    (raw / "source/labels.tsv").write_text("".join(f"{image}\t{name}\n" for image, name in names.items()))
    write_log([("s1", "fox", 3), ("s2", "prairie wolf", 5), ("s1", "fox", 4), ("s3", "", 1)], raw / "source/clicks.tsv")
    tags = tmp_path / "tags.tsv"
    rows = [("u1", "p1", "Sea", 5), ("u2", "p1", "sea", 3), ("u2", "p2", "blue", 9), ("u1", "p2", "blue", 7)]
    tags.write_text("".join("\t".join(map(str, row)) + "\n" for row in [("user_id", "image_id", "tag", "time"), *rows]))
    params = ["--params", str(ROOT / "params.yaml")]
    for name, options in (("here", ()), ("cluster", ON_CLUSTER)):
        click_data.main(["--raw", str(raw), "--output", str(tmp_path / name / "ingested"), *params, *options])
        tag_log.main(["--log", str(tags), "--output", str(tmp_path / name / "tags"), *params, *options])
    here = files(tmp_path / "here")
    assert files(tmp_path / "cluster") == here
    assert {"ingested/images/part-00000.parquet", "tags/posts/part-00000.parquet"} <= here.keys()


def test_a_killed_worker_and_a_killed_task_manager_change_no_byte(tmp_path: Path, place: Place, flink: Flink) -> None:
    log = large_log(tmp_path / "log.tsv")
    state = place.running()
    assert state is not None
    one, other = (psutil.Process(state["programs"][f"taskmanager-{number}"]["pid"]) for number in (1, 2))
    killed: list[psutil.Process] = []

    def kill_both() -> None:
        while not (workers := one.children()) or not other.children():  # a worker may just change for another one
            time.sleep(0.01)
        workers[0].kill()
        killed.extend(kill(place, "taskmanager-2"))

    build_through_a_fault(log, tmp_path / "out", flink, kill_both)
    assert digest(tmp_path / "out") == digest(build(log, tmp_path / "here"))
    assert starts(place, "taskmanager-2") == 2
    assert starts(place, "taskmanager-1") == 1
    assert len(killed) >= 2  # with the job's worker
    assert alive(killed) == []
    assert hidden(tmp_path) == []


def test_a_killed_job_manager_changes_no_byte(tmp_path: Path, place: Place, flink: Flink) -> None:
    log = large_log(tmp_path / "log.tsv")
    build_through_a_fault(log, tmp_path / "out", flink, lambda: kill(place, "jobmanager"))
    assert digest(tmp_path / "out") == digest(build(log, tmp_path / "here"))
    assert starts(place, "jobmanager") == 2
    assert hidden(tmp_path) == []


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_a_damaged_log_ends_the_job_at_once(tmp_path: Path, flink: Flink) -> None:
    log = tmp_path / "cut.tsv.gz"
    log.write_bytes(gzip.compress(large_log(tmp_path / "whole").read_bytes())[:-20])
    with pytest.raises(SystemExit) as ended:
        build(log, tmp_path / "out", *ON_CLUSTER)
    assert ended.value.code == 2
    assert isinstance(ended.value.__cause__, UserError)
    assert str(ended.value.__cause__).startswith(f"{log}: damaged or cut short (")
    jobs = flink.jobs()
    last = max(jobs, key=lambda job: job["start-time"])
    assert last["state"] == "CANCELED"  # by the command: Flink would have tried it for a minute
    assert not (tmp_path / "out").exists()
    assert hidden(tmp_path) == []


def test_sigterm_cancels_the_job_and_relative_paths_are_those_of_the_command(tmp_path: Path, flink: Flink) -> None:
    large_log(tmp_path / "log.tsv")
    command = [sys.executable, "-m", "pipelines.build_click_features", "--clicks", "log.tsv", "--output", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = ["--flink_master", flink.address, "--parallelism", "2", "--flink_job_server_jar", str(ROOT / JOB_SERVER)]
    process = subprocess.Popen([*command, *ON_CLUSTER, *options], cwd=tmp_path, env=environment)
    fault = Fault(flink.address, 20, lambda: process.send_signal(signal.SIGTERM))  # workers have read the log by then
    fault.join()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert fault.hit == "RUNNING"
    states = [job["state"] for job in fault.jobs() if job["jid"] not in fault.before]
    assert states == ["CANCELED"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.tsv"]


def test_a_second_cluster_in_the_same_folder_is_refused(place: Place) -> None:
    command = [sys.executable, "-m", "pipelines.beam.flink.cluster", "run", "--folder", str(place.folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 2
    assert f"error: {place.folder}: a cluster runs here already; `make cluster-down` stops it" in run.stderr
    assert json.loads(place.state.read_text())["programs"].keys() == {
        "zookeeper", "jobmanager", "taskmanager-1", "taskmanager-2"
    }  # fmt: skip

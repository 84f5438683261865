import json
from pathlib import Path

import httpx
import pytest

from base.console import UserError
from pipelines.beam.flink import cluster
from pipelines.beam.flink.settings import Size
from pipelines.beam.flink.supervisor import Place

# Stands for Java: fails, as where the memory does not suffice.
JAVA = "#!/bin/sh\necho 'OutOfMemoryError: no heap, Exception' >&2\nexit 1\n"


@pytest.fixture
def java(tmp_path: Path) -> str:
    java = tmp_path / "java"
    java.write_text(JAVA)
    java.chmod(0o755)
    return str(java)


def test_a_cluster_that_does_not_get_ready_is_an_error_with_its_logs_and_leaves_nothing(
    tmp_path: Path, java: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "READY_S", 3)
    place, jar = Place(tmp_path / "flink"), tmp_path / "jar"
    jar.touch()
    with pytest.raises(UserError) as raised:
        cluster.up(place, jar, java, Size())
    first, *lines = str(raised.value).splitlines()
    assert first == f"the cluster was not ready after 3 s; see {place.logs}"
    assert f"{place.logs}/zookeeper.log: OutOfMemoryError: no heap, Exception" in lines
    assert place.running() is None
    assert sorted(path.name for path in place.folder.iterdir()) == ["cluster.lock", "logs"]


def test_without_a_jar_or_java_nothing_starts(tmp_path: Path) -> None:
    place, jar = Place(tmp_path / "flink"), tmp_path / "jar"
    with pytest.raises(UserError, match=r"no such file; `make \.state/flink/job-server\.jar` downloads it"):
        cluster.up(place, jar, "java", Size())
    jar.touch()
    with pytest.raises(UserError, match=r"^no-java: command not found; Flink needs Java 11 or newer$"):
        cluster.up(place, jar, "no-java", Size())
    assert not place.folder.exists()


def test_where_no_cluster_runs_none_is_stopped(tmp_path: Path) -> None:
    place = Place(tmp_path / "flink")
    assert not cluster.down(place)
    assert cluster.status(place) == ["no cluster runs here; `make cluster` starts one"]


def test_the_status_names_processes_slots_and_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    programs = {"zookeeper": {"pid": 12, "starts": 1}, "jobmanager": {"pid": None, "starts": 3}}
    with place.held():
        assert cluster.status(place) == ["the cluster is about to start or stop"]
        place.state.write_text(json.dumps({"rest": "http://127.0.0.1:9", "programs": programs}))
        overview = {"slots-available": 1, "slots-total": 2, "taskmanagers": 2, "jobs-running": 1}
        overview |= {"jobs-finished": 4, "jobs-failed": 0, "jobs-cancelled": 0}
        monkeypatch.setattr(cluster.Flink, "overview", lambda self: overview)
        assert cluster.status(place) == [
            "JobManager http://127.0.0.1:9",
            "zookeeper: process 12",
            "jobmanager: waits to start again, started 3 times",
            "2 TaskManagers, 1 of 2 slots free",
            "jobs: {'running': 1, 'finished': 4, 'failed': 0, 'cancelled': 0}",
        ]

        def refuse(self: object) -> None:
            raise httpx.ConnectError("refused")

        monkeypatch.setattr(cluster.Flink, "overview", refuse)
        assert cluster.status(place)[-1] == "the JobManager does not answer (refused)"


@pytest.mark.parametrize("option", ["--task-managers", "--slots", "--heap-mib", "--managed-mib"])
def test_sizes_are_positive(tmp_path: Path, option: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cluster.main(["up", "--folder", str(tmp_path), option, "0"])
    assert "must be at least 1" in caplog.text

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineState

from base.console import UserError
from pipelines.beam.flink import runner
from pipelines.beam.flink.patience import Patience
from pipelines.beam.flink.runner import ClusterResult, ClusterRunner, set_defaults
from pipelines.beam.flink.settings import KEEP_WORKERS_MS
from pipelines.beam.flink.supervisor import Place

REQUEST = httpx.Request("GET", "http://there")
SILENT = httpx.ConnectError("refused")
UNKNOWN = httpx.HTTPStatusError("unknown", request=REQUEST, response=httpx.Response(404, request=REQUEST))
USER_ERROR = (
    "java.lang.RuntimeException: Error received: Traceback (most recent call last):\n"
    '  File "steps.py", line 3, in read\n    raise UserError(path)\n'
    "base.console.UserError: log.tsv: cut short [while running 'Read']\n\n\tat java.Thread.run(Thread.java:840)\n"
)
BUG = USER_ERROR.replace("base.console.UserError: log.tsv: cut short", "ZeroDivisionError: division by zero")


class FakeFlink:
    """Answers ``job`` with one state after another; an exception is raised. The last one is repeated."""

    address = "http://there"

    def __init__(self, *states: Any, causes: tuple[str, ...] = (), slots: int = 2) -> None:
        self.states, self.found, self.slots = list(states), list(causes), slots
        self.cancelled: list[str] = []

    def job_named(self, name: str) -> str | None:
        return f"job of {name}"

    def job(self, job: str) -> dict[str, Any]:
        if job in self.cancelled:
            return {"state": "CANCELED", "vertices": []}
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        return {"state": state, "vertices": []}

    def causes(self, job: str) -> list[str]:
        return self.found

    def overview(self) -> dict[str, Any]:
        return {"slots-total": self.slots}

    def counters(self, job: str) -> str | None:
        return None

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)


class FakeSubmission:
    made: ClassVar[list["FakeSubmission"]] = []

    def __init__(self, has_ended: bool = True) -> None:
        self.made.append(self)
        self.name, self.ended, self.is_closed = f"name {len(self.made)}", has_ended, False

    def has_ended(self) -> bool:
        return self.ended

    def reason(self) -> str:
        return "no leader"

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "LOOK_S", 0.001)
    FakeSubmission.made.clear()


def result(flink: Any, submit: Callable[[], Any] = FakeSubmission, **seconds: float) -> ClusterResult:
    return ClusterResult(flink, submit, 2, Patience(**{"end_s": 0.1, **seconds}))


def test_a_job_that_ends_well_has_no_counters_if_the_cluster_has_forgotten_them() -> None:
    flink = FakeFlink("RUNNING", SILENT, "RUNNING", "FINISHED")
    job = result(flink)
    assert job.wait_until_finish() == PipelineState.DONE
    assert flink.cancelled == []
    assert [one.is_closed for one in FakeSubmission.made] == [True]
    with pytest.raises(NotImplementedError):
        job.metrics()


def test_faults_of_the_cluster_are_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    flink = FakeFlink("RUNNING", "RUNNING", "FINISHED", causes=("x.Y: second", "x.Y: first"))
    with caplog.at_level("WARNING", "clicksight"):
        result(flink).wait_until_finish()
    assert caplog.messages == [f"a part of the job starts again: {which}" for which in ("first", "second")]


def test_a_user_error_of_a_worker_cancels_the_job_at_once() -> None:
    flink = FakeFlink("RESTARTING", causes=(USER_ERROR,))
    with pytest.raises(UserError, match=r"^log\.tsv: cut short$"):
        result(flink).wait_until_finish()
    assert flink.cancelled == ["job of name 1"]


def test_the_same_bug_a_second_time_cancels_the_job() -> None:
    flink = FakeFlink("RESTARTING", causes=(BUG.replace("Thread.run", "Other.run"), BUG))
    with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero"):
        result(flink).wait_until_finish()
    assert flink.cancelled == ["job of name 1"]


def test_a_bug_that_went_away_is_no_error() -> None:
    result(FakeFlink("RESTARTING", "FINISHED", causes=(BUG,))).wait_until_finish()


def test_a_job_that_flink_gave_up_is_an_error_with_its_last_cause() -> None:
    flink = FakeFlink("FAILED", causes=("x.Y: last", "x.Y: first"))
    with pytest.raises(UserError, match="the cluster at http://there has given up the job: last; see"):
        result(flink).wait_until_finish()


def test_a_job_that_somebody_cancels_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^the job was cancelled on http://there$"):
        result(FakeFlink("RUNNING", "CANCELED")).wait_until_finish()


def test_a_lost_job_is_submitted_again(caplog: pytest.LogCaptureFixture) -> None:
    flink = FakeFlink(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "FINISHED")
    with caplog.at_level("WARNING", "clicksight"):
        result(flink, lost_s=0).wait_until_finish()
    assert len(FakeSubmission.made) == 3  # following and cancelling a job ask for one state each
    assert "does not know the job any more; it is submitted again" in caplog.messages[0]
    assert all(one.is_closed for one in FakeSubmission.made)


def test_a_job_that_cannot_be_submitted_is_an_error_after_three_attempts() -> None:
    flink = FakeFlink("RUNNING")
    flink.job_named = lambda name: None  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"could not be submitted to http://there \(no leader\), 3 times$"):
        result(flink).wait_until_finish()
    assert len(FakeSubmission.made) == 3


def test_a_silent_cluster_ends_the_command() -> None:
    with pytest.raises(UserError, match=r"has not answered for 0 s \(refused\)"):
        result(FakeFlink(SILENT), answer_s=0.05, end_s=0.05).wait_until_finish()


def test_too_few_slots_end_the_command() -> None:
    flink = FakeFlink("RUNNING", slots=1)
    with pytest.raises(UserError, match="has had 1 of the 2 slots that the job needs for 0 s"):
        result(flink, slots_s=0.05).wait_until_finish()
    assert flink.cancelled == ["job of name 1"]


def test_sigterm_cancels_the_job_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    flink = FakeFlink("RUNNING")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(SystemExit) as ended:
        result(flink).wait_until_finish()
    assert ended.value.code == 143
    assert flink.cancelled == ["job of name 1"]
    assert signal.getsignal(signal.SIGTERM) is before


def options(*texts: str) -> PipelineOptions:
    return PipelineOptions(["--runner", "cluster", *texts])


@pytest.fixture
def jar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    jar = tmp_path / "jar"
    jar.touch()
    return str(jar)


def test_the_running_cluster_is_the_default(jar: str, tmp_path: Path) -> None:
    state = {"rest": "http://127.0.0.1:7", "parallelism": 6}
    (tmp_path / "cluster.json").write_text(json.dumps(state))
    given = ["--flink_job_server_jar", jar, "--job_server_java_launcher", "true"]
    chosen, named = options(*given), options(*given, "--flink_master", "there:8081", "--parallelism", "9")
    with Place(tmp_path).held():
        set_defaults(chosen)
        set_defaults(named)
    flink, other = chosen.view_as(FlinkRunnerOptions), named.view_as(FlinkRunnerOptions)
    assert (flink.flink_master, flink.parallelism) == ("http://127.0.0.1:7", 6)
    assert (other.flink_master, other.parallelism) == ("there:8081", 9)
    assert chosen.view_as(PortableOptions).environment_cache_millis == KEEP_WORKERS_MS


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "^--runner cluster: no cluster runs here; start one with `make cluster`, or give --flink_master"),
        (["--flink_master", "there:8081"], "^--flink_master needs --parallelism N"),
        (["--requirements_file", "x"], "^--requirements_file: has no effect with --runner cluster"),
        (
            ["--flink_master", "there", "--parallelism", "1", "--flink_job_server_jar", "no.jar"],
            "^no.jar: no such",
        ),
    ],
)
def test_impossible_options_are_refused(jar: str, texts: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        set_defaults(options(*texts))


def test_without_java_nothing_starts(jar: str) -> None:
    texts = ["--flink_master", "there", "--parallelism", "1", "--flink_job_server_jar", jar]
    with pytest.raises(UserError, match=r"^no-java: command not found; Flink needs Java 11 or newer"):
        set_defaults(options(*texts, "--job_server_java_launcher", "no-java"))


def test_workers_run_in_the_commands_folder_unless_another_environment_is_named() -> None:
    environment = ClusterRunner().default_environment(options())
    assert environment.env["CLICKSIGHT_FOLDER"] == str(Path.cwd())
    assert os.access(environment.command, os.X_OK)
    container = ClusterRunner().default_environment(
        options("--environment_type", "DOCKER", "--environment_config", "mine:1")
    )
    assert container.container_image == "mine:1"

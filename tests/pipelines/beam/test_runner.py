import time
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.testing.util import assert_that, equal_to
from click_builds import LOG, build, digest, write_log

from base.artifacts import read_tables
from base.console import UserError
from base.stores import location
from pipelines.beam import runner
from pipelines.beam.flink.settings import JOB_SERVER
from pipelines.beam.runner import check_places, is_in_process, pipeline
from pipelines.beam.shards import shard_files

THREADS = ["--direct_num_workers", "2", "--direct_running_mode", "multi_threading"]


@pytest.mark.parametrize("arguments", [[], ["--runner", "DirectRunner"], ["--runner=FnApiRunner"]])
def test_the_in_process_runner_is_named_so_that_none_is_downloaded(arguments: list[str]) -> None:
    assert is_in_process(arguments)
    with pipeline(arguments) as p:
        assert type(p.runner) is FnApiRunner
        assert_that(p | beam.Create([3, 1]) | beam.Map(lambda number: number + 1), equal_to([2, 4]))


def test_other_runners_come_by_beams_own_options() -> None:
    arguments = ["--runner", "FlinkRunner", "--flink_master", "localhost:8081", "--job_endpoint", "localhost:8099"]
    assert not is_in_process(arguments)
    p = pipeline(arguments)
    assert type(p.runner).__name__ == "FlinkRunner"
    assert p.options.get_all_options()["flink_master"] == "localhost:8081"
    assert p.options.get_all_options()["flink_job_server_jar"] is None


DATAFLOW = {
    "project": "clicksight-tests",
    "region": "europe-west1",
    "temp_location": "gs://clicksight-tests/temporary",
    "staging_location": "gs://clicksight-tests/staging",
    "sdk_container_image": "europe-docker.pkg.dev/clicksight-tests/beam/clicksight:1",
    "max_num_workers": "8",
    "service_account_email": "features@clicksight-tests.iam.gserviceaccount.com",
}


def test_dataflows_options_reach_beam_unchanged() -> None:
    p = pipeline(
        ["--runner", "DataflowRunner", *(text for name, value in DATAFLOW.items() for text in (f"--{name}", value))]
    )
    assert type(p.runner).__name__ == "DataflowRunner"
    given = p.options.get_all_options(drop_default=True)
    assert {name: str(given[name]) for name in DATAFLOW} == DATAFLOW


class FakeRunner(FnApiRunner):
    """A runner of somebody else, which is named by its class; runs the job as the in-process runner does."""

    seen: ClassVar[list[dict[str, Any]]] = []

    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        self.seen.append(options.get_all_options(drop_default=True, retain_unknown_options=True))
        return super().run_pipeline(pipeline, options)


def test_another_runner_gets_the_commands_job_with_all_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "FakeRunner", FakeRunner, raising=False)
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    log = write_log(LOG, tmp_path / "log.tsv")
    options = ["--job_name", "features-1", "--region", "europe-west1", "--labels", "team=pets"]
    build(log, tmp_path / "out", "--runner", "pipelines.beam.runner.FakeRunner", *options)
    (seen,) = FakeRunner.seen
    assert (seen["job_name"], seen["region"], seen["labels"]) == ("features-1", "europe-west1", ["team=pets"])
    assert digest(tmp_path / "out") == digest(build(log, tmp_path / "in-process"))


@pytest.mark.parametrize(
    ("clicks", "output", "named"), [("log.tsv", "gs://bucket/out", "log.tsv"), ("gs://bucket/log.tsv", "out", "out")]
)
def test_dataflow_needs_paths_that_its_workers_reach(clicks: str, output: str, named: str) -> None:
    paths = [location(clicks), location(output)]
    with pytest.raises(UserError, match=f"^{named}: Dataflow's workers can't reach"):
        check_places(["--runner", "DataflowRunner"], paths)
    check_places([], paths)
    check_places(["--runner", "DataflowRunner"], [location("gs://bucket/out")])


def test_a_mistyped_option_is_an_error() -> None:
    with pytest.raises(UserError, match="unknown options: ouptut, top_wrods; --help"):
        pipeline(["--direct_num_workers", "1", "--top_wrods", "3", "--ouptut=x"])


@pytest.mark.parametrize(
    ("arguments", "strays"),
    [
        (["log2.tsv"], "log2.tsv"),
        (["log2.tsv", "--direct_num_workers", "1", "log3.tsv"], "log2.tsv log3.tsv"),
        (["--streaming", "log2.tsv"], "log2.tsv"),
        (["--", "log2.tsv"], "log2.tsv"),
        (["-x", "3"], "-x 3"),
        (["--runner", "FlinkRunner", "log2.tsv"], "log2.tsv"),
    ],
)
def test_what_belongs_to_no_option_is_an_error(arguments: list[str], strays: str) -> None:
    with pytest.raises(UserError, match=f"^{strays}: belongs to no option; put it after the option that it is for"):
        pipeline(arguments)


@pytest.mark.parametrize("name", ["FooRunner", "nowhere.FooRunner", "apache_beam.FooRunner"])
def test_a_runner_that_beam_lacks_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=f"^--runner {name}: .*(FooRunner|nowhere)"):
        pipeline(["--runner", name])


def test_another_runners_own_options_may_have_values() -> None:
    named = ["--runner", "FlinkRunner", "--job_endpoint", "localhost:8099", "--of_its_own", "4"]
    assert type(pipeline(named).runner).__name__ == "FlinkRunner"


def test_flink_takes_the_job_server_that_is_named_or_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flink = ["--runner", "FlinkRunner", "--job_server_java_launcher", "sh"]  # any program that every machine has
    message = r"needs a job server, but \.state/flink/job-server\.jar does not exist: run `make test-flink` to download"
    with pytest.raises(UserError, match=message):
        pipeline(flink)
    with pytest.raises(UserError, match=r"--flink_job_server_jar mine\.jar: no such file"):
        pipeline([*flink, "--flink_job_server_jar", "mine.jar"])
    for jar in (JOB_SERVER, Path("mine.jar")):
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.touch()
    named = pipeline([*flink, "--flink_job_server_jar", "mine.jar"])
    assert named.options.get_all_options()["flink_job_server_jar"] == "mine.jar"
    assert pipeline(flink).options.get_all_options()["flink_job_server_jar"] == str(JOB_SERVER)
    with pytest.raises(UserError, match="no-such-java: command not found; Flink's job server needs Java 11"):
        pipeline([*flink[:2], "--job_server_java_launcher", "no-such-java"])


def test_the_cluster_is_a_runner_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^--runner cluster: no cluster runs here"):
        pipeline(["--runner", "cluster"])
    assert not is_in_process(["--runner", "cluster"])
    named = ["--runner", "Cluster", "--flink_master", "there:8081", "--parallelism", "3"]
    Path("jar").touch()
    job = pipeline([*named, "--flink_job_server_jar", "jar", "--job_server_java_launcher", "sh"])
    assert type(job.runner).__name__ == "ClusterRunner"


# Not with several workers: after a failed job Beam sometimes waits for them for ever.
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (shard_files, "{}: no part-*.parquet shards here; run the stage that writes them"),
        (read_tables, "{}: no such Parquet file or folder of shards; run the stage that writes it"),
    ],
    ids=["UserError", "FileNotFoundError"],
)
def test_workers_user_errors_arrive_as_they_were_raised_and_once(
    tmp_path: Path, function, message, capsys, caplog
) -> None:
    with pytest.raises(UserError) as error, pipeline() as job:
        _ = job | beam.Create([tmp_path]) | "Read" >> beam.Map(function)
    assert str(error.value) == message.format(tmp_path)
    assert str(tmp_path) not in caplog.text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "[Errno 2] No such file or directory: '{}'"),
        ("folder", "[Errno 21] Is a directory: '{}'"),
        ("file/below", "[Errno 20] Not a directory: '{}'"),
        ("n" * 300, "[Errno 36] File name too long: '{}'"),
    ],
)
def test_what_the_system_says_of_a_workers_file_is_a_user_error(tmp_path: Path, name, message, capsys, caplog) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as error, pipeline() as job:
        _ = job | beam.Create([tmp_path / name]) | "Read" >> beam.Map(Path.read_bytes)
    assert str(error.value) == message.format(tmp_path / name)
    assert str(tmp_path) not in caplog.text + "".join(capsys.readouterr())


def test_workers_other_errors_keep_their_traceback(caplog) -> None:
    with pytest.raises(ZeroDivisionError, match=r"division by zero \[while running 'Divide'\]"), pipeline() as job:
        _ = job | beam.Create([3]) | "Divide" >> beam.Map(lambda number: number / 0)
    assert "division by zero" in caplog.text


class Slow:
    """An element that takes long to write, like a batch of a large log."""


class SlowCoder(beam.coders.Coder):
    def encode(self, value: Slow) -> bytes:
        time.sleep(1.3)  # after 1 s, Beam's in-process workers would send the part written so far
        return b"slow"

    def decode(self, encoded: bytes) -> Slow:
        assert encoded == b"slow"
        return Slow()

    def estimate_size(self, value: Slow) -> int:
        return 4


@pytest.mark.slow
def test_elements_are_whole_however_long_they_take_to_write() -> None:
    beam.coders.registry.register_coder(Slow, SlowCoder)
    with pipeline(THREADS) as job:
        grouped = (
            job
            | beam.Create([7])
            | beam.Map(lambda key: (key, Slow())).with_output_types(tuple[int, Slow])
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, values: (key, len(list(values))))
        )
        assert_that(grouped, equal_to([(7, 1)]))

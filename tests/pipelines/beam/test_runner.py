import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from base.artifacts import read_tables
from base.console import UserError
from pipelines.beam.flink.settings import JOB_SERVER
from pipelines.beam.runner import is_in_process, pipeline
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

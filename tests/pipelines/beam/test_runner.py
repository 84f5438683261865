import sys
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from base.artifacts import read_tables
from base.console import UserError
from pipelines.beam.runner import JOB_SERVER, is_in_process, pipeline, user_error_in
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


def test_of_threads_that_break_only_the_one_that_watched_an_abandoned_job_server_is_not_told(monkeypatch) -> None:
    printed = []
    monkeypatch.setattr(threading, "excepthook", lambda thread: printed.append(repr(thread.exc_value)))

    def break_in_a_thread(error: Exception) -> None:
        def target() -> None:
            raise error

        thread = threading.Thread(target=target)
        thread.start()
        thread.join()

    closed = ValueError("Cannot monitor channel state: Channel closed!")
    others = [ValueError("Cannot monitor channel state"), RuntimeError(*closed.args)]
    hook = threading.excepthook
    with pipeline() as job:
        _ = job | beam.Create([0, 1, 2], reshuffle=False) | beam.Map(lambda n: break_in_a_thread([closed, *others][n]))
    assert sorted(printed) == sorted(map(repr, others))
    assert threading.excepthook is hook
    break_in_a_thread(closed)
    assert printed[2:] == [repr(closed)]


TRACEBACK = """\
java.lang.RuntimeException: Error received from SDK harness for instruction 2: Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "pipelines/ingest/click_log.py", line 193, in blocks
    raise UserError("log: cut short") from error
base.console.UserError: log: cut short

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/worker/sdk_worker.py", line 310, in _execute
    response = task()
               ^^^^^^
{} [while running 'Read/ParDo(Check)']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(FnApiControlClient.java:210)
"""


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("base.console.UserError: log: cut short", "log: cut short"),
        ("base.console.UserError: first\n  second: of three\nthird", "first\n  second: of three\nthird"),
        ("FileNotFoundError: [Errno 2] No such file: 'a'", "[Errno 2] No such file: 'a'"),
        ("RuntimeError: FileNotFoundError: [Errno 2] No such file: 'a'", "[Errno 2] No such file: 'a'"),
        ("RuntimeError: PermissionError: [Errno 13] Denied: 'a'", "[Errno 13] Denied: 'a'"),
        ("RuntimeError: OSError: [Errno 24] Too many open files", None),
        ("RuntimeError: KeyError: 'a'", None),
        ("ZeroDivisionError: division by zero", None),
        ("other.UserError: not ours", None),
    ],
)
def test_a_traceback_is_a_user_error_if_it_ends_with_one(last: str, message: str | None) -> None:
    found = user_error_in(TRACEBACK.format(last))
    assert (None if found is None else str(found)) == message


def test_of_what_workers_print_users_errors_leave_no_trace_not_even_an_empty_line(capsys) -> None:
    texts = ["before", TRACEBACK.format("base.console.UserError: log: cut short"), "", "after"]
    with pipeline() as job:
        _ = job | beam.Create([texts]) | beam.Map(lambda lines: [print(line, file=sys.stderr) for line in lines])
    assert capsys.readouterr().err == "before\n\nafter\n"


def test_other_text_is_no_user_error() -> None:
    assert user_error_in("base.console.UserError: log: cut short") is None
    assert user_error_in("Pipeline failed.") is None
    assert "did not start" in str(user_error_in("Service failed to start up with error 1"))


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

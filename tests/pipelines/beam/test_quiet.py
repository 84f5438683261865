import logging
import sys
import threading

import apache_beam as beam
import pytest

from base.console import UserError, log
from pipelines.beam.quiet import quiet_about_user_errors, user_error_in
from pipelines.beam.runner import pipeline


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


def in_a_thread(function) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def report_everything(name: str) -> None:
    """Log, print and raise in a thread, as Beam's threads do."""

    def report() -> None:
        logging.getLogger("apache_beam").warning("%s logged", name)
        print(f"{name} printed", file=sys.stderr)
        raise ValueError(f"{name} raised")

    in_a_thread(report)


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch, caplog, capsys):
    """Return a function that returns what has been logged, printed and raised by threads since its last call."""
    raised: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda thread: raised.append(str(thread.exc_value)))

    def reported() -> list[str]:
        texts = [*(record.getMessage() for record in caplog.records), *capsys.readouterr().err.splitlines(), *raised]
        caplog.clear()
        raised.clear()
        return texts

    yield reported
    with quiet_about_user_errors():
        pass


EVERYTHING = ["logged", "printed", "raised"]
USER_ERROR = TRACEBACK.format("base.console.UserError: log: cut short")


def show_a_user_error(how: str) -> None:
    if how == "printed":
        print(USER_ERROR, file=sys.stderr)
    else:
        logging.getLogger("apache_beam").error(USER_ERROR)


def failing_job(how: str, ends_with: Exception) -> None:
    with quiet_about_user_errors():
        report_everything("before")
        show_a_user_error(how)
        report_everything("after")
        raise ends_with


def log_and_raise() -> None:
    logging.getLogger("apache_beam").warning("left behind")
    raise ValueError("left behind")


@pytest.mark.parametrize("how", ["printed", "logged"])
@pytest.mark.parametrize("ends_with", [UserError("cut"), RuntimeError(USER_ERROR)], ids=["UserError", "RuntimeError"])
def test_what_follows_a_users_error_is_dropped_also_from_threads_that_outlive_the_job(
    reported, how: str, ends_with: Exception
) -> None:
    with pytest.raises(type(ends_with)):
        failing_job(how, ends_with)
    assert reported() == [f"before {how}" for how in EVERYTHING]
    in_a_thread(log_and_raise)
    log.warning("ours")
    logging.getLogger("other").warning("main thread's")
    assert reported() == ["ours", "main thread's"]
    with quiet_about_user_errors():
        report_everything("next job")
    report_everything("later")
    assert sorted(reported()) == sorted(f"{when} {how}" for when in ("next job", "later") for how in EVERYTHING)


@pytest.mark.parametrize("error", [None, ZeroDivisionError("division by zero")])
def test_what_follows_a_users_error_is_reported_late_if_the_job_ends_otherwise(reported, error) -> None:
    hook = threading.excepthook
    try:
        with quiet_about_user_errors():
            print(USER_ERROR, file=sys.stderr)
            report_everything("after")
            assert reported() == []
            if error:
                raise error
    except ZeroDivisionError:
        assert error
    assert reported() == [f"after {how}" for how in EVERYTHING]
    assert threading.excepthook is hook

import pytest

from base.console import UserError
from pipelines.beam.flink.causes import failure, reason_of, traceback_in

LOST = """java.lang.Exception: The data preparation for task 'GroupReduce' , caused an error: java.io.IOException: lost
\tat org.apache.flink.runtime.operators.BatchTask.run(BatchTask.java:488)
Caused by: java.util.concurrent.ExecutionException: java.io.IOException: lost
\t... 6 more
Caused by: java.io.IOException: Connection unexpectedly closed: the remote task manager was lost.
\tat org.apache.flink.X.y(X.java:1)
\t... 7 more
"""
CODE = """java.lang.Exception: The user defined 'open()' method caused an exception
\tat java.base/java.lang.Thread.run(Thread.java:840)
Caused by: java.lang.RuntimeException: Error received for instruction 5: Traceback (most recent call last):
  File "worker.py", line 1, in process
    number / 0
ZeroDivisionError: division by zero [while running 'ref_AppliedPTransform_Words']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.handle(FnApiControlClient.java:180)
"""


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (LOST, "Connection unexpectedly closed: the remote task manager was lost."),
        ("java.io.IOException: no space", "no space"),
        ("a.b.C$D: x: y", "x: y"),
        ("", "unknown"),
    ],
)
def test_a_reason_is_the_innermost_one_in_one_line(cause: str, reason: str) -> None:
    assert reason_of(cause) == reason


def test_the_traceback_of_a_worker_has_no_java_in_it() -> None:
    text = traceback_in(CODE)
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith("ZeroDivisionError: division by zero [while running 'ref_AppliedPTransform_Words']")


def test_a_bug_of_a_workers_code_is_no_user_error() -> None:
    error = failure(CODE, "http://there")
    assert type(error) is RuntimeError
    assert str(error) == traceback_in(CODE)


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (LOST, "the cluster at http://there has given up the job: Connection unexpectedly closed: the remote task"),
        (
            "x.StatusRuntimeException: CANCELLED: client cancelled",
            "a worker of Beam has ended",
        ),
        (
            "x.StatusRuntimeException: CANCELLED: call already cancelled. Use",
            "a worker of Beam has ended",
        ),
        (
            "java.lang.IllegalStateException: Process died with exit code 137",
            "a worker of Beam has ended",
        ),
    ],
)
def test_what_an_operator_can_mend_is_a_user_error(cause: str, text: str) -> None:
    error = failure(cause, "http://there")
    assert isinstance(error, UserError)
    assert str(error).startswith(text)

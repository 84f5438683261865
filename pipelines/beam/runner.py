"""Run Beam pipelines: in this process by default, or on the runner that Beam's own options name.

``DirectRunner`` would first try to download another runner's binary, so this module names ``FnApiRunner``. Any Beam
option may follow a command's own options, as in ``--runner FlinkRunner --parallelism 4`` (docs/flink.md).
"""

import argparse
import logging
import re
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO

import grpc
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from base.console import NO_ROOM, USER_ERRORS, UserError, is_user_error
from base.proxies import bypass_for_this_machine
from pipelines.beam import workers

JOB_SERVER = Path(".state/flink/job-server.jar")  # `make test-flink` puts a job server there
STEP = " [while running '"  # Beam writes this between a worker's error message and the name of the step
# The type of the error. It stands after a traceback's last line of code, or at the beginning of the text if Beam could
# not create an error of that type again. Beam then raises a RuntimeError, as for any error whose first argument is not
# a string.
RAISED = re.compile(r"(?:^[ \t]+\S.*\n|\A)(?:RuntimeError: )?([\w.]+): ", re.MULTILINE)
# The beginning of an OSError that names its file, or that says that a disk is full.
OF_A_FILE = re.compile(rf"\[Errno \d+\] [^:]+: b?['\"]|{NO_ROOM.pattern}")
CHANNEL_CLOSED = "Cannot monitor channel state: Channel closed"  # gRPC's thread raises it when Beam closes a channel

bypass_for_this_machine()  # several workers, and a job server, answer on this machine; gRPC would ask a proxy for them


def pipeline(beam_arguments: Sequence[str] = ()) -> Pipeline:
    """Return a pipeline on the runner that the Beam arguments name; without one, the in-process runner.

    User errors of its workers leave the ``with`` block as :class:`UserError`, whatever type the runner turns them into.

    Args:
        beam_arguments: the arguments that the command's own parser left over, in Beam's spelling.

    Raises:
        UserError: a value belongs to no option, or neither the command nor Beam has an option: Beam alone would ignore
            both. (Other runners add their own options, so with them Beam checks the options and only warns.) Or Beam
            lacks the runner, or Flink has no job server.
    """
    options = PipelineOptions(list(beam_arguments))
    standard = options.view_as(StandardOptions)
    parsers: list[argparse.ArgumentParser] = []  # gets Beam's parser, to which Beam then adds the unknown options
    every = options.get_all_options(retain_unknown_options=True, add_extra_args_fn=parsers.append)
    if strays := [text for text in parsers[0].parse_known_args(list(beam_arguments))[1] if text != "--"]:
        raise UserError(f"{' '.join(strays)}: belongs to no option; put it after the option that it is for; see --help")
    if is_in_process(beam_arguments):
        unknown = set(every) - set(options.get_all_options())
        if unknown:
            names = ", ".join(sorted(unknown))
            raise UserError(f"unknown options: {names}; --help lists the command's options, all others are Beam's")
        standard.runner = None
        return _Job(runner=FnApiRunner(), options=options)
    if standard.runner.lower() == "flinkrunner":
        _find_job_server(options)
    try:
        return _Job(options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f"--runner {standard.runner}: {error}") from error


def is_in_process(beam_arguments: Sequence[str]) -> bool:
    """Return True if :func:`pipeline` takes the in-process runner, whose workers share this machine's files."""
    runner = PipelineOptions(list(beam_arguments)).view_as(StandardOptions).runner
    return runner is None or runner.lower() in ("fnapirunner", "directrunner")


def _find_job_server(options: PipelineOptions) -> None:
    """Set the job server of ``make test-flink`` if the options name none; Beam would download one.

    Raises:
        UserError: there is no job server, or no Java to start one.
    """
    if options.view_as(PortableOptions).job_endpoint:
        return
    flink = options.view_as(FlinkRunnerOptions)
    if flink.flink_job_server_jar is None:
        if not JOB_SERVER.is_file():
            raise UserError(
                f"--runner FlinkRunner needs a job server, but {JOB_SERVER} does not exist: run `make test-flink` to "
                "download one, or give --flink_job_server_jar JAR, or --job_endpoint HOST:PORT of a running one"
            )
        flink.flink_job_server_jar = str(JOB_SERVER)
    elif "://" not in flink.flink_job_server_jar and not Path(flink.flink_job_server_jar).is_file():
        raise UserError(f"--flink_job_server_jar {flink.flink_job_server_jar}: no such file")
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise UserError(f"{java}: command not found; Flink's job server needs Java 11 or newer")
    # Suppress the messages that the server starts, stops, or starts again (as where another program took its port).
    # Beam tries three times and raises the last attempt's error.
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.CRITICAL)


class _Job(Pipeline):
    """A pipeline that raises its workers' user errors as :class:`UserError` and keeps them out of the log."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            with quiet_about_user_errors():
                super().__exit__(kind, error, trace)
        except USER_ERRORS as raised:
            raise UserError(str(raised).rpartition(STEP)[0] or str(raised)) from raised
        except grpc.RpcError as raised:
            raise UserError(workers.ENDED) from raised
        except RuntimeError as raised:
            user_error = user_error_in(str(raised))
            if user_error is None:
                raise
            raise user_error from raised


def user_error_in(text: str) -> UserError | None:
    """Return the user error that a worker's traceback ends with, or None.

    Args:
        text: a runner's message about a failed job, perhaps with the worker's traceback somewhere in it.
    """
    before, step, _ = text.rpartition(STEP)
    raised = list(RAISED.finditer(before))
    if step and raised and (raised[-1][1] in _names() or OF_A_FILE.match(before, raised[-1].end())):
        return UserError(before[raised[-1].end() :])
    if text.startswith(workers.ENDED):
        return UserError(f"{text}; if it was killed, the memory ran out: use fewer workers (--direct_num_workers)")
    if text.startswith("Service failed to start up"):
        return UserError("the job server did not start; run `java -jar ITS_JAR --job-port 8099` to see why")
    return None


def _names() -> list[str]:
    """Return the names of user errors in tracebacks, as in ``base.console.UserError``."""
    return [f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.") for kind in USER_ERRORS]


@contextmanager
def quiet_about_user_errors() -> Iterator[None]:
    """Suppress the tracebacks of workers' user errors that Beam logs and prints, and its waiting for a job server.

    Nothing gets lost: the job fails with the error itself, or with a RuntimeError that contains the whole text. The
    gRPC thread that watches a job server's channel fails when Beam gives up that server for another (grpc/grpc#18995).
    The error of a worker's own thread becomes the job's error (:mod:`pipelines.beam.workers`).
    """
    suppressed = ("Waiting for grpc channel", workers.BROKEN_CHANNEL, *(f"{name}: " for name in _names()))

    def is_news(record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        is_user_errors = is_user_error(raised) or any(words in text for words in suppressed) or OF_A_FILE.search(text)
        return not is_user_errors

    def except_beams_own(thread: threading.ExceptHookArgs) -> None:
        is_of_channel = thread.exc_type is ValueError and CHANNEL_CLOSED in str(thread.exc_value)
        if not (is_of_channel or workers.note_error(thread)):
            previous_hook(thread)

    previous_hook, threading.excepthook = threading.excepthook, except_beams_own
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(is_news)
    try:
        with redirect_stderr(_OtherThanUserErrors(sys.stderr)):
            yield
    finally:
        workers.wait_for_threads()
        threading.excepthook = previous_hook
        for handler in handlers:
            handler.removeFilter(is_news)


class _OtherThanUserErrors:
    """Standard error without the tracebacks of user errors, each of which Beam's worker prints in one call."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.suppressed_last = False  # was the last text suppressed? `print` writes the line end in a call of its own

    def write(self, text: str) -> int:
        ends_its_line = self.suppressed_last and text == "\n"
        self.suppressed_last = user_error_in(text) is not None
        return len(text) if self.suppressed_last or ends_its_line else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

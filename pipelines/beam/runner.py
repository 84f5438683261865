"""How Beam pipelines are run: in this process by default, elsewhere by Beam's own options.

``DirectRunner`` would first try to download another runner's binary, so ``FnApiRunner`` is named. Any Beam option may
follow a command's own options, as in ``--runner FlinkRunner --parallelism 4`` (docs/flink.md).
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

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner, worker_handlers

from base.console import USER_ERRORS, UserError, is_user_error

JOB_SERVER = Path(".state/flink/job-server.jar")  # where `make test-flink` puts one
STEP = " [while running '"  # what Beam writes behind a worker's error message, before the name of the step
# What was raised: after a traceback's last line of code, or all that Beam says where it could not make the same kind of
# error again; a RuntimeError then, as of any error whose first argument is no text.
RAISED = re.compile(r"(?:^[ \t]+\S.*\n|\A)(?:RuntimeError: )?([\w.]+): ", re.MULTILINE)
OF_A_FILE = re.compile(r"\[Errno \d+\] [^:]+: b?['\"]")  # how an OSError that knows its file is worded
CHANNEL_CLOSED = "Cannot monitor channel state: Channel closed"  # what gRPC's thread raises when Beam closes a channel

# Beam's in-process workers would send what they have written after each second, from another thread, in the middle of
# an element if need be; with several workers, they then get torn elements. Beam's other workers send by size only.
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


def pipeline(beam_arguments: Sequence[str] = ()) -> Pipeline:
    """Return a pipeline on the runner that the Beam arguments name; without one, the in-process runner.

    User errors of its workers leave the ``with`` block as :class:`UserError`, whatever the runner makes of them.

    Args:
        beam_arguments: what a command's own parser left over, in Beam's spelling.

    Raises:
        UserError: a value that belongs to no option, or an option that neither the command nor Beam knows: Beam alone
            would pass over both. Other runners bring options of their own, so with them Beam is the judge of options,
            and warns. Or a runner that Beam lacks, or Flink without a job server.
    """
    options = PipelineOptions(list(beam_arguments))
    standard = options.view_as(StandardOptions)
    parsers: list[argparse.ArgumentParser] = []  # Beam's, which gets to know the unknown options on the way
    every = options.get_all_options(retain_unknown_options=True, add_extra_args_fn=parsers.append)
    if strays := [text for text in parsers[0].parse_known_args(list(beam_arguments))[1] if text != "--"]:
        raise UserError(f"{' '.join(strays)}: belongs to no option; put it behind the one that it is for (see --help)")
    if is_in_process(beam_arguments):
        unknown = set(every) - set(options.get_all_options())
        if unknown:
            names = ", ".join(sorted(unknown))
            raise UserError(f"unknown options: {names}; --help lists the command's own, all others are Beam's")
        standard.runner = None
        return _Job(runner=FnApiRunner(), options=options)
    if standard.runner.lower() == "flinkrunner":
        _find_job_server(options)
    try:
        return _Job(options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f"--runner {standard.runner}: {error}") from error


def is_in_process(beam_arguments: Sequence[str]) -> bool:
    """Tell whether :func:`pipeline` takes the in-process runner, whose workers share this machine's files."""
    runner = PipelineOptions(list(beam_arguments)).view_as(StandardOptions).runner
    return runner is None or runner.lower() in ("fnapirunner", "directrunner")


def _find_job_server(options: PipelineOptions) -> None:
    """Let Flink's runner start the job server of ``make test-flink`` if the options name none; Beam would download one.

    Raises:
        UserError: there is no job server, or no Java to start it.
    """
    if options.view_as(PortableOptions).job_endpoint:
        return
    flink = options.view_as(FlinkRunnerOptions)
    if flink.flink_job_server_jar is None:
        if not JOB_SERVER.is_file():
            raise UserError(
                f"FlinkRunner needs a job server, and there is no {JOB_SERVER} here: `make test-flink` fetches one; or "
                "name one with --flink_job_server_jar JAR, a running one with --job_endpoint HOST:PORT"
            )
        flink.flink_job_server_jar = str(JOB_SERVER)
    elif "://" not in flink.flink_job_server_jar and not Path(flink.flink_job_server_jar).is_file():
        raise UserError(f"--flink_job_server_jar {flink.flink_job_server_jar}: no such file")
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise UserError(f"no {java} here: Flink's job server needs Java 11 or newer to start")
    # Not that it starts, stops, or has to be started again, as where another program took its port: Beam tries three
    # times, and raises what comes of the last.
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.CRITICAL)


class _Job(Pipeline):
    """A pipeline whose workers' user errors are user errors, and are told by nobody else."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            with _quiet_about_user_errors():
                super().__exit__(kind, error, trace)
        except USER_ERRORS as raised:
            raise UserError(str(raised).rpartition(STEP)[0] or str(raised)) from raised
        except RuntimeError as raised:
            told = user_error_in(str(raised))
            if told is None:
                raise
            raise told from raised


def user_error_in(text: str) -> UserError | None:
    """Return the user error that a worker's traceback ends with, if it ends with one.

    Args:
        text: what a runner says of a failed job, perhaps with the worker's traceback somewhere in it.
    """
    before, step, _ = text.rpartition(STEP)
    raised = list(RAISED.finditer(before))
    if step and raised and (raised[-1][1] in _names() or OF_A_FILE.match(before, raised[-1].end())):
        return UserError(before[raised[-1].end() :])
    if text.startswith("Service failed to start up"):
        return UserError("the job server did not start; `java -jar ITS_JAR --job-port 8099` says why")
    return None


def _names() -> list[str]:
    """Return the names of user errors in tracebacks, as in ``base.console.UserError``."""
    return [f"{kind.__module__}.{kind.__name__}".removeprefix("builtins.") for kind in USER_ERRORS]


@contextmanager
def _quiet_about_user_errors() -> Iterator[None]:
    """Keep back the tracebacks that Beam logs and prints of its workers' user errors, and that a job server takes time.

    Nothing gets lost: a job fails with the error itself, or with a RuntimeError that has the whole text. gRPC's thread
    that watches a job server's channel breaks when Beam gives that server up for another (grpc/grpc#18995).
    """
    not_news = ("Waiting for grpc channel", *(f"{name}: " for name in _names()))

    def is_news(record: logging.LogRecord) -> bool:
        raised = record.exc_info[1] if record.exc_info else None
        text = record.getMessage()
        told = is_user_error(raised) or any(words in text for words in not_news) or OF_A_FILE.search(text)
        return not told

    def tell_of_thread(thread: threading.ExceptHookArgs) -> None:
        if not (thread.exc_type is ValueError and CHANNEL_CLOSED in str(thread.exc_value)):
            others_hook(thread)

    others_hook, threading.excepthook = threading.excepthook, tell_of_thread
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(is_news)
    try:
        with redirect_stderr(_OtherThanUserErrors(sys.stderr)):
            yield
    finally:
        threading.excepthook = others_hook
        for handler in handlers:
            handler.removeFilter(is_news)


class _OtherThanUserErrors:
    """Standard error without the tracebacks of user errors, which Beam's worker prints whole."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.kept_back = False  # the last text; `print` writes its line's end by itself

    def write(self, text: str) -> int:
        ends_its_line = self.kept_back and text == "\n"
        self.kept_back = user_error_in(text) is not None
        return len(text) if self.kept_back or ends_its_line else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

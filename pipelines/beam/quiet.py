"""What Beam prints about a user error of a worker: suppressed, because the job raises that error itself.

After such an error Beam's threads also report what it led to: broken channels, aborted bundles, a job server that ends.
How much of it comes, and when, differs from run to run.
"""

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any, TextIO

from base.console import NO_ROOM, USER_ERRORS, UserError, is_user_error, log
from pipelines.beam import workers

STEP = " [while running '"  # Beam writes this between a worker's error message and the name of the step
# The type of the error. It stands after a traceback's last line of code, or at the beginning of the text if Beam could
# not create an error of that type again. Beam then raises a RuntimeError, as for any error whose first argument is not
# a string.
RAISED = re.compile(r"(?:^[ \t]+\S.*\n|\A)(?:RuntimeError: )?([\w.]+): ", re.MULTILINE)
# The beginning of an OSError that names its file, or that says that a disk is full.
OF_A_FILE = re.compile(rf"\[Errno \d+\] [^:]+: b?['\"]|{NO_ROOM.pattern}")
CHANNEL_CLOSED = "Cannot monitor channel state: Channel closed"  # gRPC's thread raises it when Beam closes a channel


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
    """Suppress what Beam logs and prints about workers' user errors, and about its waiting for a job server.

    Whatever else is reported after a user error is kept until the block ends: it is dropped if the block raises a user
    error, and reported otherwise. After a user error, the threads that Beam leaves behind stay suppressed until the
    next block begins; the process usually ends before.

    Nothing gets lost: the job fails with the error itself, or with a RuntimeError that contains the whole text. The
    gRPC thread that watches a job server's channel fails when Beam gives up that server for another (grpc/grpc#18995).
    The error of a worker's own thread becomes the job's error (:mod:`pipelines.beam.workers`).
    """
    global _left
    if _left is not None:
        _left.remove()
    quiet, _left = _Quiet(), None
    try:
        with redirect_stderr(_Printed(quiet, sys.stderr)):
            yield
    except BaseException as error:
        workers.wait_for_threads()
        if is_user_error(error) or user_error_in(str(error)):
            quiet.has_seen_user_error = quiet.is_over = True
            _left = quiet
        else:
            quiet.remove()
        raise
    workers.wait_for_threads()
    quiet.remove()


class _Quiet:
    """A filter of log records and of threads' errors, from when it is made until it is removed."""

    suppressed = ("Waiting for grpc channel", workers.BROKEN_CHANNEL)

    def __init__(self) -> None:
        self.has_seen_user_error = False
        self.is_over = False  # has the job ended with a user error?
        self._kept: list[Callable[[], Any]] = []  # each reports something that came after a user error
        self._handlers = {handler: _of_handler(self, handler) for handler in logging.getLogger().handlers}
        for handler, is_news in self._handlers.items():
            handler.addFilter(is_news)
        self._previous_hook, self._hook = threading.excepthook, self._thread_ended
        threading.excepthook = self._hook

    def remove(self) -> None:
        """Stop filtering; report what was kept unless the job ended with a user error."""
        for handler, is_news in self._handlers.items():
            handler.removeFilter(is_news)
        if threading.excepthook == self._hook:
            threading.excepthook = self._previous_hook
        if not self.is_over:
            for report in self._kept:
                report()
        self._kept.clear()

    def keep(self, report: Callable[[], Any]) -> bool:
        """Return True, and keep a report, if it came after a user error."""
        if self.has_seen_user_error and not self.is_over:
            self._kept.append(report)
        return self.has_seen_user_error

    def is_news(self, record: logging.LogRecord, handler: logging.Handler) -> bool:
        """Return True for a record to be handled now."""
        if record.name == log.name:
            return True
        if self.is_over:
            return record.thread == threading.main_thread().ident
        error, text = record.exc_info[1] if record.exc_info else None, record.getMessage()
        if is_user_error(error) or OF_A_FILE.search(text) or any(f"{name}: " in text for name in _names()):
            self.has_seen_user_error = True
            return False
        return not (any(words in text for words in self.suppressed) or self.keep(lambda: handler.handle(record)))

    def _thread_ended(self, thread: threading.ExceptHookArgs) -> None:
        is_of_channel = thread.exc_type is ValueError and CHANNEL_CLOSED in str(thread.exc_value)
        if not (is_of_channel or workers.note_error(thread) or self.keep(lambda: self._previous_hook(thread))):
            self._previous_hook(thread)


def _of_handler(quiet: _Quiet, handler: logging.Handler) -> Callable[[logging.LogRecord], bool]:
    return lambda record: quiet.is_news(record, handler)


class _Printed:
    """Standard error without the tracebacks of user errors, each of which Beam's worker prints in one call."""

    def __init__(self, quiet: _Quiet, stream: TextIO) -> None:
        self.quiet, self.stream = quiet, stream
        self.suppressed_last = False  # was the last text suppressed? `print` writes the line end in a call of its own

    def write(self, text: str) -> int:
        ends_its_line = self.suppressed_last and text == "\n"
        self.suppressed_last = user_error_in(text) is not None
        if self.suppressed_last:
            self.quiet.has_seen_user_error = True
        elif not ends_its_line and not self.quiet.keep(lambda: self.stream.write(text)):
            self.stream.write(text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_left: _Quiet | None = None  # the filter of a job that ended with a user error

"""What a flow's process does when its terminal closes, or when the program that reads its output ends."""

import logging
import os
import signal
import threading
from functools import partial
from pathlib import Path
from types import FrameType

from prefect.logging.handlers import PrefectConsoleHandler


def interrupt_on_hangup() -> None:
    """Make SIGHUP (a closed terminal) end this process and all that it has started, as Ctrl-C does.

    Where SIGHUP is ignored (``nohup``) it stays ignored. In a thread other than the main one this does nothing, because
    only the main thread can set a signal handler.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _hang_up(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # shell and kernel may both send one; the second must not end cleanup
    raise KeyboardInterrupt


def go_on_unheard() -> None:
    """Let this process continue when nobody reads its output any more, because its parent may have been killed.

    Prefect logs to the console through Rich, which would end the process at the next log line.
    """
    for name in ("", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.on_broken_pipe = partial(_discard_output, handler)  # type: ignore[method-assign]


def _discard_output(handler: PrefectConsoleHandler) -> None:
    handler.console.quiet = True
    with Path(os.devnull).open("w") as null:  # takes the rest of the stream's buffer, and other writers' output
        os.dup2(null.fileno(), handler.stream.fileno())

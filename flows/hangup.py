"""What a process of ours does when the terminal goes, or the program that started it and reads what it prints."""

import logging
import os
import signal
import threading
from functools import partial
from pathlib import Path
from types import FrameType

from prefect.logging.handlers import PrefectConsoleHandler


def interrupt_on_hangup() -> None:
    """Make a closed terminal (SIGHUP) end this process as Ctrl-C does: nothing that it has started stays behind.

    Where SIGHUP is ignored (``nohup``) it stays so. Only the main thread can set this; in another one nothing happens.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _hang_up(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # shell and kernel may both send one: the tidying up goes on
    raise KeyboardInterrupt


def go_on_unheard() -> None:
    """Make this process go on when nobody reads what it prints any more: what started it may have been killed.

    Rich, by which Prefect's log lines reach the console, would end it at the next line.
    """
    for name in ("", *logging.root.manager.loggerDict):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.on_broken_pipe = partial(_fall_silent, handler)  # type: ignore[method-assign]


def _fall_silent(handler: PrefectConsoleHandler) -> None:
    handler.console.quiet = True
    with Path(os.devnull).open("w") as nowhere:  # for what is in the file's buffer, and whoever else writes there
        os.dup2(nowhere.fileno(), handler.stream.fileno())

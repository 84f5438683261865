"""What a flow shows in the terminal that started it: one line per stage as it ends, warnings, and where the log is.

    [41/69] mtmdd train MTTDL seed 0  14 s  ~3 min left

On a terminal a line for each running stage stands below and moves; elsewhere a line every minute in which no other came
names what runs. All output of all stages goes to a log file, and with ``verbose`` to the terminal too. Failures of
stages are printed in full at the end (:mod:`flows.command`).
"""

import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console
from rich.live import Live
from rich.text import Text

from base.console import STATE, duration
from base.terminal import printable
from flows.stages import Stage
from flows.time_left import TimeLeft

LOGS = STATE / "logs"
KEPT_LOGS = 20
QUIET_S = 60.0  # after which a line names what runs, where there is no terminal
TIME_OF_DAY = re.compile(r"^\d\d:\d\d:\d\d ")
# A warning of ours, of Python's warnings module, of DVC, or of the logging module's default format.
WARNING = re.compile(r"^(\d\d:\d\d:\d\d warning: |\S+:\d+: \w*Warning: |WARNING:)")
# Messages of Prefect's engine about states, which this display shows in its own way.
OF_STATES = ("Finished in state ", "Task run failed with state")

current: ContextVar["Display | None"] = ContextVar("current", default=None)
"""The display of the flow that this process runs for a terminal; None in a run that Prefect's page started."""


def label_of(name: str, values: Mapping[str, Any] | None) -> str:
    """Return a stage's name for a person: ``mtmdd train TDL seed 0`` for ``mtmdd:train@TDL-0``.

    Args:
        name: the stage's.
        values: its values by axis, if a matrix declares it; a number is shown with the name of its axis.
    """
    stage, _, key = name.partition("@")
    parts = [key] if values is None else [_named(axis, value) for axis, value in values.items()]
    return " ".join(part for part in (*stage.split(":"), *parts) if part)


def _named(axis: str, value: Any) -> str:
    return f"{axis} {value}" if isinstance(value, int | float) else str(value)


class Display(logging.Handler):
    """Shows how the stages of a flow end; as a logging handler it takes their output.

    Args:
        console: where to.
        verbose: whether another handler prints every line, so that warnings are not printed twice.
    """

    def __init__(self, console: Console, verbose: bool = False) -> None:
        super().__init__()
        self._console = console
        self._verbose = verbose
        self._labels: Mapping[str, str] = {}
        self._width = self._total = self._ended = self._up_to_date = 0
        self._time_left: TimeLeft | None = None
        self._started: dict[str, float] = {}
        self._last_lines: dict[str, str] = {}
        self._printed = time.monotonic()
        self._left: tuple[float, float] | None = None  # seconds left, and when that was estimated
        self._leaves = threading.Event()
        self._live = Live(
            console=console, transient=True, refresh_per_second=2, get_renderable=self._running, redirect_stdout=False
        )
        self._heartbeat = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._verbose:
            self._live.start()
        else:
            self._heartbeat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._show_up_to_date()
        self._leaves.set()
        self._live.stop()

    def begin(self, stages: Mapping[str, Stage], labels: Mapping[str, str], time_left: TimeLeft) -> None:
        """Take the stages of the run.

        Args:
            stages: all of them.
            labels: their names for a person.
            time_left: estimates how long they will take.
        """
        self._labels, self._total, self._time_left = labels, len(stages), time_left
        self._width = max(map(len, labels.values()), default=0)

    def started(self, name: str) -> None:
        """Show that a stage runs."""
        self._started = {**self._started, name: time.monotonic()}  # replaced whole: other threads read it

    def ended(self, name: str, outcome: str) -> None:
        """Print a stage's line; stages that were up to date share one.

        Args:
            name: the stage.
            outcome: the name of the state that it ended in.
        """
        seconds = time.monotonic() - self._started[name]
        self._started = {other: since for other, since in self._started.items() if other != name}
        self._last_lines.pop(name, None)
        self._ended += 1
        if self._time_left is not None:
            self._time_left.ended(name, seconds if outcome == "Completed" else None)
            now = time.monotonic()
            left = self._time_left.seconds({other: now - since for other, since in self._started.items()})
            self._left = None if left is None else (left, now)
        if outcome == "Cached":
            self._up_to_date += 1
            return
        self._show_up_to_date(of=self._ended - 1)
        how = duration(seconds) if outcome == "Completed" else f"{outcome.lower()} after {duration(seconds)}"
        label = self._labels.get(name, name).ljust(self._width)
        line = f"{self._count(self._ended)} {label}  {how:>10}{self._shown_left()}"
        self._print(line, style="bold red" if outcome == "Failed" else "")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a stage's last line; print warnings and errors."""
        try:
            message, name = record.getMessage(), getattr(record, "task_run_name", None)
            if message.startswith(OF_STATES):
                return
            if name in self._started:
                self._last_lines[name] = message
            if not self._verbose and (record.levelno >= logging.WARNING or WARNING.match(message)):
                message = TIME_OF_DAY.sub("", message)
                mark = "" if message.lower().startswith("warning") else f"{record.levelname.lower()}: "
                source = f"{self._labels.get(name, name)}: " if name else ""
                self._print(f"{source}{mark}{message}", style="yellow" if record.levelno < logging.ERROR else "red")
        except Exception:
            self.handleError(record)

    def _print(self, line: str, style: str = "") -> None:
        self._printed = time.monotonic()
        self._console.print(Text(printable(line, keep="\n\t"), style=style), soft_wrap=True)

    def _count(self, number: int) -> str:
        return f"[{number:>{len(str(self._total))}}/{self._total}]"

    def _show_up_to_date(self, of: int | None = None) -> None:
        """Print how many stages were up to date since the last line."""
        if self._up_to_date:
            what = "1 stage is" if self._up_to_date == 1 else f"{self._up_to_date} stages are"
            self._up_to_date = 0
            self._print(f"{self._count(self._ended if of is None else of)} {what} up to date")

    def _shown_left(self) -> str:
        if self._left is None or self._ended == self._total:
            return ""
        seconds, when = self._left
        return f"  ~{_rounded(max(0.0, seconds - (time.monotonic() - when)))} left"

    def _running(self) -> Text:
        """Return a line for each running stage, as wide as the terminal at most."""
        now, text = time.monotonic(), Text(no_wrap=True, overflow="ellipsis")
        lines = []
        for name, since in self._started.items():
            last = TIME_OF_DAY.sub("", self._last_lines.get(name, ""))
            lines.append(f"  {self._labels.get(name, name)}  {duration(now - since)}  {printable(last)}")
        if lines:
            lines.append(f"  {self._count(self._ended)} stages have ended{self._shown_left()}")
        return text.append("\n".join(lines), style="dim")

    def _beat(self) -> None:
        """Name what runs, once a minute in which nothing else was printed."""
        while not self._leaves.wait(max(0.1, self._printed + QUIET_S - time.monotonic())):
            if time.monotonic() - self._printed >= QUIET_S:
                started, now = self._started, time.monotonic()
                running = ", ".join(
                    f"{self._labels.get(name, name)} {duration(now - since)}" for name, since in started.items()
                )
                self._print(f"{self._count(self._ended)} running: {running or 'nothing'}{self._shown_left()}")


def _rounded(seconds: float) -> str:
    """Return a duration no finer than an estimate deserves."""
    if seconds >= 90:
        return f"{round(seconds / 60)} min" if seconds < 5400 else duration(60 * round(seconds / 60))
    return f"{max(5, 5 * round(seconds / 5))} s"


@contextmanager
def display(flow: str, verbose: bool) -> Iterator[Path]:
    """Show a flow in this terminal while the block runs; yield the log file.

    Args:
        flow: its name, which begins the log file's.
        verbose: print every line of the log too.
    """
    root = logging.getLogger()
    consoles = [handler for handler in root.handlers if isinstance(handler, PrefectConsoleHandler)]
    formatter = consoles[0].formatter if consoles else None
    with _log_file(flow) as file, Display(Console(stderr=True, highlight=False), verbose) as shown:
        to_file = logging.StreamHandler(file)
        to_file.setFormatter(_Printable(formatter))
        handlers: list[logging.Handler] = [to_file, shown]
        for handler in handlers:
            root.addHandler(handler)
        if not verbose:
            for handler in consoles:
                root.removeHandler(handler)
        token = current.set(shown)
        try:
            yield Path(file.name)
        finally:
            current.reset(token)
            for handler in handlers:
                root.removeHandler(handler)
            if not verbose:
                for handler in consoles:
                    root.addHandler(handler)


class _Printable(logging.Formatter):
    """Formats as another formatter does, with control characters escaped."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter("%(asctime)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return printable(self._inner.format(record), keep="\n\t")


@contextmanager
def _log_file(flow: str) -> Iterator[Any]:
    """Yield a new log file, which only this user can read; delete the oldest beyond KEPT_LOGS."""
    LOGS.mkdir(mode=0o700, parents=True, exist_ok=True)
    when = datetime.now(UTC).astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    path = LOGS / f"{flow}-{when}-{os.getpid()}.log"
    path.touch(mode=0o600, exist_ok=False)
    with path.open("w", encoding="utf-8") as file:
        for old in sorted(LOGS.glob("*.log"), key=lambda log: log.stat().st_mtime)[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
        yield file

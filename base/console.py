"""What a stage says while it runs: logging, a progress bar, the closing lines, and the exit code.

Every stage's ``main`` is wrapped in :func:`stage`, so that all of them begin, end and fail alike.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from base.outputs import named_paths, values_of, why_not
from base.replacement import put_back
from base.terminal import printable

STATE = Path(".state")  # what belongs to this machine only: timings, resume checkpoints
TIMINGS = STATE / "timings.jsonl"

log = logging.getLogger("clicksight")
Item = TypeVar("Item")


class UserError(ValueError):
    """Something the user can mend: bad input, a missing file, an impossible parameter. Shown without a traceback."""


USER_ERRORS = (UserError, FileNotFoundError)


def is_user_error(error: BaseException | None) -> bool:
    """Whether an error is the user's to mend; what the system says of a file (no folder, no permission) is, too."""
    return isinstance(error, USER_ERRORS) or (isinstance(error, OSError) and error.filename is not None)


class Closing:
    """Collects what a stage wrote, for its closing lines.

    Attributes:
        wrote: path to a short description, as in ``{"data/ingested": "25,164 clicks"}``.
        counts: named row counts, as in ``{"rows read": 10, "rows kept": 9, "quarantined: empty query": 1}``.
        next_command: what a person would run next.
    """

    def __init__(self) -> None:
        self.wrote: dict[str, str] = {}
        self.counts: dict[str, int | float] = {}
        self.next_command = ""


@contextmanager
def stage(name: str, describe: str = "") -> Iterator[Closing]:
    """Run a stage: log its start, its closing lines and seconds; turn user errors into one line and exit code 2.

    Args:
        name: as in dvc.yaml, with what it is applied to, as in ``train TDL, seed 0``.
        describe: what it is about to do, with its sizes if they are known.
    """
    _configure_logging()
    started = time.perf_counter()
    log.info("%s: started%s", name, f" ({describe})" if describe else "")
    closing = Closing()
    try:
        _check_paths()
        yield closing
    except (UserError, OSError) as error:
        if not is_user_error(error):
            raise
        fail(name, error)
    seconds = time.perf_counter() - started
    for label, count in closing.counts.items():
        log.info("%s: %s %s", name, label, f"{count:,}" if isinstance(count, int) else f"{count:.4g}")
    for path, description in closing.wrote.items():
        log.info("%s: wrote %s%s", name, path, f" ({description})" if description else "")
    _remember_seconds(name, seconds)
    log.info("%s: done in %.1f s%s", name, seconds, f"; next: {closing.next_command}" if closing.next_command else "")


def _check_paths() -> None:
    """Look at the paths that the command line names, before any work; put back what a killed run has moved aside.

    Raises:
        UserError: writing the output would delete what the command reads, or the folder that it stands in.
    """
    for value in values_of(sys.argv[1:]):
        put_back(Path(value))
    output, inputs = named_paths(sys.argv[1:])
    if output is not None and (reason := why_not(output, inputs)):
        raise UserError(f"--output {output}: {reason}")


def _configure_logging() -> None:
    """Send this project's log lines to stderr, with the time of day.

    Importing Beam logs a warning, by which the root logger has got a handler already: it is used then, not doubled.
    """
    logging.basicConfig(stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(_Lines("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_traceback
    log.setLevel(logging.INFO if is_first_process() else logging.WARNING)


class _Lines(logging.Formatter):
    """Formats records so that no name in them can control the terminal, or look like a log line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Escape line breaks in our own messages, which have one line each; mark warnings as such."""
        if record.name == log.name:
            mark = "warning: " if record.levelno == logging.WARNING else ""
            record.message = mark + printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Escape control characters; indent all lines but the first, as of tracebacks."""
        return printable(super().format(record), keep="\n\t").replace("\n", "\n    ")


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error that nobody caught as Python does, with control characters escaped."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable(text, keep="\n\t"))


def is_first_process() -> bool:
    """Whether this is the only process of its command, or of several that a launcher started the first: it speaks."""
    return os.environ.get("RANK", "0") == "0"


def fail(name: str, error: Exception) -> NoReturn:
    """Say what went wrong in plain words and leave with exit code 2."""
    for line in str(error).split("\n"):  # not at other breaks, which only names have
        log.error("%s: error: %s", name, line)
    raise SystemExit(2) from error


def progress(items: Iterable[Item], label: str, unit: str, total: int | None = None) -> Iterable[Item]:
    """Show rate and time left: a moving bar on a terminal, a line every ten seconds elsewhere."""
    terminal = sys.stderr.isatty()
    return tqdm(
        items, desc=printable(label), unit=f" {unit}", total=total, leave=False, file=sys.stderr,
        mininterval=0.5 if terminal else 10.0, ascii=not terminal, dynamic_ncols=terminal, delay=0 if terminal else 5,
        disable=not is_first_process(),
    )  # fmt: skip


def _remember_seconds(name: str, seconds: float) -> None:
    """Append to this machine's timings; kept out of the artifacts, whose bytes must not depend on the clock.

    Only what DVC runs is kept, the current folder is this project's then, and nothing with CLICKSIGHT_NO_STATE in the
    environment. The stage's work is done: a file that can't be written is no reason to call it failed.
    """
    if "DVC_STAGE" not in os.environ or os.environ.get("CLICKSIGHT_NO_STATE") or not is_first_process():
        return
    with suppress(OSError):
        STATE.mkdir(exist_ok=True)
        with TIMINGS.open("a", encoding="utf-8") as lines:
            timing = {"dvc_stage": os.environ["DVC_STAGE"], "stage": name, "seconds": round(seconds, 2)}
            lines.write(json.dumps({**timing, "ended": time.time()}) + "\n")


def duration(seconds: float) -> str:
    """Return a duration for a person, as in ``1 h 20 min``, ``2 min 5 s`` and ``14 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rows_add_up(read: int, kept: int, quarantined: Mapping[str, int], what: str) -> None:
    """Check that no row was lost between reading and writing.

    Raises:
        RuntimeError: read != kept + sum of quarantined; a defect of ours, never of the input.
    """
    lost = read - kept - sum(quarantined.values())
    if lost:
        raise RuntimeError(
            f"{what}: {read} read, {kept} kept, {dict(quarantined)} quarantined: {lost} rows unaccounted for"
        )


def as_counts(prefix: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Label counts by reason for a closing line, as in ``quarantined: empty query``."""
    return {f"{prefix}: {reason}": count for reason, count in sorted(counts.items())}


def by_reason(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Pick the counts that :func:`as_counts` labelled with a prefix, by reason and in its order."""
    start = f"{prefix}: "
    return {name.removeprefix(start): count for name, count in sorted(counts.items()) if name.startswith(start)}

"""Console output of a stage: log lines, a progress bar, the closing lines, and the exit code.

Every stage's ``main`` runs inside :func:`stage`, so that all stages begin, end and fail in the same way.
"""

import json
import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from tqdm import tqdm

from base.outputs import named_paths, reason_not_to_write, values_of
from base.replacement import put_back
from base.terminal import printable

STATE = Path(".state")  # files of this machine only: timings, resume checkpoints
TIMINGS = STATE / "timings.jsonl"

log = logging.getLogger("clicksight")
Item = TypeVar("Item")


class UserError(ValueError):
    """An error that the user can fix: bad input, a missing file, an impossible parameter; shown without traceback."""


USER_ERRORS = (UserError, FileNotFoundError)
NAMED = 20  # entries that a warning names
# A disk is full, a quota is used up, or a file is larger than allowed (ENOSPC, EDQUOT, EFBIG), in the words of Python
# and Arrow, of libraries written in Rust, of torch, which gives no reason, and of SQLite.
NO_ROOM = re.compile(
    r"\[Errno (?:27|28|122)\]|\(os error (?:27|28|122)\)|enforce fail at inline_container\.cc|database or disk is full"
)
MAKE_ROOM = "no room is left to write: free some disk space, or raise the quota or the file size limit (ulimit -f)"


def is_user_error(error: BaseException | None) -> bool:
    """Return whether the user can fix an error: a user error, no room on a disk, or a system error about a file."""
    if error is None or isinstance(error, USER_ERRORS):
        return error is not None
    return (isinstance(error, OSError) and error.filename is not None) or is_no_room(error)


def described(error: BaseException) -> str:
    """Return the text of a user error, with what to do where there is no room on a disk."""
    return f"{error}: {MAKE_ROOM}" if NO_ROOM.search(str(error)) else str(error)


def is_no_room(error: BaseException) -> bool:
    """Return whether an error of any library says that something could not be written for lack of room."""
    return MAKE_ROOM in str(error) or NO_ROOM.search(str(error)) is not None


class Closing:
    """Collects the outputs and counts of a stage for its closing lines.

    Attributes:
        wrote: path to a short description, as in ``{"data/ingested": "25,164 clicks"}``.
        counts: named row counts, as in ``{"rows read": 10, "rows kept": 9, "quarantined: empty query": 1}``.
        next_command: the command that a user would run next.
    """

    def __init__(self) -> None:
        self.wrote: dict[str, str] = {}
        self.counts: dict[str, int | float] = {}
        self.next_command = ""


@contextmanager
def stage(name: str, describe: str = "") -> Iterator[Closing]:
    """Run a stage: log its start, closing lines and seconds; turn a user error into error lines and exit code 2.

    Args:
        name: the name in dvc.yaml, with the item that the stage works on, as in ``train TDL, seed 0``.
        describe: what the stage is about to do, with sizes if they are known.
    """
    _configure_logging()
    started = time.perf_counter()
    log.info("%s: started%s", name, f" ({describe})" if describe else "")
    closing = Closing()
    try:
        _check_paths()
        yield closing
    except Exception as error:
        if not is_user_error(error):
            raise
        fail(name, error)
    seconds = time.perf_counter() - started
    for label, count in closing.counts.items():
        log.info("%s: %s %s", name, label, f"{count:,}" if isinstance(count, int) else f"{count:.4g}")
    for path, description in closing.wrote.items():
        log.info("%s: wrote %s%s", name, path, f" ({description})" if description else "")
    _append_timing(name, seconds)
    log.info("%s: done in %.1f s%s", name, seconds, f"; next: {closing.next_command}" if closing.next_command else "")


def _check_paths() -> None:
    """Check the paths on the command line before any work; put back folders that a killed run has moved aside.

    Raises:
        UserError: writing the output would delete an input of the command, or the current or the home folder.
    """
    for value in values_of(sys.argv[1:]):
        put_back(Path(value))
    output, inputs = named_paths(sys.argv[1:])
    if output is not None and (reason := reason_not_to_write(output, inputs)):
        raise UserError(f"--output {output}: {reason}")


def _configure_logging() -> None:
    """Send this project's log lines to stderr, with the time of day.

    Importing Beam logs a warning, which gives the root logger a handler; that handler is then used, without a second.
    """
    logging.basicConfig(stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setFormatter(_EscapingFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_traceback
    log.setLevel(logging.INFO if is_first_process() else logging.WARNING)


class _EscapingFormatter(logging.Formatter):
    """Formats records so that no name in them can control the terminal or look like another log line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Escape line breaks in this project's messages, which have one line each; mark warnings."""
        if record.name == log.name:
            mark = "warning: " if record.levelno == logging.WARNING else ""
            record.message = mark + printable(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Escape control characters; indent every line after the first, such as a traceback's."""
        return printable(super().format(record), keep="\n\t").replace("\n", "\n    ")


def _print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught error as Python does, with control characters escaped."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(printable(text, keep="\n\t"))


def is_first_process() -> bool:
    """Return True for rank 0 (the only process, or the first that a launcher started): only it logs progress."""
    return os.environ.get("RANK", "0") == "0"


def fail(name: str, error: Exception) -> NoReturn:
    """Log an error, one log line per line of its text, and exit with code 2."""
    for line in described(error).split("\n"):  # other kinds of line breaks occur only in names
        log.error("%s: error: %s", name, line)
    raise SystemExit(2) from error


def progress(items: Iterable[Item], label: str, unit: str, total: int | None = None) -> Iterable[Item]:
    """Yield the items and show rate and time left: a moving bar on a terminal, else a line every ten seconds."""
    terminal = sys.stderr.isatty()
    return tqdm(
        items, desc=printable(label), unit=f" {unit}", total=total, leave=False, file=sys.stderr,
        mininterval=0.5 if terminal else 10.0, ascii=not terminal, dynamic_ncols=terminal, delay=0 if terminal else 5,
        disable=not is_first_process(),
    )  # fmt: skip


def _append_timing(name: str, seconds: float) -> None:
    """Append a stage's seconds to this machine's timings; the bytes of artifacts must not depend on the clock.

    Only stages that DVC runs are recorded, because the current folder is then the project's; none is recorded with
    CLICKSIGHT_NO_STATE in the environment. An OSError is ignored: the stage's work is already done.
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


def named(entries: Sequence[str]) -> str:
    """Return the first entries of a list as text for a warning, and how many more there are."""
    more = f" and {len(entries) - NAMED:,} more" if len(entries) > NAMED else ""
    return ", ".join(map(repr, entries[:NAMED])) + more


def rows_add_up(read: int, kept: int, quarantined: Mapping[str, int], what: str) -> None:
    """Check that no row was lost between reading and writing.

    Raises:
        RuntimeError: read != kept + sum of quarantined; this is a defect of the code, never of the input.
    """
    lost = read - kept - sum(quarantined.values())
    if lost:
        raise RuntimeError(
            f"{what}: {read} read, {kept} kept, {dict(quarantined)} quarantined: {lost} rows unaccounted for"
        )


def as_counts(prefix: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return counts by reason with labels for the closing lines, as in ``quarantined: empty query``."""
    return {f"{prefix}: {reason}": count for reason, count in sorted(counts.items())}


def by_reason(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that :func:`as_counts` labelled with a prefix, by reason, in the same order."""
    start = f"{prefix}: "
    return {name.removeprefix(start): count for name, count in sorted(counts.items()) if name.startswith(start)}

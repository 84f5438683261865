"""Puts a finished folder in the place of an older one: a run killed at any moment leaves one of the two, whole.

Linux exchanges two names in one step. Where that can't be had (some network file systems, other systems) the older
folder is renamed to ``.NAME.PROCESS-RANDOM.old`` and then the new one to its place. Between the two nothing is there:
whoever opens or writes the place next puts the older folder back (:func:`put_back`). A folder is named ``.old`` only
while it is whole: before it is deleted, it is named ``.partial`` like all that may be a part of something.
"""

import ctypes
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # Linux's: paths as they are; both must be there, and each takes the other's name
PATIENCE_S = 1.0  # two renames take far less

log = logging.getLogger("clicksight")
Kind = Literal["partial", "old"]


def hidden_name(path: Path, kind: Kind = "partial") -> Path:
    """Return a name of its own beside ``path``, from which the process that made it is known."""
    return path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.{kind}"


def is_alive(process: int) -> bool:
    """Whether there is a process of this id, perhaps somebody else's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def replace(path: Path, new: Path) -> None:
    """Put the folder ``new`` at ``path``; a folder that was there has the name of ``new`` afterwards.

    Args:
        path: where a folder is, or nothing.
        new: a folder beside it, under a :func:`hidden_name`.

    Raises:
        OSError: the system refuses it; the older folder is at ``path`` then.
    """
    if not path.exists():
        new.rename(path)
    elif not _exchange(path, new):
        old = hidden_name(path, "old")
        path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            if not os.path.lexists(path):
                old.rename(path)
            raise
        old.rename(new)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return whether it was done."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # another C library or system
        return False
    return rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)) == 0


def put_back(path: Path) -> None:
    """Put a folder back that a killed run has moved aside; do nothing if something is at ``path``.

    Args:
        path: the folder, or something that is to be in it.
    """
    missing = [place for place in (path, *path.parents) if not os.path.lexists(place)]
    if not missing or not (olds := list(_leftovers(missing[-1], "old"))):
        return
    place = missing[-1]
    deadline = time.monotonic() + PATIENCE_S
    while any(is_alive(process) for _, process in olds) and time.monotonic() < deadline:  # it may be at its next rename
        if os.path.lexists(place):
            return
        time.sleep(0.01)
    with suppress(FileNotFoundError):  # another run was faster
        max((old for old, _ in olds), key=lambda old: old.stat().st_ctime_ns).rename(place)
        log.warning("%s: a killed run had moved this folder aside; it is back, whole", place)


def sweep_leftovers(path: Path) -> None:
    """Put back or remove what killed runs have left beside ``path``; what a living process is still writing stays."""
    put_back(path)
    for old, process in _leftovers(path, "old"):
        if not is_alive(process) and os.path.lexists(path):
            with suppress(FileNotFoundError):
                old.rename(old.with_suffix(".partial"))
    for leftover, process in _leftovers(path, "partial"):
        if is_alive(process):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _leftovers(path: Path, kind: Kind) -> Iterator[tuple[Path, int]]:
    """Yield what has a hidden name of a kind beside ``path``, and the process that made it."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{32}}\.{kind}", re.DOTALL)
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - Path.iterdir is lazy in what it raises
    except OSError:
        return
    for name in sorted(names):
        if match := pattern.fullmatch(name):
            yield path.parent / name, int(match[1])

"""Replaces a folder by a finished new one: a run killed at any moment leaves one of the two, whole.

Linux exchanges two names in one step. Where that is not possible (some network file systems, other systems), the older
folder is renamed to ``.NAME.PROCESS-RANDOM.old`` and then the new folder is renamed to ``NAME``. Between these two
renames ``NAME`` doesn't exist; the next command that opens or writes it puts the older folder back (:func:`put_back`).
A folder is named ``.old`` only while it is whole: before it is deleted, it is renamed to ``.partial``, the name of
everything that may be incomplete.
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

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: plain paths; both must exist, and they exchange their names
PATIENCE_S = 1.0  # two renames take far less

log = logging.getLogger("clicksight")
Kind = Literal["partial", "old"]


def hidden_name(path: Path, kind: Kind = "partial") -> Path:
    """Return a new hidden name beside ``path`` that contains this process's id."""
    return path.parent / f".{path.name}.{os.getpid()}-{uuid.uuid4().hex}.{kind}"


def is_alive(process: int) -> bool:
    """Return whether a process with this id exists, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # the process belongs to another user
        return True
    return True


def replace(path: Path, new: Path) -> None:
    """Move the folder ``new`` to ``path``; an older folder at ``path`` gets the name of ``new``.

    Args:
        path: a folder, or a path that doesn't exist.
        new: a folder beside it, with a :func:`hidden_name`.

    Raises:
        OSError: a rename failed; the older folder is then at ``path``.
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
    """Exchange two names in one step; return whether that succeeded."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # another C library or system
        return False
    return rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), ctypes.c_uint(RENAME_EXCHANGE)) == 0


def put_back(path: Path) -> None:
    """Put back a folder that a killed run has moved aside; do nothing if ``path`` exists.

    Args:
        path: the folder, or a path below it.
    """
    missing = [candidate for candidate in (path, *path.parents) if not os.path.lexists(candidate)]
    if not missing or not (olds := list(_leftovers(missing[-1], "old"))):
        return
    folder = missing[-1]
    deadline = time.monotonic() + PATIENCE_S
    while any(is_alive(process) for _, process in olds) and time.monotonic() < deadline:  # between its two renames?
        if os.path.lexists(folder):
            return
        time.sleep(0.01)
    with suppress(FileNotFoundError):  # another run has already renamed it
        max((old for old, _ in olds), key=lambda old: old.stat().st_ctime_ns).rename(folder)
        log.warning("%s: a killed run had moved this folder aside; it was put back, whole", folder)


def sweep_leftovers(path: Path) -> None:
    """Put back or delete what killed runs left beside ``path``; files that a living process is writing stay."""
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
    """Yield (path, process id) of each file or folder beside ``path`` that has a hidden name of this kind."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)-[0-9a-f]{{32}}\.{kind}", re.DOTALL)
    try:
        names = os.listdir(path.parent)  # noqa: PTH208 - Path.iterdir raises errors late, outside this try
    except OSError:
        return
    for name in sorted(names):
        if match := pattern.fullmatch(name):
            yield path.parent / name, int(match[1])

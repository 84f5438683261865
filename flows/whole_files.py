"""Text files that are replaced whole: a reader, or whoever comes after a kill, finds the old text or the new one.

Like :func:`base.artifacts.whole_file`, for files that one process at a time writes under somebody's lock: the
name beside the file is always the same, so the next writer overwrites what a killed one has left. And without the
imports of that module, which take a third of a second: this one is loaded for each stage.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any


def leftover_of(path: Path) -> Path:
    """Return the file beside ``path`` that is written first; it stays if the writer is killed."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def rewritten(path: Path, lasts: bool = False) -> Iterator[IO[str]]:
    """Yield an empty text file that replaces ``path`` when the block ends well and vanishes when it fails.

    The mode of the file stays, and a link still leads to it.

    Args:
        path: the file; its folder is there.
        lasts: whether the text is on the disk when this returns, so that it also outlives a power failure.
    """
    path = path.resolve()
    beside = leftover_of(path)
    try:
        with beside.open("w", encoding="utf-8") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            if lasts:
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    if lasts:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class WholeFiles:
    """A file system of DVC that replaces each text file that it writes.

    Args:
        fs: DVC's file system, which does all the rest.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def open(self, path: str, mode: str = "r", **options: Any) -> AbstractContextManager[IO[str]]:
        """Open a file as DVC does; to be used in a ``with`` statement."""
        return rewritten(Path(path)) if mode.startswith("w") else self._fs.open(path, mode, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

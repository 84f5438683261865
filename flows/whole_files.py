"""Text files that are replaced whole: after a kill, and for every reader, the file has the old text or the new one.

Like :func:`base.artifacts.whole_file`, but for files that one process at a time writes, under a lock. The temporary
file always has the same name, so the next writer overwrites the one that a killed writer has left. This module also
avoids that module's imports, which take a third of a second, because each stage loads this module.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any


def leftover_of(path: Path) -> Path:
    """Return the temporary file of ``path``, in the same folder; it stays if the writer is killed."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def rewritten(path: Path, durable: bool = False) -> Iterator[IO[str]]:
    """Yield an empty text file that replaces ``path`` when the block succeeds and is deleted when the block fails.

    The file keeps its mode. If ``path`` is a symbolic link, the file that it leads to is replaced.

    Args:
        path: the file, in a folder that exists.
        durable: whether to force the text to the disk, so that it survives a power failure.
    """
    path = path.resolve()
    temporary = leftover_of(path)
    try:
        with temporary.open("w", encoding="utf-8") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class WholeFiles:
    """A file system of DVC that replaces a text file whole when DVC writes it.

    Args:
        fs: DVC's file system, which does everything else.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def open(self, path: str, mode: str = "r", **options: Any) -> AbstractContextManager[IO[str]]:
        """Open a file as DVC does; use the result in a ``with`` statement."""
        return rewritten(Path(path)) if mode.startswith("w") else self._fs.open(path, mode, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fs, name)

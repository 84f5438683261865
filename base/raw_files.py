"""What a path that a user names leads to: regular files are read, folders are walked, nothing else is opened.

Opening a named pipe waits until somebody writes, a device may never end, and both give their bytes once only, where
files are read several times. A walk enters each folder once, so that links in circles end, and doesn't recurse, so that
folders may be as deep as a path can be long.
"""

import errno
import glob
import heapq
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

ODD_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
MOST_LINKS = 10_000  # to folders, that a `**` follows
NOWHERE = (errno.ENOENT, errno.ELOOP)


class Found(NamedTuple):
    """Something below a folder.

    Attributes:
        path: with the names of the links that led there.
        kind: ``again`` is a folder that the walk has entered already, ``broken`` a link that leads nowhere, ``odd``
            something that is neither file nor folder.
    """

    path: Path
    kind: Literal["file", "folder", "again", "broken", "odd"]


def why_not_a_file(path: Path) -> str:
    """Say why something must not be opened; empty of a file, a folder, and where nothing is."""
    try:
        kind = ODD_KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError as error:
        return "is a link that leads to nothing" if error.errno in NOWHERE and path.is_symlink() else ""
    return kind and f"is {kind}, and only regular files are read"


def walk(root: Path) -> Iterator[Found]:
    """Yield everything below a folder, in no order; what is hidden is passed over.

    A folder that several names lead to is walked under its own one, else under the first link in path order.

    Raises:
        OSError: a folder cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else heapq.heappop(links)
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            yield Found(folder, "again")
            continue
        seen.add((status.st_dev, status.st_ino))
        if folder != root:
            yield Found(folder, "folder")
        for child in folder.iterdir():
            if child.name.startswith("."):
                continue
            kind = _kind_of(child)
            if kind != "folder":
                yield Found(child, kind)
            elif child.is_symlink():
                heapq.heappush(links, child)
            else:
                folders.append(child)


def _kind_of(path: Path) -> Literal["file", "folder", "broken", "odd"]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in NOWHERE:
            return "broken"
        raise
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "odd"


def matches(pattern: str) -> list[Path]:
    """Return what a glob matches; ``**`` stands for any number of folders, linked ones too.

    ``glob.glob`` follows links in a circle until the system refuses, so that two of them make 2^40 paths. Here a link
    to a folder that it lies in is not followed.

    Raises:
        OSError: a ``**`` has followed too many links.
    """
    chunks = [Path(chunk) for chunk in re.split(r"(?:^|(?<=/))\*\*(?:/|$)", pattern)]
    if len(chunks) == 1:
        return [Path(match) for match in glob.glob(pattern)]  # noqa: PTH207 - Path.glob takes no absolute patterns
    found = [Path(match) for match in glob.glob(str(chunks[0]))]  # noqa: PTH207
    for chunk in chunks[1:]:
        below = dict.fromkeys(path for base in found for path in _all_below(base, pattern))
        if chunk == Path():
            found = list(below)
        else:
            found = [path / match for path in below for match in glob.glob(str(chunk), root_dir=path)]  # noqa: PTH207
    return [path for path in dict.fromkeys(found) if path.is_dir() or not pattern.endswith("/")]


def _all_below(base: Path, pattern: str) -> Iterator[Path]:
    """Yield a path and, if it is a folder, all that is not hidden in it, by every name that leads there."""
    num_links = 0
    places: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(base, ())]
    while places:
        path, above = places.pop()
        try:
            status = path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            children = list(path.iterdir()) if stat.S_ISDIR(status.st_mode) else []
        except OSError:  # a link that leads nowhere, no permission: glob doesn't look into them either
            children = []
        yield path
        if not children:
            continue
        num_links += path != base and path.is_symlink()
        if num_links > MOST_LINKS:
            raise OSError(errno.ELOOP, f"more than {MOST_LINKS:,} links to folders below; name folders", pattern)
        places += [(child, (*above, identity)) for child in children if not child.name.startswith(".")]

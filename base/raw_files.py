"""Finds the files behind a path that a user names: regular files are read, folders are walked, nothing else is opened.

Opening a named pipe waits until another process writes, and a device may never end; both can be read only once, but
this project reads files several times. A walk enters each folder once, so circular links end, and uses no recursion,
so folders may be nested as deeply as a path can be long.
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
MAX_LINKS = 10_000  # links to folders that a `**` follows at most
BROKEN_LINK_ERRORS = (errno.ENOENT, errno.ELOOP)


class Found(NamedTuple):
    """A path found below a folder.

    Attributes:
        path: contains the names of the links that the walk followed.
        kind: ``again`` is a folder that the walk has already entered, ``broken`` a broken link, ``odd`` neither a
            regular file nor a folder.
    """

    path: Path
    kind: Literal["file", "folder", "again", "broken", "odd"]


def why_not_a_file(path: Path) -> str:
    """Return why a path must not be opened; an empty text for a file, a folder and a path that doesn't exist."""
    try:
        kind = ODD_KINDS.get(stat.S_IFMT(path.stat().st_mode), "")
    except OSError as error:
        return "is a link that leads to nothing" if error.errno in BROKEN_LINK_ERRORS and path.is_symlink() else ""
    return kind and f"is {kind}, and only regular files are read"


def walk(root: Path) -> Iterator[Found]:
    """Yield everything below a folder, in no defined order; hidden files and folders are skipped.

    A folder with several names is walked under its real name if that is below the root, else under the first link in
    path order.

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
        if error.errno in BROKEN_LINK_ERRORS:
            return "broken"
        raise
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "odd"


def matches(pattern: str) -> list[Path]:
    """Return the paths that a glob matches; ``**`` stands for any number of folders, including linked folders.

    ``glob.glob`` follows circular links until the system raises an error, so two such links give 2^40 paths. This
    function doesn't follow a link to a folder that contains the link.

    Raises:
        OSError: a ``**`` has followed more than `MAX_LINKS` links.
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
    """Yield a path and, if it is a folder, everything below it that is not hidden, under each of its names."""
    num_links = 0
    pending: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(base, ())]  # path, identities of the folders above it
    while pending:
        path, above = pending.pop()
        try:
            status = path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            children = list(path.iterdir()) if stat.S_ISDIR(status.st_mode) else []
        except OSError:  # a broken link or no permission: glob lists no children of such a path either
            children = []
        yield path
        if not children:
            continue
        num_links += path != base and path.is_symlink()
        if num_links > MAX_LINKS:
            raise OSError(errno.ELOOP, f"more than {MAX_LINKS:,} links to folders; name the folders instead", pattern)
        pending += [(child, (*above, identity)) for child in children if not child.name.startswith(".")]

"""A process and all that it started, of which any may end while it is looked at."""

import contextlib
from collections.abc import Iterator

import psutil


def family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def commands(pid: int) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Yield the processes of a family that still run, each with its command line."""
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            yield process, process.cmdline()


def listening(pid: int) -> set[tuple[str, int]]:
    """Return the addresses, as host and port, at which a family listens."""
    found = set()
    for process in family(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            found |= {tuple(each.laddr) for each in connections if each.status == psutil.CONN_LISTEN}
    return found

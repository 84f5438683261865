"""Paths that are neither file nor folder, folders too deep for recursion, and a time limit: a named pipe blocks."""

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after some seconds, even in a blocking call."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def make_socket(path: Path) -> None:
    """Create a socket; its name may be longer than a socket's address."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(here)


ODD: dict[str, Callable[[Path], None]] = {
    "a named pipe": os.mkfifo,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@contextmanager
def deep_folder(root: Path) -> Iterator[Path]:
    """Create a folder 1,500 folders below another, deeper than Python recurses; yield its path relative to that one."""
    here, path = Path.cwd(), Path(*["d"] * 1_500)
    os.chdir(root)
    for _ in path.parts:
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    os.chdir(here)
    try:
        yield path
    finally:
        subprocess.run(["rm", "-r", root / "d"], check=True)  # shutil.rmtree recurses

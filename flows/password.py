"""The password of this workspace's Prefect server: one for all its servers, in a file that only its owner can read.

It stays the same over restarts, so that a flow run that outlives its server can go on with the next one, and so that
`make ui` and a flow in a terminal, which share a database, let each other's clients in. Delete the file while no server
runs, and the next one makes a new password.
"""

import fcntl
import os
import secrets
import stat
from pathlib import Path

from base.artifacts import whole_file
from base.console import UserError

FILE = "password"
USER = "clicksight"  # Prefect compares user and password as one text, `user:password`
NUM_BYTES = 24  # of randomness


def password_file(home: Path) -> Path:
    """Return where the password is.

    Args:
        home: Prefect's folder, `.state/prefect`.
    """
    return home / FILE


def password(home: Path) -> str:
    """Return the password as Prefect takes it, `user:password`; one is made if there is none that others can't know.

    Args:
        home: Prefect's folder, which exists.

    Raises:
        UserError: the file belongs to another user.
    """
    file = password_file(home)
    try:
        with (home / f"{FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of two servers that start at once, one makes it
            if not (text := _read(file)):
                text = f"{USER}:{secrets.token_urlsafe(NUM_BYTES)}"
                write_private(file, f"{text}\n")
            return text
    except PermissionError as error:
        raise UserError(
            f"{error.filename}: another user's ({error.strerror}); start the server as that user, or delete {home}, "
            "which has the records of earlier runs"
        ) from None


def write_private(file: Path, text: str) -> None:
    """Write a file that nobody else can read at any moment, whole or not at all."""
    with whole_file(file) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)


def _read(file: Path) -> str:
    """Return what a file has; nothing if it is not there, or others may have read it."""
    if not file.exists():
        return ""
    with file.open(encoding="utf-8") as opened:
        found = os.fstat(opened.fileno())
        is_private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        return opened.read().strip() if is_private else ""

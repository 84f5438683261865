"""The password that all Prefect servers of this workspace use, in a file that only its owner can read.

The password stays the same over restarts. A flow run that outlives its server can then continue with the next server,
and `make ui` and a flow in a terminal, which share a database, accept each other's clients. To get a new password,
delete the file while no server runs; the next server makes one.
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
NUM_BYTES = 24  # of random data in the password


def password_file(home: Path) -> Path:
    """Return the path of the password's file.

    Args:
        home: Prefect's folder, `.state/prefect`.
    """
    return home / FILE


def password(home: Path) -> str:
    """Return the login as Prefect takes it, `user:password`; make one if there is none, or others could read it.

    Args:
        home: Prefect's folder, which exists.

    Raises:
        UserError: the file belongs to another user.
    """
    file = password_file(home)
    try:
        with (home / f"{FILE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # if two servers start at once, only one makes the password
            if not (text := _read(file)):
                text = f"{USER}:{secrets.token_urlsafe(NUM_BYTES)}"
                write_private(file, f"{text}\n")
            return text
    except PermissionError as error:
        raise UserError(
            f"{error.filename}: the file is another user's ({error.strerror}); start the server as that user, or "
            f"delete {home}, which has the records of earlier runs"
        ) from None


def write_private(file: Path, text: str) -> None:
    """Write a file whole or not at all; other users can read it at no moment."""
    with whole_file(file) as temporary:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)


def _read(file: Path) -> str:
    """Return the text of a file; empty if the file does not exist, or others may have read it."""
    if not file.exists():
        return ""
    with file.open(encoding="utf-8") as opened:
        found = os.fstat(opened.fileno())
        is_private = found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077
        return opened.read().strip() if is_private else ""

"""Files that a user names, before they are opened."""

from pathlib import Path

from base.console import UserError
from base.raw_files import why_not_a_file


def is_file(path: Path) -> bool:
    """Whether there is a file, or a link to one.

    Raises:
        UserError: something that must not be opened is in its place: a named pipe, a socket, a device, a broken link.
    """
    check_file(path)
    return path.is_file()


def check_file(path: str | Path) -> None:
    """Check that reading a path can end; that there is something, opening it says.

    Raises:
        UserError: it is a named pipe, a socket, a device, or a link that leads nowhere.
    """
    if reason := why_not_a_file(Path(path)):
        raise UserError(f"{path}: {reason}; write what is to be read into a file and name that")

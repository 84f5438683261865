"""Checks of files that a user names, before they are opened."""

from pathlib import Path

from base.console import UserError
from base.raw_files import why_not_a_file
from base.stores import Location, StorePath


def is_file(path: Location) -> bool:
    """Return whether the path is a file, or a link to one.

    Raises:
        UserError: the path must not be opened: it is a named pipe, a socket, a device or a broken link.
    """
    check_file(path)
    return path.is_file()


def check_file(path: str | Location) -> None:
    """Check that a path can be read to its end; a missing file passes, since opening it raises an error anyway.

    Objects of a store pass too.

    Raises:
        UserError: the path is a named pipe, a socket, a device or a broken link.
    """
    if not isinstance(path, StorePath) and (reason := why_not_a_file(Path(path))):
        raise UserError(f"{path}: {reason}; write the data into a file and name that file")

"""The way into the flows' page for a person: the password in the terminal, or a browser that opens logged in.

Prefect's page asks for the password once and keeps it in the browser. A file that only its owner can read brings it
there as well: opened in a browser, it posts the password to the server (:mod:`flows.locked_server`), whose answer keeps
it for the page. So the password is in no URL, thus in no history, and in no command line, which everybody can read.
"""

import contextlib
import html
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from flows.password import write_private

FILE = "open.html"
PATH = "/enter"  # where the server takes the password
FIELD = "password"
OPENER = "xdg-open"
FORM = """\
<!DOCTYPE html>
<meta charset="utf-8">
<title>Clicksight: the flows' page</title>
<form method="post" action="{address}{path}">
<input type="hidden" name="{field}" value="{auth_string}">
<button>Open the flows' page</button>
</form>
<script>document.forms[0].submit()</script>
"""


@contextlib.contextmanager
def entrance(home: Path, address: str, auth_string: str) -> Iterator[Path]:
    """Yield a file that opens the page logged in; it is removed at the end.

    Args:
        home: Prefect's folder, where it is.
        address: the page's, as in ``http://127.0.0.1:4200``.
        auth_string: the password, as in ``user:password``.
    """
    file = home / FILE
    form = FORM.format(address=address, path=PATH, field=FIELD, auth_string=html.escape(auth_string))
    write_private(file, form)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def password_line(output: TextIO, auth_string: str, place: object) -> str:
    """Return what a person needs to get in: the password if a terminal shows it, else, as in a log, where it is.

    Args:
        output: where the line will be written.
        auth_string: the password.
        place: where it is kept: a file, or a variable of the environment.
    """
    return f"Its password: {auth_string}\n" if output.isatty() else f"Its password is in {place}\n"


def can_open_browser(environment: Mapping[str, str], output: TextIO) -> bool:
    """Whether a person sits before this machine, with a browser to be had: a screen, and a terminal that is not SSH's.

    Args:
        environment: of this process.
        output: what the command writes to.
    """
    has_screen = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    is_elsewhere = bool(environment.get("SSH_CONNECTION") or environment.get("CI"))
    return output.isatty() and has_screen and not is_elsewhere and shutil.which(OPENER) is not None


def open_browser(file: Path) -> None:
    """Open a file in the person's browser, as a process of its own; what that says is nobody's business."""
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [OPENER, str(file.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

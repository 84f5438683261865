"""Log a person in to the flows' page: print the password in the terminal, or open a browser that is logged in.

Prefect's page asks for the password once and stores it in the browser. An HTML file that only its owner can read does
the same: opened in a browser, it posts the password to the server (:mod:`flows.server.locked_server`), and a script in
the answer stores the password for the page. The password is therefore in no URL, so in no browser history, and in no
command line, which every user of the machine can read.
"""

import contextlib
import html
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from base.terminal import printable
from flows.server.password import write_private

FILE = "open.html"
PATH = "/enter"  # the server's address for the password form
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
    """Yield the HTML file that logs a browser in and opens the page; delete the file when the block ends.

    Args:
        home: Prefect's folder, where the file is written.
        address: of the page, for example ``http://127.0.0.1:4200``.
        auth_string: the login, in the form ``user:password``.
    """
    file = home / FILE
    form = FORM.format(address=address, path=PATH, field=FIELD, auth_string=html.escape(auth_string))
    write_private(file, form)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def password_line(output: TextIO, auth_string: str, source: object) -> str:
    """Return a line with the password if the output is a terminal; otherwise (a log) with the password's source.

    Control characters are escaped.

    Args:
        output: the stream that the caller writes the line to.
        auth_string: the login, in the form ``user:password``.
        source: the file or environment variable that holds the login.
    """
    text = f"Its password: {auth_string}" if output.isatty() else f"Its password is in {source}"
    return f"{printable(text)}\n"


def can_open_browser(environment: Mapping[str, str], output: TextIO) -> bool:
    """Return True if a person sits at this machine: there are a screen, a terminal and ``xdg-open``, no SSH, no CI.

    Args:
        environment: of this process.
        output: the stream that the command writes to.
    """
    has_screen = bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))
    is_remote = bool(environment.get("SSH_CONNECTION") or environment.get("CI"))
    return output.isatty() and has_screen and not is_remote and shutil.which(OPENER) is not None


def open_browser(file: Path) -> None:
    """Open a file in the person's browser, in a separate process whose output is discarded."""
    with contextlib.suppress(OSError):
        subprocess.Popen(
            [OPENER, str(file.absolute())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

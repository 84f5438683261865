"""Serve the flows: start a Prefect server with its page on this machine, and offer the deployments there.

    python -m flows.serve                  # or: make ui
    python -m flows.serve --port 4300 --deployments mine.yaml

The command serves the deployments of deployments.yaml, with their schedules, and one per study of dvc.yaml
(flows/deployments.py), until Ctrl-C. The server stores runs in .state/prefect. If PREFECT_API_URL is set, the command
starts no server and serves the deployments on the server at that URL.

The page asks for a password. The command prints it in a terminal; otherwise it prints where the password is, by default
.state/prefect/password. Where there is a screen, the command opens a browser that is logged in.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import httpx
from prefect import serve
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, PREFECT_SERVER_API_AUTH_STRING

from base.console import UserError, described, is_user_error
from base.terminal import printable
from flows.deployments import DEFAULT_PATH, of_studies, read_deployments
from flows.hangup import interrupt_on_hangup
from flows.server.entrance import can_open_browser, entrance, open_browser, password_line
from flows.server.lifetime import refused, server
from flows.server.password import password_file
from flows.stages import Workspace
from flows.studies import studies
from flows.walk import mark_crashed

PORT = 4200


def all_deployments(path: Path, workspace: Workspace) -> list[RunnerDeployment]:
    """Return the deployments of the file ``path``, and one for each study of the workspace.

    Raises:
        UserError: the file of deployments, dvc.yaml or params.yaml is broken.
    """
    listed = read_deployments(path)
    return [
        *(deployment.for_prefect() for deployment in listed),
        *of_studies(studies(workspace.matrices()), listed),
    ]


def mark_killed_run(workspace: Workspace) -> None:
    """Mark the workspace's last flow run as crashed if it was killed; do nothing if a flow run is still alive."""
    try:
        with workspace.hold({"name": "serve"}) as killed:
            mark_crashed(killed)
    except UserError:
        return


def show_entrance(address: str, exit_stack: ExitStack, may_open: bool) -> None:
    """Print the password of the server that this command started, or where it is; open a browser if a person sees it.

    Args:
        address: of the page.
        exit_stack: deletes the file that opens the page when this command ends.
        may_open: whether a browser may be opened.
    """
    home, auth_string = Path(PREFECT_HOME.value()), str(PREFECT_API_AUTH_STRING.value())
    is_chosen = bool(PREFECT_SERVER_API_AUTH_STRING.value())
    source = PREFECT_SERVER_API_AUTH_STRING.name if is_chosen else password_file(home)
    file = exit_stack.enter_context(entrance(home, address, auth_string))
    sys.stdout.write(password_line(sys.stdout, auth_string, source))
    if may_open and can_open_browser(os.environ, sys.stdout):
        open_browser(file)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted; the exit code is 2 if a mistake of the user prevents serving, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT, help=f"the page's port (default: {PORT})")
    parser.add_argument("--deployments", type=Path, default=DEFAULT_PATH, help=f"the file (default: {DEFAULT_PATH})")
    parser.add_argument("--no-browser", action="store_true", help="open no browser, even where there is a screen")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends the command as Ctrl-C does
    interrupt_on_hangup()
    try:
        workspace = Workspace(Path.cwd())
        deployments = all_deployments(options.deployments, workspace)
        starts_server = not PREFECT_API_URL.value()
        with server(port=options.port, page=True) as address, ExitStack() as exit_stack:
            sys.stdout.write(f"The flows' page: {printable(address)}\n")
            if starts_server:
                show_entrance(address, exit_stack, not options.no_browser)
            sys.stdout.write("Ctrl-C ends it.\n")
            sys.stdout.flush()
            mark_killed_run(workspace)
            try:
                serve(*deployments, limit=1)  # one run at a time: a second would find the workspace occupied
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.UNAUTHORIZED:
                    raise
                raise refused(address) from None
    except Exception as error:
        if not is_user_error(error):
            raise
        for line in described(error).split("\n"):  # our own line breaks; printable escapes all other control characters
            sys.stderr.write(f"error: {printable(line)}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def exit_now(code: int) -> NoReturn:
    """End the process without waiting for threads: Python would wait for ever for an idle worker thread of AnyIO."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ended:
        exit_now(ended.code if isinstance(ended.code, int) else 0)
    exit_now(0)

"""Serves the flows: a Prefect server with its page on this machine, and the deployments to start from it.

    python -m flows.serve                  # or: make ui
    python -m flows.serve --port 4300 --deployments mine.yaml

Offers what deployments.yaml lists, on its schedules, and each study of dvc.yaml (flows/deployments.py). Until Ctrl-C.
Runs are kept in .state/prefect; with PREFECT_API_URL set, the deployments go to that server instead.

The page asks for a password. A terminal shows it, otherwise it is in .state/prefect/password; where there is a screen,
a browser opens with it.
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

from base.console import UserError
from flows.deployments import DEFAULT_PATH, of_studies, read_deployments
from flows.entrance import can_open_browser, entrance, open_browser, password_line
from flows.hangup import interrupt_on_hangup
from flows.password import password_file
from flows.server import refused, server
from flows.stages import Workspace
from flows.studies import studies
from flows.walk import mark_crashed

PORT = 4200


def offered(path: Path, workspace: Workspace) -> list[RunnerDeployment]:
    """Return what the page offers to run on the folder this command runs in.

    Raises:
        UserError: the file of deployments, dvc.yaml or params.yaml is broken.
    """
    listed = read_deployments(path)
    return [
        *(deployment.for_prefect() for deployment in listed),
        *of_studies(studies(workspace.matrices()), listed),
    ]


def clear_up(workspace: Workspace) -> None:
    """Tell the server of a flow run that was killed with an earlier server; one that still lives is left alone."""
    try:
        with workspace.hold({"name": "serve"}) as killed:
            mark_crashed(killed)
    except UserError:
        return


def show_entrance(address: str, until_the_end: ExitStack, may_open: bool) -> None:
    """Say what opens the page of our own server, and open it where a person sits before it.

    Args:
        address: the page's.
        until_the_end: keeps the file that opens it.
        may_open: whether a browser may be opened.
    """
    home, auth_string = Path(PREFECT_HOME.value()), str(PREFECT_API_AUTH_STRING.value())
    is_chosen = bool(PREFECT_SERVER_API_AUTH_STRING.value())
    place = PREFECT_SERVER_API_AUTH_STRING.name if is_chosen else password_file(home)
    file = until_the_end.enter_context(entrance(home, address, auth_string))
    sys.stdout.write(password_line(sys.stdout, auth_string, place))
    if may_open and can_open_browser(os.environ, sys.stdout):
        open_browser(file)


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT, help=f"where the page stands (default: {PORT})")
    parser.add_argument("--deployments", type=Path, default=DEFAULT_PATH, help=f"the file ({DEFAULT_PATH})")
    parser.add_argument("--no-browser", action="store_true", help="open none, also where there is a screen")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    interrupt_on_hangup()
    try:
        workspace = Workspace(Path.cwd())
        deployments = offered(options.deployments, workspace)
        is_ours = not PREFECT_API_URL.value()
        with server(port=options.port, page=True) as address, ExitStack() as until_the_end:
            sys.stdout.write(f"The flows' page: {address}\n")
            if is_ours:
                show_entrance(address, until_the_end, not options.no_browser)
            sys.stdout.write("Ctrl-C ends it.\n")
            sys.stdout.flush()
            clear_up(workspace)
            try:
                serve(*deployments, limit=1)  # one run at a time: two would wait for each other's stages
            except httpx.HTTPStatusError as error:
                if error.response.status_code != httpx.codes.UNAUTHORIZED:
                    raise
                raise refused(address) from None
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def leave(code: int) -> NoReturn:
    """End now. AnyIO may leave an idle worker thread behind, for which Python would wait for ever."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ended:
        leave(ended.code if isinstance(ended.code, int) else 0)
    leave(0)

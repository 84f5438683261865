"""Serves the flows: a Prefect server with its page on this machine, and the deployments to start from it.

    python -m flows.serve                  # or: make ui
    python -m flows.serve --port 4300 --deployments mine.yaml

Offers what deployments.yaml lists, on its schedules, and each study of dvc.yaml (flows/deployments.py). Until Ctrl-C.
Runs are kept in .state/prefect; with PREFECT_API_URL set, the deployments go to that server instead.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from base.console import UserError
from flows.deployments import DEFAULT_PATH, of_studies, read_deployments
from flows.hangup import interrupt_on_hangup
from flows.server import server
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


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT, help=f"where the page stands (default: {PORT})")
    parser.add_argument("--deployments", type=Path, default=DEFAULT_PATH, help=f"the file ({DEFAULT_PATH})")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    interrupt_on_hangup()
    try:
        workspace = Workspace(Path.cwd())
        deployments = offered(options.deployments, workspace)
        with server(port=options.port, page=True) as address:
            sys.stdout.write(f"The flows' page: {address}\nCtrl-C ends it.\n")
            sys.stdout.flush()
            clear_up(workspace)
            serve(*deployments, limit=1)  # one run at a time: two would wait for each other's stages
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

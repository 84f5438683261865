"""Serves the flows: a Prefect server with its page on this machine, and the deployments to start from it.

    python -m flows.serve                  # or: make ui
    python -m flows.serve --port 4300

Until Ctrl-C. Runs are kept in .state/prefect; with PREFECT_API_URL set, the deployments go to that server instead.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from flows.reproduce import reproduce
from flows.server import interrupt_on_hangup, server
from pipelines.console import UserError

PORT = 4200


def deployment() -> RunnerDeployment:
    """Return what the page offers to run: the reproduce flow on the folder this command runs in."""
    return RunnerDeployment.from_flow(
        reproduce, name="workspace", description="Brings every artifact of this folder up to date."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=PORT, help=f"where the page stands (default: {PORT})")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    interrupt_on_hangup()
    try:
        with server(port=options.port, page=True) as address:
            sys.stdout.write(f"The flows' page: {address}\nCtrl-C ends it.\n")
            sys.stdout.flush()
            # One run at a time: two would wait for each other's stages.
            serve(deployment(), limit=1)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()

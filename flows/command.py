"""Running a flow from a terminal: here and now, with a server of its own, and with real exit codes."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import httpx
from prefect.client.schemas.objects import State

from base.console import UserError
from flows import walk
from flows.hangup import interrupt_on_hangup
from flows.server import refused, server


def add_cpu_slots(parser: argparse.ArgumentParser) -> None:
    """Add the option that every flow has."""
    parser.add_argument(
        "--cpu-slots", type=_slots, metavar="N", help="stages at once on the CPUs (default: the number of cores)"
    )


def _slots(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return int(text)


def run_here(flow: Callable[[], State[Any]], check: Callable[[], object]) -> None:
    """Run a flow in this process, and leave with exit code 0 if it completed.

    Args:
        flow: calls the flow and returns its final state.
        check: is called first and raises UserError for a mistake that needs no server to be seen.

    Raises:
        SystemExit: 1 a stage failed, 2 nothing could be run, 130 interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    interrupt_on_hangup()
    try:
        check()
        with server() as address:
            state = _run(flow, address)
    except UserError as error:  # a mistake, or the server did not start
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what is finished stays, the next run goes on from there\n")
        raise SystemExit(130) from None
    sys.stderr.write(f"\n{state.name}: {state.message}\n")
    if not state.is_completed():
        raise SystemExit(1)


def _run(flow: Callable[[], State[Any]], address: str) -> State[Any]:
    """Run a flow; return its final state. If the server is gone by then, say how the work ended, and leave.

    Raises:
        UserError: there is no server to begin with, or it refuses the password.
    """
    walk.ended_as.set(None)
    try:
        return flow()
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.UNAUTHORIZED:
            raise
        raise refused(address) from None
    except httpx.TransportError as error:
        state = walk.ended_as.get()
        if state is None:
            raise UserError(
                f"no Prefect server answers on {address} ({error}); start it, or unset PREFECT_API_URL to have one "
                "for the moment"
            ) from None
        sys.stderr.write(
            f"\nThe Prefect server on {address} is gone ({error}): its page won't show how this run ended.\n"
        )
        sys.stderr.write(f"\n{state.name}: {state.message}\n")
        sys.stderr.flush()
        # At an ordinary end Prefect's threads would look for the server for minutes yet.
        os._exit(0 if state.is_completed() else 130 if state.is_cancelled() else 1)

"""Running a flow from a terminal: here and now, with a server of its own, and with real exit codes."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
from prefect.client.schemas.objects import State

from base.console import described, duration, is_user_error
from base.terminal import printable
from flows import walk
from flows.display import LOGS, display
from flows.hangup import interrupt_on_hangup
from flows.server.lifetime import no_answer, refused, server

BREAKS = "\n\t"  # of our own messages


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all flows have."""
    parser.add_argument(
        "--cpu-slots", type=_slots, metavar="N", help="stages at once on the CPUs (default: the number of cores)"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help=f"print all output of all stages, which is in {LOGS} anyway"
    )


def _slots(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return int(text)


def run_here(name: str, flow: Callable[[], State[Any]], check: Callable[[], object], verbose: bool = False) -> None:
    """Run a flow in this process, and leave with exit code 0 if it completed.

    Args:
        name: the flow's, for its log file.
        flow: calls the flow and returns its final state.
        check: called before the server starts; raises UserError for a mistake of the user.
        verbose: print all output of all stages.

    Raises:
        SystemExit: 1 if a stage failed, 2 if nothing could be run, 130 if interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    interrupt_on_hangup()
    started = time.monotonic()
    try:
        check()
        with display(name, verbose) as log_file, server() as address:
            sys.stderr.write(f"log: {log_file}\n")
            state = _run(flow, address)
    except Exception as error:
        if not is_user_error(error):
            raise
        sys.stderr.write(f"error: {printable(described(error), keep=BREAKS)}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; what is finished stays, the next run goes on from there\n")
        raise SystemExit(130) from None
    took = duration(time.monotonic() - started)
    sys.stderr.write(f"\n{state.name}: {printable(str(state.message), keep=BREAKS)}\n")
    sys.stderr.write(f"took {took}; all output: {log_file}\n")
    if not state.is_completed():
        raise SystemExit(1)


def _run(flow: Callable[[], State[Any]], address: str) -> State[Any]:
    """Run a flow; return its final state. If the server has gone meanwhile, print the final state and exit.

    Raises:
        UserError: there is no server from the beginning, or it refuses the password.
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
            raise no_answer(address, error) from None
        sys.stderr.write(
            f"\nThe Prefect server on {address} is gone ({error}): its page won't show how this run ended.\n"
        )
        sys.stderr.write(f"\n{state.name}: {printable(str(state.message), keep=BREAKS)}\n")
        sys.stderr.flush()
        # At a normal exit Prefect's threads would try to reach the server for minutes.
        os._exit(0 if state.is_completed() else 130 if state.is_cancelled() else 1)

"""What Flink's stack traces say about why a part of a job, or the whole job, has failed."""

import re

from base.console import UserError
from pipelines.beam import workers

# The worker's connections break when it is killed; Flink's messages do not say more.
WORKER_ENDED = re.compile(r"CANCELLED: (?:client|call already) cancelled|Process died with exit code")
TRACEBACK = "Traceback (most recent call last)"


def traceback_in(cause: str) -> str:
    """Return the traceback of a worker's code from the stack traces of Java around it."""
    return cause[cause.find(TRACEBACK) :].partition("\n\n\tat ")[0].partition("\n\tat ")[0]


def reason_of(cause: str) -> str:
    """Return the innermost reason of Java's stack traces as one line, without the exception's name."""
    lines = [line for line in cause.splitlines() if line and not line.startswith(("\t", "\t...", " "))]
    innermost = lines[-1] if lines else "unknown"
    return re.sub(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]+: ", "", innermost)


def failure(cause: str, address: str) -> Exception:
    """Return the error of a job that Flink has given up."""
    if TRACEBACK in cause:
        return RuntimeError(traceback_in(cause))
    if WORKER_ENDED.search(cause):
        return UserError(
            f"{workers.ENDED}, again and again; if it was killed, the memory ran out: free some memory, or use fewer "
            "slots"
        )
    return UserError(f"the cluster at {address} has given up the job: {reason_of(cause)}; see the TaskManagers' logs")

"""Runs a command so that nothing it starts outlives the process that asked for it, however that one ends.

    python -I -S flows/guard.py GRACE_S HANDLES COMMAND [ARGUMENT ...]

Standard input is a pipe whose other end the asking process holds. When that end closes, on purpose or because the
process was killed, the command's process group gets SIGINT (as from Ctrl-C: DVC finishes its bookkeeping), GRACE_S
seconds later SIGTERM, then all that is left is killed. When the command ends by itself, what it has left behind is
killed at once. The guard is the "subreaper" of its command (Linux): also a process that left the group (``setsid``) and
lost its parent becomes the guard's child, and ends. Its exit code is the command's, or it dies of the same signal.
The command gets the file descriptors HANDLES (``5,7``, or nothing) of those that the guard was given.

A script with no imports but the standard library's, so that it starts in some 20 ms.
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LIFELINE = 0  # standard input


def main(argv: list[str]) -> None:
    """Run the command and end as it did."""
    grace_s, command = float(argv[0]), argv[2:]
    for_command = {int(name) for name in argv[1].split(",") if name}
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(how, lambda number, frame: None)  # unlike "ignore", not inherited by the command
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    for handle in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208
        if handle > 2 and handle not in for_command:
            close_on_exec(handle)
    process = os.posix_spawnp(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, LIFELINE, os.devnull, os.O_RDONLY, 0)]
    )
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([LIFELINE, ended], [], [])
    statuses: dict[int, int] = {}
    if ended not in ready:
        for how in (signal.SIGINT, signal.SIGTERM):
            os.killpg(0, how)
            if fetch_children(statuses, grace_s):
                break
    kill_children(statuses)
    leave(os.waitstatus_to_exitcode(statuses[process]))


def close_on_exec(handle: int) -> None:
    """Keep a file that the asker passed on (its lock) from the command."""
    try:
        os.set_inheritable(handle, False)
    except OSError:  # the handle of the listing itself
        return


def fetch_children(statuses: dict[int, int], timeout_s: float) -> bool:
    """Fetch the statuses of children that end within a time; return whether there are none any more."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if process:
            statuses[process] = status
        elif time.monotonic() >= deadline:
            return False
        else:
            time.sleep(0.02)


def kill_children(statuses: dict[int, int]) -> None:
    """Kill all children, then those that became children by that, until there are none."""
    while not fetch_children(statuses, 0):
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text(encoding="ascii").split():
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.01)


def leave(exit_code: int) -> None:
    """End as the command did; a negative exit code is a signal."""
    if exit_code < 0 and -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    if exit_code < 0:
        os.kill(os.getpid(), -exit_code)
    sys.exit(exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])

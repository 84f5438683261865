"""Run a command so that no process that it starts outlives the guard's parent, however the parent ends.

    python -I -S flows/guard.py GRACE_S HANDLES COMMAND [ARGUMENT ...]

Standard input is a pipe whose other end the parent holds. When that end closes, because the parent closes it or is
killed, the command's process group gets SIGINT (as from Ctrl-C: DVC finishes its bookkeeping), GRACE_S seconds later
SIGTERM, and GRACE_S later the remaining processes are killed. When the command ends by itself, the processes that it
has left are killed at once. The guard is the "subreaper" of its command (Linux): a process that left the group
(``setsid``) and lost its parent becomes the guard's child, so the guard ends it too. The guard's exit code is the
command's, or the guard dies of the same signal. Of the guard's file descriptors the command gets only HANDLES (``5,7``,
or an empty text).

The script imports only the standard library, so that it starts in some 20 ms.
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
LIFELINE = 0  # standard input


def main(argv: list[str]) -> None:
    """Run the command and end with its exit code or signal."""
    grace_s, command = float(argv[0]), argv[2:]
    for_command = {int(name) for name in argv[1].split(",") if name}
    prepare()
    for handle in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208
        if handle > 2 and handle not in for_command:
            close_on_exec(handle)
    process = os.posix_spawnp(
        command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, LIFELINE, os.devnull, os.O_RDONLY, 0)]
    )
    watch(process, grace_s)


def prepare() -> None:
    """Let this process outlive the signals that it sends, and become the parent of orphans among its descendants."""
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, lambda number, frame: None)  # a handler, because the command would inherit SIG_IGN
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def watch(process: int, grace_s: float) -> NoReturn:
    """Wait for the end of a child or of the lifeline, end all descendants, and end as the child did."""
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([LIFELINE, ended], [], [])
    statuses: dict[int, int] = {}
    if ended not in ready:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            os.killpg(0, signal_number)
            if fetch_children(statuses, grace_s):
                break
    kill_children(statuses)
    leave(os.waitstatus_to_exitcode(statuses[process]))


def close_on_exec(handle: int) -> None:
    """Close a file descriptor of the parent (its lock) in the command."""
    try:
        os.set_inheritable(handle, False)
    except OSError:  # the descriptor by which the folder was listed
        return


def fetch_children(statuses: dict[int, int], timeout_s: float) -> bool:
    """Collect the exit statuses of children that end within a time; return True if no child is left."""
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
    """Kill all children, then the orphans that become children thereby, until none is left."""
    while not fetch_children(statuses, 0):
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text(encoding="ascii").split():
                os.kill(int(child), signal.SIGKILL)
        time.sleep(0.01)


def leave(exit_code: int) -> NoReturn:
    """End with the command's exit code; a negative one is the number of the signal to die of."""
    if exit_code < 0 and -exit_code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-exit_code, signal.SIG_DFL)
    if exit_code < 0:
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)  # nothing is buffered, and in a fork of a large process an orderly end takes its time


if __name__ == "__main__":
    main(sys.argv[1:])

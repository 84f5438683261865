"""The processes that train together, if a launcher has started several, on one machine (node) or more."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from base.console import UserError

PATIENCE = "CLICKSIGHT_PATIENCE_S"  # in the environment: seconds; see `patience`
SEEN_AFTER_S = 30.0  # a network file system may show a new folder to other machines only after some seconds
# What Gloo and NCCL write if another process has ended or doesn't answer.
LOST = re.compile(
    r"closed by (the )?peer|reset by peer|broken pipe|timed? ?out|pair closure|remote process exited|"
    r"no route to host|connection refused|communicator was aborted|unhandled system error",
    re.IGNORECASE,
)


def patience() -> timedelta:
    """Return how long a process waits for another one in a step, a validation or a checkpoint; half an hour if not set.

    Processes that end close their connections, so others notice at once. The time-out is for a machine that is cut off.

    Raises:
        UserError: the value in the environment is not a number of seconds.
    """
    text = os.environ.get(PATIENCE, "1800")
    if not text.isdecimal() or not int(text):
        raise UserError(f"{PATIENCE} = {text}: expected a number of seconds, as in 1800")
    return timedelta(seconds=int(text))


def training_processes() -> PartialState:
    """Return the number of processes that train together and the index of this process.

    Without a GPU, Accelerate needs `cpu=True`; otherwise each process of a launcher would run as the only process.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=several and not torch.cuda.is_available(), timeout=patience())


@contextmanager
def writes_alone() -> Iterator[bool]:
    """Yield True in the one process that may write, False in the other processes that train together.

    All processes wait for each other before and after the block: no other process still reads what this one deletes,
    and all of them find what it wrote.
    """
    group = training_processes()
    group.wait_for_everyone()
    yield group.is_main_process
    group.wait_for_everyone()


def check_shared(folder: Path) -> None:
    """Check that every process finds a folder that the first process has made.

    Raises:
        UserError: a process doesn't; all of them raise it.
    """
    group = training_processes()
    if group.num_processes == 1:
        return
    until = time.monotonic() + SEEN_AFTER_S
    while not folder.is_dir() and time.monotonic() < until:
        time.sleep(0.5)
    mine = [] if folder.is_dir() else [f"process {group.process_index} on {socket.gethostname()}: {folder.resolve()}"]
    lacking = gather_object(mine)
    if lacking:
        raise UserError(
            f"the first process made a folder for checkpoints that other processes don't find, as {lacking[0]}; all"
            " need the same current folder, on a file system that they share, and the same data, parameters and code"
        )


@contextmanager
def lost_processes_reported() -> Iterator[None]:
    """Turn the errors of Gloo and NCCL about a process that has ended or doesn't answer into a user error.

    Raises:
        UserError: while the block ran, another process ended or was cut off.
    """
    try:
        yield
    except RuntimeError as error:
        if training_processes().num_processes == 1 or not LOST.search(str(error)):
            raise
        reason = re.sub(r"^\[\S+\] ", "", str(error).strip()).partition(". ")[0]  # without the place in Gloo's source
        raise UserError(
            f"another process of this training has ended or doesn't answer ({reason}); its own last lines say why."
            " Start the same commands again on all machines: the training continues after its last finished epoch"
        ) from error

"""The processes that train together, if a launcher has started several."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import PartialState


def training_processes() -> PartialState:
    """Return the number of processes that train together and the index of this process.

    Without a GPU, Accelerate needs `cpu=True`; otherwise each process of a launcher would run as the only process.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


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

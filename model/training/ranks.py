"""The training_processes that train together, where a launcher has started several."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import PartialState


def training_processes() -> PartialState:
    """Return how many training_processes train together, and which of them this is.

    Accelerate has to be told that there is no GPU: else each process of a launcher would take itself for the only one.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=several and not torch.cuda.is_available())


@contextmanager
def writes_alone() -> Iterator[bool]:
    """Yield whether this process, of those that train together, is the one that writes.

    The others wait before and after it: none still reads what it removes, and all find what it wrote.
    """
    together = training_processes()
    together.wait_for_everyone()
    yield together.is_main_process
    together.wait_for_everyone()

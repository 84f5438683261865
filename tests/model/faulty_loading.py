"""Load batches in processes that fail in some way: `python faulty_loading.py KIND`; test_batches.py runs it.

Prints the sum of all loaded values.
"""

import os
import signal
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from base.console import UserError, stage
from model.data.batches import Draw, dead_loaders_reported, training_batches

MEBIBYTE = 1 << 20
ROWS = 16  # each is drawn twice


class Values(NamedTuple):
    values: Tensor  # uint8 (draws, MEBIBYTE): the number of the row


class Load:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, stream: str, draws: Sequence[Draw]) -> Values:
        if any(draw.row == 7 for draw in draws):
            self.fail()
        return Values(torch.stack([torch.full((MEBIBYTE,), draw.row, dtype=torch.uint8) for draw in draws]))

    def fail(self) -> None:
        if self.kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "unreadable":
            raise UserError("images image '7': cannot decode an image of 3 bytes")
        if self.kind == "defect":
            raise ZeroDivisionError


def main(kind: str) -> None:
    with stage("load"), dead_loaders_reported():
        batches = training_batches(Load(kind), {"images": np.arange(ROWS)}, 4, range(2 * ROWS // 4), 0, "faulty", 3)
        total = sum(int(loaded.batch["images"].values.sum()) for loaded in batches)
    sys.stdout.write(f"{total}\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Measures the speed of a training: a bar or log lines while it runs, and rates of each epoch."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from torch import Tensor

from base.console import duration, progress

log = logging.getLogger("clicksight")

REPORT_EVERY_S = 10.0
Item = TypeVar("Item")


class Clock:
    """Shows the speed and the time left of a phase: a bar on a terminal, else a log line every ten seconds.

    Args:
        name: names of run and phase.
        epochs: number of epochs of the phase.
        num_steps: number of steps left in the phase.
        later_phases: number of phases after this one.
        may_end_early: the phase may have fewer steps.
    """

    def __init__(self, name: str, epochs: int, num_steps: int, later_phases: int, may_end_early: bool = False) -> None:
        self.at_most = "at most " if may_end_early else ""
        self.name, self.epochs, self.steps_left, self.later_phases = name, epochs, num_steps, later_phases
        self.started = self.reported = time.perf_counter()
        self.images = self.steps = 0
        self.waited_s = 0.0
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Start counting the images and seconds of an epoch."""
        self._before = (time.perf_counter(), self.images, self.waited_s)

    def rates(self) -> dict[str, float]:
        """Return the rates since the epoch began, as curve values."""
        started, images, waited_s = self._before
        seconds = time.perf_counter() - started
        return {
            "speed/images per second": (self.images - images) / seconds,
            "speed/share of time waiting for data": (self.waited_s - waited_s) / seconds,
        }

    def bar(self, steps: Iterable[int], epoch: int, total: int) -> Iterable[int]:
        """Yield the steps of an epoch (from 0); on a terminal, show them as a moving bar."""
        if not sys.stderr.isatty():
            return steps
        return progress(steps, f"{self.name}, epoch {epoch + 1} of {self.epochs}", "steps", total)

    def waiting(self, items: Iterator[Item]) -> Item:
        """Return the next item, and add the time spent waiting for it."""
        before = time.perf_counter()
        item = next(items)
        self.waited_s += time.perf_counter() - before
        return item

    def step(self, num_images: int, epoch: int, loss: Tensor) -> None:
        """Count a step; without a bar, log a line every ten seconds."""
        self.images, self.steps, self.steps_left = self.images + num_images, self.steps + 1, self.steps_left - 1
        now = time.perf_counter()
        if now - self.reported < REPORT_EVERY_S or sys.stderr.isatty():
            return
        self.reported = now
        seconds = now - self.started
        log.info(
            "%s: epoch %d of %d, loss %.4f, %.0f images/s, %.0f %% of the time waiting for data, "
            "%s%s left in this phase%s",
            self.name,
            epoch + 1,
            self.epochs,
            loss.item(),
            self.images / seconds,
            100 * self.waited_s / seconds,
            self.at_most,
            duration(self.steps_left * seconds / self.steps),
            f", later phases: {self.later_phases}" if self.later_phases else "",
        )

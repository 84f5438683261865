"""A Beam step that works on several elements at once within one worker process.

The in-process runner gives a step one element at a time. Our elements are batches of some 10^5 rows, and NumPy, Arrow,
Polars and SciPy let other threads run while they work on them. So the elements wait in a thread pool, and every core is
used without a second process, its imports and its copies of the data. Where a runner itself starts one process per
core, the threads only fill idle time.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from base.console import UserError
from base.cores import CORES
from pipelines.beam.steps import add_microseconds


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return this process's pool. All steps share it, so together they work on as many elements as there are cores."""
    return ThreadPoolExecutor(CORES, thread_name_prefix="step")


class _OnThreads(beam.DoFn):
    """Calls a function on elements in threads; results are in the elements' order."""

    def __init__(self, step: str, function: Callable[..., Iterable[Any]], arguments: tuple[Any, ...]) -> None:
        self.step = step
        self.function = function
        self.arguments = arguments

    def start_bundle(self) -> None:
        self.under_way: deque[Future[tuple[list[Any], int]]] = deque()

    def process(self, element: Any, *side_inputs: Any) -> Iterator[Any]:
        self.under_way.append(_threads().submit(self._call, element, side_inputs))
        while len(self.under_way) > CORES:
            yield from self._oldest()

    def finish_bundle(self) -> Iterator[Any]:
        while self.under_way:
            yield from map(_windowed, self._oldest())

    def teardown(self) -> None:
        under_way = getattr(self, "under_way", ())
        for future in under_way:  # not empty if a bundle failed
            future.cancel()
        wait(under_way)  # a call that has begun may still write into a folder that is about to be removed

    def _call(self, element: Any, side_inputs: tuple[Any, ...]) -> tuple[list[Any], int]:
        started = time.perf_counter_ns()
        try:
            results = list(self.function(element, *self.arguments, *side_inputs))
        except BrokenProcessPool as error:  # of base.pool
            raise UserError(
                "a process of this command has died; probably it was killed because the memory ran out: free some "
                f"memory, or use fewer cores (taskset --cpu-list 0-{max(0, CORES // 2 - 1)} python -m ...)"
            ) from error
        return results, (time.perf_counter_ns() - started) // 1000

    def _oldest(self) -> list[Any]:
        results, microseconds = self.under_way.popleft().result()
        add_microseconds(self.step, microseconds)
        return results


def _windowed(result: Any) -> Any:
    """Return a result with the global window: finish_bundle must return windowed values."""
    if isinstance(result, beam.pvalue.TaggedOutput):
        return beam.pvalue.TaggedOutput(result.tag, GlobalWindows.windowed_value(result.value))
    return GlobalWindows.windowed_value(result)


def concurrently(step: str, function: Callable[..., Iterable[Any]], *arguments: Any) -> Any:
    """Return a ``FlatMap`` that calls a function on several elements at a time.

    Args:
        step: the name under which :func:`pipelines.beam.steps.seconds_by_step` adds up the function's seconds.
        function: picklable; takes an element and the arguments, returns any number of results; must not share
            state between calls.
        arguments: further arguments of the function; side inputs (``beam.pvalue.AsSingleton(...)``) must come last.
    """
    plain = tuple(value for value in arguments if not isinstance(value, beam.pvalue.AsSideInput))
    side_inputs = arguments[len(plain) :]
    return beam.ParDo(_OnThreads(step, function, plain), *side_inputs)

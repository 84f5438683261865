"""How long the steps of a Beam job took, added up over all workers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

NAMESPACE = "microseconds"


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Count the block's wall time towards a step; for use inside a worker, around plain computation."""
    started = time.perf_counter_ns()
    try:
        yield
    finally:
        Metrics.counter(NAMESPACE, step).inc((time.perf_counter_ns() - started) // 1000)


def seconds_by_step(result: PipelineResult) -> dict[str, float]:
    """Return the seconds that workers spent in each step of a finished job, by name."""
    seconds: dict[str, float] = {}
    for counter in result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        name = counter.key.metric.name
        seconds[name] = seconds.get(name, 0.0) + counter.result / 1e6
    return {name: round(value, 3) for name, value in sorted(seconds.items())}

"""The seconds that the steps of a Beam job took, added up over all workers."""

from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.runner import PipelineResult

NAMESPACE = "microseconds"


def add_microseconds(step: str, microseconds: int) -> None:
    """Add wall time to a step's counter; call it on the worker's own thread, while that works on a bundle."""
    Metrics.counter(NAMESPACE, step).inc(microseconds)


def seconds_by_step(result: PipelineResult) -> dict[str, float]:
    """Return the seconds that workers spent in each step of a finished job; {} if its runner has no counters."""
    seconds: dict[str, float] = {}
    try:
        metrics = result.metrics()
    except NotImplementedError:
        return seconds
    for counter in metrics.query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        name = counter.key.metric.name
        seconds[name] = seconds.get(name, 0.0) + counter.result / 1e6
    return {name: round(value, 3) for name, value in sorted(seconds.items())}

"""What a build costs on many workers, from what its steps cost on one core. Extrapolated: nothing here is measured.

A worker is one core of the measured machine. A step starts when the one before it has ended, as a shuffle makes it. It
is cut into parts, each of which one worker works on; parts are even. So on n workers a step takes

    seconds / min(n, parts) + bytes / (min(n, parts) bandwidth)

where `bytes` is what it receives from other workers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.beam.shuffle import MOST_SHARDS
from pipelines.ingest.click_log import BUCKET_BYTES
from pipelines.ingest.log_slices import SLICE_BYTES


@dataclass(frozen=True)
class Step:
    """A step of a job.

    Attributes:
        name: of the step.
        seconds: on one core.
        bytes: that it receives through a shuffle.
        parts: the largest number of workers that can share it.
    """

    name: str
    seconds: float
    bytes: float
    parts: int


def step_seconds(step: Step, workers: int, bandwidth: float) -> float:
    """Return how long a step takes on some workers; bandwidth in bytes/s of each worker."""
    busy = min(workers, step.parts)
    return step.seconds / busy + step.bytes / (busy * bandwidth)


def job_seconds(steps: Iterable[Step], workers: int, bandwidth: float) -> float:
    """Return how long all steps take, one after the other."""
    return sum(step_seconds(step, workers, bandwidth) for step in steps)


def bottleneck(steps: Sequence[Step], workers: int, bandwidth: float) -> Step:
    """Return the step that takes the longest, the first of several."""
    return max(steps, key=lambda step: step_seconds(step, workers, bandwidth))


def with_parts(steps: Iterable[Step], parts: int) -> list[Step]:
    """Return the steps, each cut into at least so many parts."""
    return [replace(step, parts=max(step.parts, parts)) for step in steps]


def num_slices(log_bytes: float) -> int:
    """Return into how many slices a log of text is cut while it is read."""
    return int(log_bytes // SLICE_BYTES) + 1


def num_buckets(log_bytes: float) -> int:
    """Return into how many buckets by query it is grouped."""
    return min(int(log_bytes // BUCKET_BYTES) + 1, MOST_SHARDS)


def bucket_images(rows: float, images: float, buckets: int) -> float:
    """Return how many (bucket, image) pairs occur if rows fall on buckets evenly: rows of C' before they are added up.

    An image with r rows is in ``B (1 - (1 - 1/B)^r)`` of B buckets in the mean; here every image has as many rows.
    """
    return images * buckets * (1 - (1 - 1 / buckets) ** (rows / images))


def with_buckets(log: Mapping[str, Any]) -> dict[str, Any]:
    """Return a log's numbers (rows, images, log_bytes, ...) and what follows of its buckets: the terms of a model."""
    buckets = num_buckets(log["log_bytes"])
    pairs = bucket_images(log["rows"], log["images"], buckets)
    return {
        **log,
        "buckets": buckets,
        "bucket_images": pairs,
        "rows_per_bucket": log["rows"] / buckets,
        "images_per_bucket": pairs / buckets,
    }

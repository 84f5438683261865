"""Build click features on one core, and count what each step sends and how long its functions take.

    python -m benchmarks.scale.counted_build log.tsv features counts.json

Bytes are those that a cluster's workers would send each other: record batches in Arrow's stream format, compressed by
LZ4, in pieces of 1 MiB, with Beam's encoding of (shard, piece). In this process batches wait in files instead
(pipelines/beam/shuffle.py), so they are encoded here only to be counted; seconds leave that out. Seconds are the CPU
seconds of the process while a function runs: on one core there is one function at a time, and beside it only Beam's own
thread, which reads the log while rows are checked.

The JSON file maps a step's name to its elements, rows, bytes (also unpacked, as in a worker's memory) and seconds:

- what is grouped by key: ``query buckets``, ``words``, ``top words``, ``image shards``, ``quarantine``, ``counts``;
- what only passes on to the next step: ``segmented buckets``, ``click matrix``, ``document frequencies``. A runner that
  doesn't fuse the two steps writes and reads it, on the same machine if it can;
- ``launcher`` reads the whole log before the job starts, for digests and row numbers, on one core whatever the runner.
"""

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before the libraries count the cores

import apache_beam as beam  # noqa: E402
import pyarrow as pa  # noqa: E402

from base.schemas import CLICK_MATRIX, CLICKS  # noqa: E402
from pipelines import build_click_features as job  # noqa: E402
from pipelines.beam import concurrency  # noqa: E402
from pipelines.beam.shuffle import INLINE, Packer, finish_shard, parts_by_shard, shrink_if_large, unpack  # noqa: E402
from pipelines.ingest import click_log  # noqa: E402
from pipelines.words.vocabulary import WORD_CLICKS  # noqa: E402

PART = beam.coders.TupleCoder([beam.coders.VarIntCoder(), beam.coders.BytesCoder()])
COUNT = beam.coders.TupleCoder([beam.coders.StrUtf8Coder(), beam.coders.VarIntCoder()])
FIGURES = ("elements", "rows", "bytes", "unpacked", "seconds")
SHUFFLES = {"query": "query buckets", "image_id": "image shards", "word": "words", "raw": "quarantine"}  # by key column
FINISHED = ((CLICKS, "segmented buckets"), (CLICK_MATRIX, "click matrix"), (WORD_CLICKS, "summed words"))
FUNCTIONS = {
    "checked_block": "checked rows",
    "bucket_words": "words of buckets",
    "bucket_product": "products of buckets",
    "shard_frequencies": "document frequencies",
    "write_packed": "click features",
}


class Counts:
    """Sums by step; several threads may add to them."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def add(self, step: str, **numbers: float) -> None:
        """Add to a step's sums: elements, rows, bytes, unpacked, seconds."""
        with self._lock:
            sums = self.steps.setdefault(step, dict.fromkeys(FIGURES, 0))
            for name, number in numbers.items():
                sums[name] += number

    def add_parts(self, step: str, batch: pa.RecordBatch, parts: Sequence[tuple[int, bytes]]) -> None:
        """Add a batch that is sent as (shard, piece) pairs."""
        encoded = sum(len(PART.encode(part)) for part in parts)
        self.add(step, elements=len(parts), rows=batch.num_rows, bytes=encoded, unpacked=batch.nbytes)

    def add_packed(self, step: str, packed: bytes) -> None:
        """Add a packed batch that passes on to the next step."""
        batch = unpack(packed)
        self.add(step, elements=1, rows=batch.num_rows, bytes=len(INLINE.pack([batch])[0]), unpacked=batch.nbytes)

    def add_counts(self, pairs: Iterable[tuple[str, int]]) -> None:
        """Add (name, count) pairs; Beam adds them up on each worker before it sends them."""
        for pair in pairs:
            self.add("counts", elements=1, bytes=len(COUNT.encode(pair)))


def step_of(function: Callable[..., Any], arguments: Sequence[Any]) -> str:
    """Return the name of the step that a function of :func:`pipelines.beam.concurrency.concurrently` is part of."""
    if function in (parts_by_shard, shrink_if_large):
        return SHUFFLES[arguments[0 if function is parts_by_shard else 1]]
    if function is finish_shard:
        return next((name for schema, name in FINISHED if arguments[0].equals(schema)), "quarantine records")
    return FUNCTIONS.get(function.__name__, function.__name__)


def count_results(
    counts: Counts, step: Any, element: Any, side_inputs: tuple[Any, ...], results: Sequence[Any]
) -> None:
    """Count what a call of a step's function returned."""
    name = step_of(step.function, step.arguments)
    if step.function is parts_by_shard:
        sent = [INLINE if isinstance(argument, Packer) else argument for argument in step.arguments]
        is_top = name == "words" and step.arguments[-1] == 1
        counts.add_parts("top words" if is_top else name, element, list(parts_by_shard(element, *sent, *side_inputs)))
    elif name == "segmented buckets":
        for result in results:
            if result.tag == "buckets":
                counts.add_packed(name, result.value)
    elif name == "click matrix":
        for _, packed in results:
            counts.add_packed(name, packed)
    elif name == "document frequencies":
        counts.add(name, elements=len(results), bytes=sum(result.nbytes for result in results))
    elif name == "checked rows":
        counts.add_counts(result.value for result in results if result.tag == "counts")
    elif name == "click features":
        counts.add_counts(results)


def counted(counts: Counts) -> None:
    """Let every step of this process's jobs count its calls, and the launcher its seconds."""
    call = concurrency._OnThreads._call

    def counted_call(step: Any, element: Any, side_inputs: tuple[Any, ...]) -> tuple[list[Any], int]:
        started = time.process_time()
        results, microseconds = call(step, element, side_inputs)
        counts.add(step_of(step.function, step.arguments), seconds=time.process_time() - started)
        count_results(counts, step, element, side_inputs, results)
        return results, microseconds

    concurrency._OnThreads._call = counted_call  # type: ignore[method-assign]

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call_timed(*positional: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return function(*positional, **named)
            finally:
                counts.add("launcher", seconds=time.process_time() - started)

        return call_timed

    job.digests_of = timed(job.digests_of)
    click_log.plan_slices = timed(click_log.plan_slices)


def main() -> None:
    """Build, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=Path)
    parser.add_argument("output", type=Path, help="folder for the features")
    parser.add_argument("counts", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    counts = Counts()
    counted(counts)
    job.main(["--clicks", str(arguments.log), "--output", str(arguments.output)])
    arguments.counts.write_text(json.dumps(counts.steps, indent=1))


if __name__ == "__main__":
    main()

"""Record batches on their way from step to step, and their grouping into shards.

The in-process runner keeps what it groups in memory, and copies it some five times on the way. So a batch is packed
into a *parcel*: spilled to a file of the job, of which only the place travels, or, where steps may run on other
machines, the batch's own bytes. With files the memory in use is that of the batches under work, not that of the log.
"""

import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa

from base.artifacts import scratch_directory
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import is_in_process

IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")  # for bytes that travel: a third of the size for little time
SMALL = 1 << 16  # bytes of batches that are not worth a file
PIECE = 1 << 20  # bytes of a batch that travels itself
MOST_SHARDS = 32_767


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a record batch as an Arrow IPC stream with its schema, buffers compressed."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Return the batch's bytes; of a slice only its own rows."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema, options=IPC_OPTIONS) as stream:
            stream.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes | memoryview) -> pa.RecordBatch:
        """Return the batch that was encoded."""
        with pa.ipc.open_stream(encoded) as stream:
            return stream.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Return the bytes in memory; Beam would otherwise encode a second time to measure."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """Say no: batches are never keys."""
        return False

    def to_type_hint(self) -> type:
        """Return what is encoded."""
        return pa.RecordBatch

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


@dataclass(frozen=True)
class Packer:
    """Makes parcels.

    Attributes:
        spill: an existing folder that all steps can reach and that is deleted after the job; ``None``: parcels are
            the batches' own bytes. A bundle that a runner tries twice leaves a file that nobody refers to.
    """

    spill: Path | None = None

    def pack(self, batches: Iterable[pa.RecordBatch]) -> list[bytes]:
        """Return a parcel for each batch; those that are spilled share one file."""
        batches = list(batches)
        if self.spill is None or sum(batch.nbytes for batch in batches) < SMALL:
            return [b"B" + RecordBatchCoder().encode(batch) for batch in batches]
        path = self.spill / uuid.uuid4().hex
        parcels = []
        with pa.OSFile(str(path), "wb") as file:
            for batch in batches:
                start = file.tell()
                with pa.ipc.new_stream(file, batch.schema) as stream:
                    stream.write_batch(batch)
                parcels.append(f"F{start}:{file.tell() - start}:{path}".encode())
        return parcels


INLINE = Packer()


def unpack(parcel: bytes) -> pa.RecordBatch:
    """Return a parcel's batch."""
    if parcel.startswith(b"B"):
        return RecordBatchCoder().decode(memoryview(parcel)[1:])
    start, length, path = parcel[1:].decode().split(":", 2)
    with pa.OSFile(path) as file:
        file.seek(int(start))
        with pa.ipc.open_stream(file.read_buffer(int(length))) as stream:
            return stream.read_next_batch()


@contextmanager
def packing(beam_arguments: Sequence[str], output: Path) -> Iterator[Packer]:
    """Yield the packer for a job: with the in-process runner one that spills beside the job's output.

    Args:
        beam_arguments: as for :func:`pipelines.beam.runner.pipeline`, whose block stands inside of this one.
        output: the artifact; its disk must have room for the log, too.
    """
    if is_in_process(beam_arguments):
        with scratch_directory(output) as spill:
            yield Packer(spill)
    else:
        yield INLINE


def shards_of(keys: pa.Array, num_shards: int) -> np.ndarray:
    """Return each key's shard, as :func:`base.artifacts.shard_of` gives it for one.

    Args:
        keys: strings, no nulls.
        num_shards: 1 .. 32,767.

    Shape:
        keys: (n,); result: int16 (n,)
    """
    if num_shards == 1:
        return np.zeros(len(keys), np.int16)
    hashes = np.fromiter(map(zlib.crc32, keys.cast(pa.binary()).to_pylist()), np.uint32, len(keys))
    return (hashes % num_shards).astype(np.int16)


def buckets_of(keys: pa.Array, num_buckets: int) -> np.ndarray:
    """Return each key's bucket by a hash that is fast, and the same for all workers of a job, but not for ever.

    For groupings that no artifact depends on; Polars may change its hash from one version to the next.

    Shape:
        keys: strings (n,), no nulls; result: integers (n,)
    """
    buckets = pl.Series(keys).hash(seed=0).to_numpy() % np.uint64(num_buckets)
    return buckets.astype(np.int16 if num_buckets <= MOST_SHARDS else np.int64)  # few are sorted ten times as fast


def split_by_shard(batch: pa.RecordBatch, shards: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield each shard that occurs with its rows, which stay in order.

    Shape:
        shards: integers (n,), n the rows of the batch.
    """
    if not batch.num_rows:
        return
    order = np.argsort(shards, kind="stable")
    ordered = shards[order]
    moved = batch.take(pa.array(order))
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(ordered)], strict=True):
        yield int(ordered[start]), moved.slice(start, end - start)


def merge(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows of all batches as one batch of the schema; without batches, an empty one."""
    empty = pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
    return pa.concat_batches([empty, *(batch.cast(schema) for batch in batches)])


@dataclass(frozen=True)
class LargeShards:
    """What is done with shards that turn out large, before their rows are merged.

    Attributes:
        from_bytes: of a shard's rows in memory; one that has as many is large.
        add_up: takes some of a shard's rows and returns fewer that mean the same; picklable. A large shard's rows are
            added up as they come, so equal rows take no memory however many they are.
        are_cut: whether a large shard is cut into several, by the same hash: then ``num_shards`` is that of the small
            ones, and numbers above it occur, too. For groupings that no artifact depends on.
    """

    from_bytes: int
    add_up: Callable[[pa.RecordBatch], pa.RecordBatch]
    are_cut: bool = False


@dataclass(eq=False)
class GroupIntoShards(beam.PTransform):
    """Batches in; what ``finish`` makes of each shard's merged rows out. Shards without rows come too.

    Attributes:
        schema: of the batches.
        key_column: the string column whose hash is the shard.
        num_shards: 1 .. 32,767; a number, or one that the job itself finds.
        finish: takes (shard, its rows merged into one batch) and returns any number of results; picklable.
        packer: how batches travel.
        step: the name under which the seconds of ``finish`` are counted.
        shards: :func:`shards_of`, or :func:`buckets_of` where no artifact depends on the grouping.
        side_inputs: given to ``finish`` after the rows.
        outputs: tags, if ``finish`` returns tagged outputs; the result is then one collection for each.
        large: what is done with large shards; ``None``: nothing.
    """

    schema: pa.Schema
    key_column: str
    num_shards: int | beam.pvalue.AsSingleton
    finish: Callable[..., Iterable[Any]]
    packer: Packer
    step: str
    shards: Callable[[pa.Array, int], np.ndarray] = shards_of
    side_inputs: tuple[beam.pvalue.AsSideInput, ...] = ()
    outputs: tuple[str, ...] = ()
    large: LargeShards | None = None

    def expand(self, batches: beam.PCollection) -> Any:
        """Wire: every shard's seed, the batches' parts, one group and merge per shard."""
        finish = concurrently(self.step, finish_shard, self.schema, self.finish, *self.side_inputs)
        every_shard = self._number(batches.pipeline) | "EveryShard" >> beam.FlatMap(
            lambda number: [(shard, b"") for shard in range(number)]
        ).with_output_types(tuple[int, bytes])
        parts = batches | "PartsByShard" >> concurrently(
            "shuffle", parts_by_shard, self.key_column, self.shards, self.packer, self.num_shards
        ).with_output_types(tuple[int, bytes])
        groups = (
            (parts, every_shard)
            | "WithEmptyShards" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()
            | "Parcels" >> beam.MapTuple(lambda shard, parcels: (shard, list(parcels)))
        )
        if self.large is not None:
            groups |= "LargeShards" >> concurrently(
                "shuffle", lessened, self.large, self.key_column, self.shards, self.packer, self.num_shards
            )
        return groups | "MergedShards" >> (finish.with_outputs(*self.outputs) if self.outputs else finish)

    def _number(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return the number of shards as a collection of one."""
        if isinstance(self.num_shards, int):
            return pipeline | "NumShards" >> beam.Create([self.num_shards], reshuffle=False)
        return self.num_shards.pvalue


def parts_by_shard(
    batch: pa.RecordBatch,
    key_column: str,
    shards: Callable[[pa.Array, int], np.ndarray],
    packer: Packer,
    num_shards: int,
) -> Iterable[tuple[int, bytes]]:
    """Return a batch's parts by the shard of their key, packed."""
    return packed_parts(split_by_shard(batch, shards(batch.column(key_column), num_shards)), packer)


def packed_parts(parts: Iterable[tuple[int, pa.RecordBatch]], packer: Packer) -> Iterable[tuple[int, bytes]]:
    """Return (shard, rows) pairs with the rows packed."""
    parts = list(parts)
    if packer.spill is None:
        parts = [(shard, piece) for shard, part in parts for piece in pieces_of(part)]
    return zip([shard for shard, _ in parts], packer.pack(part for _, part in parts), strict=True)


def pieces_of(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in pieces of some PIECE bytes; Flink groups in buffers that take no larger record."""
    num_rows = max(1, PIECE * batch.num_rows // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, num_rows):
        yield batch.slice(start, num_rows)


def lessened(
    group: tuple[int, list[bytes]],
    large: LargeShards,
    key_column: str,
    shards: Callable[[pa.Array, int], np.ndarray],
    packer: Packer,
    num_shards: int,
) -> Iterable[tuple[int, list[bytes]]]:
    """Return a shard as it is if it is small; else with its rows added up, cut into several if that may be.

    The parts of shard i of n, cut into k, are the shards i, i + n, ... of n k by the same hash.
    """
    shard, parcels = group
    num_parts = sum(map(unpacked_bytes, parcels)) // large.from_bytes + 1
    if num_parts == 1:
        return [(shard, parcels)]
    parts: dict[int, list[bytes]] = {shard: []}
    for parcel in filter(None, parcels):
        rows = large.add_up(unpack(parcel))
        if large.are_cut:
            numbers = shards(rows.column(key_column), num_shards * num_parts)
            pieces = split_by_shard(rows, numbers)
        else:
            pieces = iter([(shard, rows)])
        for number, part in packed_parts(pieces, packer):
            parts.setdefault(number, []).append(part)
    return list(parts.items())


def unpacked_bytes(parcel: bytes) -> int:
    """Return about how much memory a parcel's batch takes; of one that is spilled, without reading it."""
    if parcel.startswith(b"F"):
        return int(parcel.split(b":", 2)[1])
    return unpack(parcel).nbytes if parcel else 0


def finish_shard(
    group: tuple[int, list[bytes]], schema: pa.Schema, finish: Callable[..., Iterable[Any]], *side_inputs: Any
) -> Iterable[Any]:
    """Merge a shard's parts and finish them; an empty parcel only says that there is such a shard."""
    shard, parcels = group
    return finish(shard, merge(map(unpack, filter(None, parcels)), schema), *side_inputs)

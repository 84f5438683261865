"""How record batches travel from step to step, and how they are grouped into shards.

The in-process runner keeps what it groups in memory, and copies it some five times on the way. So a :class:`Packer`
turns each batch into a byte string, a *packed batch*: the batch is spilled to a file of the job, and only the file's
path and offset travel. For small batches, and where steps may run on other machines, the packed batch is the batch's
own bytes. With files the memory in use is that of the batches being worked on, not that of the log.
"""

import tempfile
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
import pyarrow.compute as pc

from base.artifacts import scratch_directory
from base.stores import Location, StorePath
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import is_in_process

IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")  # for batches that travel: a third of the size for little time
SMALL = 1 << 16  # bytes; smaller batches are not worth a file
PIECE = 1 << 20  # bytes of a piece, where the batches themselves travel
MOST_SHARDS = 32_767
HOT = 2  # fair shares of a batch in one shard from which on its hot keys are spread


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a record batch as an Arrow IPC stream with its schema, buffers compressed."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Return the batch's bytes; a slice's bytes hold only its own rows."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema, options=IPC_OPTIONS) as stream:
            stream.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes | memoryview) -> pa.RecordBatch:
        """Return the encoded batch."""
        with pa.ipc.open_stream(encoded) as stream:
            return stream.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Return the batch's bytes in memory; otherwise Beam would encode it a second time to measure it."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        """Return False: batches are never keys."""
        return False

    def to_type_hint(self) -> type:
        """Return the type that this coder encodes."""
        return pa.RecordBatch

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


@dataclass(frozen=True)
class Packer:
    """Packs batches into byte strings.

    Attributes:
        spill: an existing folder that all steps can reach and that is deleted after the job. ``None``: a packed batch
            holds the batch's own bytes. A bundle that a runner repeats leaves a file that nothing refers to.
    """

    spill: Path | None = None

    def pack(self, batches: Iterable[pa.RecordBatch]) -> list[bytes]:
        """Return a packed batch for each batch; batches that are spilled share one file."""
        batches = list(batches)
        if self.spill is None or sum(batch.nbytes for batch in batches) < SMALL:
            return [b"B" + RecordBatchCoder().encode(batch) for batch in batches]
        path = self.spill / uuid.uuid4().hex
        packed_batches = []
        with pa.OSFile(str(path), "wb") as file:
            for batch in batches:
                start = file.tell()
                with pa.ipc.new_stream(file, batch.schema) as stream:
                    stream.write_batch(batch)
                packed_batches.append(f"F{start}:{file.tell() - start}:{path}".encode())
        return packed_batches


INLINE = Packer()


def unpack(packed: bytes) -> pa.RecordBatch:
    """Return the batch of a packed batch."""
    if packed.startswith(b"B"):
        return RecordBatchCoder().decode(memoryview(packed)[1:])
    start, length, path = packed[1:].decode().split(":", 2)
    with pa.OSFile(path) as file:
        file.seek(int(start))
        with pa.ipc.open_stream(file.read_buffer(int(length))) as stream:
            return stream.read_next_batch()


@contextmanager
def packing(beam_arguments: Sequence[str], output: Location) -> Iterator[Packer]:
    """Yield the packer for a job; for the in-process runner one that spills beside the job's output,
    or, if that is in a store, in the machine's folder for temporary files.

    Args:
        beam_arguments: as for :func:`pipelines.beam.runner.pipeline`, whose ``with`` block must be inside this one.
        output: the artifact; the disk must also have room for the log.
    """
    if is_in_process(beam_arguments):
        beside = Path(tempfile.gettempdir()) / "clicksight-spill" if isinstance(output, StorePath) else output
        with scratch_directory(beside) as spill:
            yield Packer(spill)
    else:
        yield INLINE


def shards_of(keys: pa.Array, num_shards: int) -> np.ndarray:
    """Return the shard of each key, the same as :func:`base.artifacts.shard_of` returns for one key.

    Args:
        keys: strings, no nulls.
        num_shards: 1 .. 32,767.

    Shape:
        keys: (n,); result: int16 (n,)
    """
    if num_shards == 1:
        return np.zeros(len(keys), np.int16)
    differs = np.asarray(pc.not_equal(keys.slice(1), keys.slice(0, max(0, len(keys) - 1))))
    begins = np.flatnonzero(np.r_[True, differs][: len(keys)])  # equal keys are often neighbours: one of them is hashed
    texts = keys.take(pa.array(begins)).cast(pa.binary()).to_pylist()
    hashes = np.fromiter(map(zlib.crc32, texts), np.uint32, len(begins))
    return np.repeat((hashes % num_shards).astype(np.int16), np.diff(np.r_[begins, len(keys)]))


def buckets_of(keys: pa.Array, num_buckets: int) -> np.ndarray:
    """Return each key's bucket by a fast hash, which is the same for all workers of a job.

    Use it only for groupings that no artifact depends on: Polars may change its hash from one version to the next.

    Shape:
        keys: strings (n,), no nulls; result: integers (n,)
    """
    buckets = pl.Series(keys).hash(seed=0).to_numpy() % np.uint64(num_buckets)
    return buckets.astype(np.int16 if num_buckets <= MOST_SHARDS else np.int64)  # int16 sorts ten times as fast


def split_by_shard(batch: pa.RecordBatch, shards: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield each shard that occurs, with its rows in their order.

    Shape:
        shards: integers (n,); n is the number of rows of the batch.
    """
    if not batch.num_rows:
        return
    ordered, moved = shards, batch
    if (shards[1:] < shards[:-1]).any():
        order = np.argsort(shards, kind="stable")
        ordered, moved = shards[order], batch.take(pa.array(order))
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(ordered)], strict=True):
        yield int(ordered[start]), moved.slice(start, end - start)


def merge(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows of all batches as one batch of the schema; an empty batch if there are none."""
    empty = pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)
    return pa.concat_batches([empty, *(batch.cast(schema) for batch in batches)])


@dataclass(frozen=True)
class LargeShards:
    """What to do with large shards before their rows are merged.

    Attributes:
        from_bytes: a shard whose rows take at least this much memory is large.
        add_up: takes some of a shard's rows and returns fewer rows that mean the same; picklable. A large shard's rows
            are added up as they come, so equal rows take no memory however many there are.
        are_cut: whether a large shard is cut into several by the same hash. ``num_shards`` then counts the shards
            before cutting, and larger shard numbers occur. Only for groupings that no artifact depends on.
    """

    from_bytes: int
    add_up: Callable[[pa.RecordBatch], pa.RecordBatch]
    are_cut: bool = False


@dataclass(eq=False)
class GroupIntoShards(beam.PTransform):
    """Takes batches; returns the results of ``finish`` for each shard's merged rows, and for shards without rows.

    Attributes:
        schema: of the batches.
        key_column: the string column whose hash is the shard.
        num_shards: 1 .. 32,767; a number, or a side input if the job itself computes it.
        finish: takes a shard's number and its rows merged into one batch, returns any number of results; picklable.
        packer: how batches travel.
        step: the name under which the seconds of ``finish`` are counted.
        shards: :func:`shards_of`, or :func:`buckets_of` where no artifact depends on the grouping.
        side_inputs: passed to ``finish`` after the rows.
        outputs: the tags, if ``finish`` returns tagged outputs; the result then has one collection for each tag.
        large: what to do with large shards; ``None``: nothing.
        fan_out: a second string column, by whose hash the rows of hot keys are spread over several shards
            (:func:`fanned_out`); ``None`` keeps each key in one shard. Only where ``finish`` may get a key in parts.
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
    fan_out: str | None = None

    def expand(self, batches: beam.PCollection) -> Any:
        """Split the batches by shard, add an empty part for each shard, and group, merge and finish each shard."""
        finish = concurrently(self.step, finish_shard, self.schema, self.finish, *self.side_inputs)
        every_shard = self._number(batches.pipeline) | "EveryShard" >> beam.FlatMap(
            lambda number: [(shard, b"") for shard in range(number)]
        ).with_output_types(tuple[int, bytes])
        parts = batches | "PartsByShard" >> concurrently(
            "shuffle", parts_by_shard, self.key_column, self.shards, self.packer, self.fan_out, self.num_shards
        ).with_output_types(tuple[int, bytes])
        groups = (
            (parts, every_shard)
            | "WithEmptyShards" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()
            | "PackedParts" >> beam.MapTuple(lambda shard, parts: (shard, list(parts)))
        )
        if self.large is not None:
            groups |= "LargeShards" >> concurrently(
                "shuffle", shrink_if_large, self.large, self.key_column, self.shards, self.packer, self.num_shards
            )
        return groups | "MergedShards" >> (finish.with_outputs(*self.outputs) if self.outputs else finish)

    def _number(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """Return the number of shards as a collection of one element."""
        if isinstance(self.num_shards, int):
            return pipeline | "NumShards" >> beam.Create([self.num_shards], reshuffle=False)
        return self.num_shards.pvalue


def parts_by_shard(
    batch: pa.RecordBatch,
    key_column: str,
    shards: Callable[[pa.Array, int], np.ndarray],
    packer: Packer,
    fan_out: str | None,
    num_shards: int,
) -> Iterable[tuple[int, bytes]]:
    """Return a batch's rows split by the shard of their key, and packed."""
    numbers = shards(batch.column(key_column), num_shards)
    if fan_out is not None:
        numbers = fanned_out(numbers, batch.column(key_column), batch.column(fan_out), num_shards)
    return packed_parts(split_by_shard(batch, numbers), packer)


def fanned_out(numbers: np.ndarray, keys: pa.Array, others: pa.Array, num_shards: int) -> np.ndarray:
    """Return the shards of a batch's rows, with those of hot keys spread, so that no shard grows with one key.

    A shard's fair share is 1 / ``num_shards`` of the batch. A key is hot if it has more than a share and is in a shard
    with more than HOT shares. Its rows go to as many shards as it has shares, from its own on, by the hash of another
    column. Its first row stays in its own shard, which therefore knows of every key. All hot keys of a batch together
    are in at most ``2 num_shards`` (key, shard) pairs, since a key with s shares takes at most s + 1 of them.

    Args:
        numbers: the shards by key alone.
        keys, others: strings, no nulls.
        num_shards: their number.

    Shape:
        numbers, keys, others, result: (n,)
    """
    share = len(numbers) / num_shards
    crowded = np.bincount(numbers, minlength=num_shards) > HOT * share
    rows = np.flatnonzero(crowded[numbers])
    if not len(rows):
        return numbers
    found = keys.take(pa.array(rows)).dictionary_encode()
    codes = found.indices.to_numpy()
    shares = np.bincount(codes, minlength=len(found.dictionary)) / share
    is_hot = shares > 1
    is_hot_row = is_hot[codes]
    is_hot_row[np.unique(codes, return_index=True)[1]] = False
    hot_rows, widths = rows[is_hot_row], np.ceil(shares).astype(np.uint64)[codes[is_hot_row]]
    steps = pl.Series(others.take(pa.array(hot_rows))).hash(seed=0).to_numpy() % widths
    spread = numbers.copy()
    spread[hot_rows] = (numbers[hot_rows] + steps.astype(np.int64)) % num_shards
    return spread


def packed_parts(parts: Iterable[tuple[int, pa.RecordBatch]], packer: Packer) -> Iterable[tuple[int, bytes]]:
    """Return (shard, rows) pairs, with the rows packed."""
    parts = list(parts)
    if packer.spill is None:
        parts = [(shard, piece) for shard, part in parts for piece in pieces_of(part)]
    return zip([shard for shard, _ in parts], packer.pack(part for _, part in parts), strict=True)


def pieces_of(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in pieces of some PIECE bytes; Flink's group buffers take no larger record."""
    num_rows = max(1, PIECE * batch.num_rows // max(1, batch.nbytes))
    for start in range(0, batch.num_rows, num_rows):
        yield batch.slice(start, num_rows)


def shrink_if_large(
    group: tuple[int, list[bytes]],
    large: LargeShards,
    key_column: str,
    shards: Callable[[pa.Array, int], np.ndarray],
    packer: Packer,
    num_shards: int,
) -> Iterable[tuple[int, list[bytes]]]:
    """Return a small shard unchanged; add up the rows of a large one, and cut it into several if `are_cut` is set.

    A shard i of n that is cut into k becomes the shards i, i + n, i + 2 n, ... of n k, by the same hash; rows that were
    fanned out to the shard stay in these.
    """
    shard, packed_batches = group
    num_parts = sum(map(unpacked_bytes, packed_batches)) // large.from_bytes + 1
    if num_parts == 1:
        return [(shard, packed_batches)]
    parts: dict[int, list[bytes]] = {shard: []}
    for packed in filter(None, packed_batches):
        rows = large.add_up(unpack(packed))
        if large.are_cut:
            numbers = shards(rows.column(key_column), num_shards * num_parts)
            pieces = split_by_shard(rows, shard + num_shards * (numbers.astype(np.int64) // num_shards))
        else:
            pieces = iter([(shard, rows)])
        for number, part in packed_parts(pieces, packer):
            parts.setdefault(number, []).append(part)
    return list(parts.items())


def unpacked_bytes(packed: bytes) -> int:
    """Return about how much memory a packed batch takes when unpacked; a spilled batch is not read for it."""
    if packed.startswith(b"F"):
        return int(packed.split(b":", 2)[1])
    return unpack(packed).nbytes if packed else 0


def finish_shard(
    group: tuple[int, list[bytes]], schema: pa.Schema, finish: Callable[..., Iterable[Any]], *side_inputs: Any
) -> Iterable[Any]:
    """Merge a shard's parts and finish them; an empty part only marks that the shard exists."""
    shard, packed_batches = group
    return finish(shard, merge(map(unpack, filter(None, packed_batches)), schema), *side_inputs)

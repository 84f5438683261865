"""Arrow record batches as Beam elements, and tables written in shards whose bytes do not depend on the run.

A row's shard is a stable hash of its key column; a shard's rows are merged, sorted and written by one call as one
file. So the bytes are the same for any number of workers, input files and bundles, as long as no two rows agree in
all columns that sort them.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.artifacts import read_tables, shard_name, write_table
from pipelines.console import UserError

IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")  # shuffles live in memory: a third of the size for little time


class RecordBatchCoder(beam.coders.Coder):
    """Encodes a record batch as an Arrow IPC stream with its schema, buffers compressed."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Return the batch's bytes; of a slice only its own rows."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema, options=IPC_OPTIONS) as stream:
            stream.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
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


def shards_of(keys: pa.Array, num_shards: int) -> np.ndarray:
    """Return each key's shard, as :func:`pipelines.artifacts.shard_of` gives it for one.

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


def sort_rows(batch: pa.RecordBatch, sort_by: Sequence[str]) -> pa.RecordBatch:
    """Return the batch with its rows ordered by the columns, ascending; strings in code-point order."""
    return batch.sort_by([(column, "ascending") for column in sort_by])


def write_shard(shard: tuple[int, pa.RecordBatch], directory: Path) -> tuple[str, int]:
    """Write one whole shard, its rows as they stand, and return its file name and row count."""
    number, batch = shard
    write_table(pa.Table.from_batches([batch]), Path(directory) / shard_name(number))
    return shard_name(number), batch.num_rows


def read_shard(path: Path, schema: pa.Schema) -> pa.RecordBatch:
    """Read one shard as one batch.

    Raises:
        UserError: its columns are not the schema's.
    """
    found = pq.read_schema(path)
    if found.names != schema.names:
        raise UserError(
            f"{path}: expected the columns {schema.names}, found {found.names}; was another stage's output given?"
        )
    return merge(pq.read_table(path).to_batches(), schema)


def shard_files(directory: Path) -> list[Path]:
    """Return a folder's shards in order; their place in the list is their number.

    Raises:
        UserError: none is there, or one is missing in the sequence.
    """
    files = sorted(Path(directory).glob("part-*.parquet"))
    if not files:
        raise UserError(f"{directory}: no part-*.parquet shards here; run the stage that writes them")
    for number, file in enumerate(files):
        if file.name != shard_name(number):
            raise UserError(f"{directory}: shard {shard_name(number)} is missing; run the stage that writes them again")
    return files


@dataclass(eq=False)
class GroupIntoShards(beam.PTransform):
    """Batches in; each shard once, with all of its rows merged into one batch, out. Shards without rows come too.

    Attributes:
        schema: of the batches.
        key_column: the string column whose hash is the shard.
        num_shards: 1 .. 32,767.
        finish: what to do with a shard's merged rows, as in :func:`sort_rows`; a picklable function.
    """

    schema: pa.Schema
    key_column: str
    num_shards: int
    finish: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Wire: every shard's seed, the batches' parts, one group and merge per shard."""
        empty = merge([], self.schema)
        every_shard = (
            batches.pipeline
            | "EveryShard" >> beam.Create(range(self.num_shards), reshuffle=False)
            | "EmptyShards" >> beam.Map(lambda shard: (shard, empty)).with_output_types(tuple[int, pa.RecordBatch])
        )
        parts = batches | "PartsByShard" >> beam.FlatMap(
            split_by_key, self.key_column, self.num_shards
        ).with_output_types(tuple[int, pa.RecordBatch])
        return (
            (parts, every_shard)
            | "WithEmptyShards" >> beam.Flatten()
            | "GroupByShard" >> beam.GroupByKey()
            | "MergedShards"
            >> beam.Map(finish_shard, self.schema, self.finish).with_output_types(tuple[int, pa.RecordBatch])
        )


def split_by_key(batch: pa.RecordBatch, key_column: str, num_shards: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield a batch's parts by the shard of their key."""
    return split_by_shard(batch, shards_of(batch.column(key_column), num_shards))


def finish_shard(
    group: tuple[int, Iterable[pa.RecordBatch]],
    schema: pa.Schema,
    finish: Callable[[pa.RecordBatch], pa.RecordBatch] | None,
) -> tuple[int, pa.RecordBatch]:
    """Merge a shard's parts and finish them."""
    shard, parts = group
    merged = merge(parts, schema)
    return shard, finish(merged) if finish else merged


@dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Batches in; ``part-NNNNN.parquet`` files on disk and (file name, rows) of each out.

    Every shard has a file, also one without rows. ``directory`` must exist; wrap the run in
    :func:`pipelines.artifacts.whole_directory` and name its temporary folder here.

    Attributes:
        directory: where the shards go.
        schema: of the batches; an artifact's, from pipelines/schemas.py.
        key_column: the string column whose stable hash is the shard.
        num_shards: 1 .. 32,767.
        sort_by: columns that order a shard's rows; together they must tell any two rows apart.
    """

    directory: Path
    schema: pa.Schema
    key_column: str
    num_shards: int
    sort_by: tuple[str, ...]

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Wire: group, sort, write."""
        finish = partial(sort_rows, sort_by=self.sort_by)
        return (
            batches
            | "SortedShards" >> GroupIntoShards(self.schema, self.key_column, self.num_shards, finish)
            | "WrittenShards" >> beam.Map(write_shard, self.directory)
        )


@dataclass(eq=False)
class WriteCounts(beam.PTransform):
    """(name, count) pairs in; one small Parquet file of summed counts by name on disk.

    Counts travel as data, not as Beam metrics: a bundle that a runner tries twice must not count twice.

    Attributes:
        path: the file; :func:`read_counts` reads it back.
    """

    path: Path

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        """Wire: sum by name, gather, write."""
        path = self.path
        return (
            counts
            | "SumByName" >> beam.CombinePerKey(sum)
            | "AllCounts" >> beam.combiners.ToList()
            | "WrittenCounts" >> beam.Map(write_counts, path)
        )


def write_counts(counts: Sequence[tuple[str, int]], path: Path) -> None:
    """Write counts by name, sorted."""
    ordered = sorted(counts)
    table = pa.table({"name": [name for name, _ in ordered], "count": pa.array([n for _, n in ordered], pa.int64())})
    write_table(table, path)


def read_counts(path: Path) -> dict[str, int]:
    """Read what :class:`WriteCounts` wrote, and remove it: it is for the closing lines and the summary only."""
    table = read_tables(path)
    Path(path).unlink()
    return dict(zip(table["name"].to_pylist(), table["count"].to_pylist(), strict=True))

"""Write tables in shards whose bytes do not depend on the run, and read them back.

A row's shard is a stable hash of its key column. One call merges, sorts and writes a shard's rows as one file. So the
bytes are the same for any number of workers, input files and bundles, as long as no two rows agree in all the columns
that sort them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import read_tables, reading, shard_name, write_table
from base.console import UserError
from base.stores import Location, location, sorted_glob, source
from pipelines.beam.shuffle import INLINE, GroupIntoShards, Packer, merge


def sort_rows(batch: pa.RecordBatch, sort_by: Sequence[str]) -> pa.RecordBatch:
    """Return the batch with its rows ordered by the columns, ascending; strings in code-point order."""
    return batch.sort_by([(column, "ascending") for column in sort_by])


def write_shard(shard: tuple[int, pa.RecordBatch], directory: Location) -> tuple[str, int]:
    """Write one whole shard, its rows in the given order, and return its file name and row count."""
    number, batch = shard
    write_table(pa.Table.from_batches([batch]), location(directory) / shard_name(number))
    return shard_name(number), batch.num_rows


def read_shard(path: Location, schema: pa.Schema) -> pa.RecordBatch:
    """Read one shard as one batch.

    Raises:
        UserError: the file is damaged, or its columns are not the schema's.
    """
    with reading(path):
        found = pq.read_schema(source(path))
    if found.names != schema.names:
        raise UserError(
            f"{path}: expected the columns {schema.names}, found {found.names}; was another stage's output given?"
        )
    with reading(path):
        table = pq.read_table(source(path))
    return merge(table.to_batches(), schema)


@overload
def shard_files(directory: Path) -> list[Path]: ...
@overload
def shard_files(directory: Location) -> Sequence[Location]: ...
def shard_files(directory: Location) -> Sequence[Location]:
    """Return a folder's shards in order; a shard's index in the list is its number.

    Raises:
        UserError: the folder has no shards, or a number is missing in their sequence.
    """
    files = sorted_glob(location(directory), "part-*.parquet")
    if not files:
        raise UserError(f"{directory}: no part-*.parquet shards here; run the stage that writes them")
    for number, file in enumerate(files):
        if file.name != shard_name(number):
            raise UserError(f"{directory}: shard {shard_name(number)} is missing; run the stage that writes them again")
    return files


@dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Takes batches; writes ``part-NNNNN.parquet`` files and returns (file name, rows) of each.

    Every shard has a file, even a shard without rows. ``directory`` must exist; wrap the run in
    :func:`base.artifacts.whole_directory` and pass its temporary folder here.

    Attributes:
        directory: the folder to write to.
        schema: of the batches; an artifact's, from base/schemas.py.
        key_column: the string column whose stable hash is the shard.
        num_shards: 1 .. 32,767.
        sort_by: columns that order a shard's rows; any two rows must differ in at least one of them.
        packer: how batches travel; by default as their own bytes.
    """

    directory: Location
    schema: pa.Schema
    key_column: str
    num_shards: int
    sort_by: tuple[str, ...]
    packer: Packer = INLINE

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Group, sort and write the batches."""
        finish = partial(write_sorted, sort_by=self.sort_by, directory=self.directory)
        return batches | "WrittenShards" >> GroupIntoShards(
            self.schema, self.key_column, self.num_shards, finish, self.packer, "write"
        )


def write_sorted(
    shard: int, batch: pa.RecordBatch, sort_by: Sequence[str], directory: Location
) -> Iterable[tuple[str, int]]:
    """Sort and write one whole shard; return its file name and row count."""
    return [write_shard((shard, sort_rows(batch, sort_by)), directory)]


@dataclass(eq=False)
class WriteCounts(beam.PTransform):
    """Takes (name, count) pairs; writes one small Parquet file of counts summed by name.

    Counts travel as data, not as Beam metrics: a bundle that a runner repeats must not count twice.

    Attributes:
        path: the file; :func:`read_counts` reads it back.
    """

    path: Location

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        """Sum by name, gather and write the counts."""
        path = self.path
        return (
            counts
            | "SumByName" >> beam.CombinePerKey(sum)
            | "AllCounts" >> beam.combiners.ToList()
            | "WrittenCounts" >> beam.Map(write_counts, path)
        )


def write_counts(counts: Sequence[tuple[str, int]], path: Location) -> None:
    """Write counts by name, sorted."""
    ordered = sorted(counts)
    table = pa.table({"name": [name for name, _ in ordered], "count": pa.array([n for _, n in ordered], pa.int64())})
    write_table(table, path)


def read_counts(path: Location) -> dict[str, int]:
    """Read the file of :class:`WriteCounts` and delete it: it only serves the closing lines and the summary."""
    table = read_tables(path)
    location(path).unlink()
    return dict(zip(table["name"].to_pylist(), table["count"].to_pylist(), strict=True))

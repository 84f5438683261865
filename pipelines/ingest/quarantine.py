"""Write unusable rows to disk: each row's file, number, reason and text; equal rows are one record.

    rows | "Quarantine" >> WriteQuarantine(folder / "quarantine", packer)

Rows of a file with the same reason and text are one record: ``row`` is the number of the first, ``rows`` their number.
So a file of empty lines is one record, and ``rows`` adds up to the number of quarantined rows in a summary.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from base.artifacts import SHARDS, whole_directory
from base.console import UserError
from base.schemas import QUARANTINE
from base.stores import Location, StorePath, copy, source
from pipelines.beam.concurrency import concurrently
from pipelines.beam.shards import sort_rows, write_shard
from pipelines.beam.shuffle import INLINE, MOST_SHARDS, GroupIntoShards, Packer, unpack

FILE_BYTES = 1 << 27  # of records in a file: they are sorted in memory
SORT_BY = ("file", "row", "reason", "raw")  # file and row are not enough: two logs may have files of one name


@dataclass(eq=False)
class WriteQuarantine(beam.PTransform):
    """Takes quarantine batches; writes shards, sorted by file and row number, and returns (file name, records) of each.

    A record's shard is chosen by its text, so equal rows meet in one shard. The number of shards is known only once all
    records are: until then they wait as packed batches.

    Attributes:
        directory: an existing folder.
        packer: how records travel; by default as their own bytes.
    """

    directory: Location
    packer: Packer = INLINE

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Merge equal rows of a batch, pack, count bytes, gather, merge equal rows of all, sort and write."""
        packed = rows | "Packed" >> concurrently("write", pack_records, self.packer).with_output_types(
            tuple[int, bytes]
        )
        num_files = (
            packed
            | "Bytes" >> beam.Keys()
            | "AllBytes" >> beam.CombineGlobally(sum)
            | "NumFiles" >> beam.Map(num_files_of)
        )
        finish = partial(write_records, directory=self.directory)
        return (
            packed
            | "PackedRecords" >> beam.Values()
            | "Records" >> beam.Map(unpack).with_output_types(pa.RecordBatch)
            | "Sorted"
            >> GroupIntoShards(QUARANTINE, "raw", beam.pvalue.AsSingleton(num_files), finish, self.packer, "write")
        )


def pack_records(rows: pa.RecordBatch, packer: Packer) -> Iterable[tuple[int, bytes]]:
    """Return how many bytes of memory a batch's records take, and them packed; equal rows are one record already."""
    records = merge_equal(rows)
    return [(records.nbytes, packed) for packed in packer.pack([records])]


def num_files_of(num_bytes: int) -> int:
    """Return the number of files into which records of this many bytes are cut."""
    return min(1 + num_bytes // FILE_BYTES, MOST_SHARDS)


def merge_equal(records: pa.RecordBatch) -> pa.RecordBatch:
    """Return one record for each file, reason and text, with the row of the first record and the sum of their rows."""
    merged = (
        pl.DataFrame(pa.Table.from_batches([records]))
        .group_by("file", "reason", "raw")
        .agg(pl.col("row").min(), pl.col("rows").sum())
    )
    return pa.record_batch([merged[field.name].to_arrow().cast(field.type) for field in QUARANTINE], schema=QUARANTINE)


def write_records(shard: int, records: pa.RecordBatch, directory: Location) -> Iterable[tuple[str, int]]:
    """Write a whole shard, equal rows as one record, sorted; return its file name and number of records."""
    return [write_shard((shard, sort_rows(merge_equal(records), SORT_BY)), directory)]


@contextmanager
def outliving(quarantine: Location, output: Location) -> Iterator[None]:
    """Keep the quarantine of a job that fails: the folder ``OUTPUT.quarantine`` gets its files.

    The folder is deleted when the next run with the same output begins.

    Args:
        quarantine: the folder into which the job writes; it is deleted with the job's other output.
        output: the job's output.

    Raises:
        UserError: a user error of the block, with a line that names the folder.
    """
    kept = output.with_name(f"{output.name}.quarantine")
    if kept.is_dir() and all(fnmatchcase(path.name, SHARDS[0]) for path in kept.iterdir()):
        kept.remove_all() if isinstance(kept, StorePath) else shutil.rmtree(kept)
    try:
        yield
    except Exception as error:
        files = [path for path in quarantine.glob(SHARDS[0]) if pq.read_metadata(source(path)).num_rows]
        if not files:
            raise
        if isinstance(kept, StorePath):
            for path in files:
                copy(path, kept / path.name)
        else:
            with whole_directory(kept, holds=SHARDS) as folder:
                for path in files:
                    copy(path, folder / path.name)
        if isinstance(error, UserError):
            raise UserError(f"{error}\nthe quarantine is kept in {kept}") from error
        raise

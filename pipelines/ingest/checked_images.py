"""Check the images of a raw data set in a Beam job, and find their duplicates: what every ingest of images shares."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import apache_beam as beam
import polars as pl
import pyarrow as pa

from base.artifacts import read_tables, write_table
from base.cores import CORES
from base.pool import processes
from base.schemas import DUPLICATES
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import is_in_process
from pipelines.beam.shuffle import Packer, unpack
from pipelines.ingest.duplicates import count_duplicates, find_duplicates
from pipelines.ingest.image_catalogue import Entry
from pipelines.ingest.image_shards import ShardPlan, plan_shards, write_image_shard

# For at least this many images, each core has a process that checks images: Pillow decodes without Python's lock, but
# holds it to open files, read headers and convert. For fewer images, starting the processes takes longer than it saves.
MANY = 10_000


@dataclass(eq=False)
class CheckImages(beam.PTransform):
    """Decode images and write the good ones as shards; the results are tagged ``quarantine`` and ``counts``.

    Attributes:
        entries: the images.
        raw: the folder to which their places are relative.
        directory: gets the shards in images/, and their fingerprints, of which `write_duplicates` makes a table.
        shards: number of shards.
        longest_side: pixels; larger images are scaled down to it; None: they are not.
        packer: of the job.
        beam_arguments: of the job.
    """

    entries: Sequence[Entry]
    raw: Path
    directory: Path
    shards: int
    longest_side: int | None
    packer: Packer
    beam_arguments: Sequence[str]

    def expand(self, begin: beam.pvalue.PBegin) -> Any:
        """Spread the shards over the workers."""
        in_processes = len(self.entries) >= MANY and CORES > 1 and is_in_process(self.beam_arguments)
        plans = plan_shards(self.entries, self.shards)
        packed = [(plan.shard, self.packer.pack([plan.table])[0]) for plan in plans]
        return (
            begin
            | "ShardPlans" >> beam.Create(packed)
            | "Shards"
            >> concurrently(
                "images", ingest_shard, self.raw, self.directory, self.longest_side, in_processes
            ).with_outputs("quarantine", "counts")
        )


def ingest_shard(
    packed_plan: tuple[int, bytes], raw: Path, directory: Path, longest_side: int | None, in_processes: bool
) -> Iterator[
    beam.pvalue.TaggedOutput[Literal["quarantine"], pa.RecordBatch]
    | beam.pvalue.TaggedOutput[Literal["counts"], tuple[str, int]]
]:
    """Write one shard, here or in a process of its own; yield its quarantined images and counts under their tags."""
    shard, packed = packed_plan
    plan = ShardPlan(shard, unpack(packed))
    if in_processes:
        quarantine, counts = processes().submit(write_image_shard, plan, raw, directory, longest_side).result()
    else:
        quarantine, counts = write_image_shard(plan, raw, directory, longest_side)
    if quarantine.num_rows:
        yield beam.pvalue.TaggedOutput("quarantine", quarantine)
    for name, count in sorted(counts.items()):
        yield beam.pvalue.TaggedOutput("counts", (name, count))


def write_duplicates(directory: Path, distance: int) -> dict[str, dict[str, dict[str, int]]]:
    """Write duplicates.parquet from the fingerprints and delete these; return the numbers of duplicates."""
    fingerprints = pl.DataFrame(read_tables(directory / "fingerprints"))
    shutil.rmtree(directory / "fingerprints")
    duplicates = find_duplicates(fingerprints, distance)
    write_table(duplicates.to_arrow().cast(DUPLICATES), directory / "duplicates.parquet")
    return count_duplicates(duplicates)

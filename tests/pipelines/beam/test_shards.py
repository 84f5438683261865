"""Shards on disk with the same bytes in every run."""

from itertools import pairwise

import apache_beam as beam
import pyarrow as pa
import pytest

from base.artifacts import shard_of
from base.console import UserError
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import WriteShards, read_shard, shard_files

PETS = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("age", pa.int64(), nullable=False)])


def pets(*rows: tuple[str, int]) -> pa.RecordBatch:
    return pa.record_batch([[row[0] for row in rows], [row[1] for row in rows]], schema=PETS)


def write(rows: list[tuple[str, int]], cuts: list[int], folder) -> dict[str, bytes]:
    folder.mkdir()
    bounds = [0, *sorted(cuts), len(rows)]
    batches = [pets(*rows[start:end]) for start, end in pairwise(bounds)]
    with pipeline() as job:
        _ = (
            job
            | beam.Create(batches)
            | beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)
            | WriteShards(folder, PETS, "name", 3, ("name", "age"))
        )
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_bytes_do_not_depend_on_batches_or_order(tmp_path):
    rows = [("rex", 3), ("ada", 1), ("rex", 2), ("李", 9), ("bo", 4)]
    files = write(rows, [], tmp_path / "one")
    assert sorted(files) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert write(rows[::-1], [1, 1, 4], tmp_path / "many") == files
    for shard in range(3):
        written = read_shard(tmp_path / "one" / f"part-0000{shard}.parquet", PETS).to_pylist()
        expected = sorted(row for row in rows if shard_of(row[0], 3) == shard)
        assert [tuple(row.values()) for row in written] == expected


def test_shards_without_rows_are_written_too(tmp_path):
    assert len(write([], [], tmp_path / "none")) == 3
    assert read_shard(tmp_path / "none/part-00002.parquet", PETS).num_rows == 0
    assert [file.name[-9:] for file in shard_files(tmp_path / "none")] == ["0.parquet", "1.parquet", "2.parquet"]


def test_shard_files_misses_a_shard(tmp_path):
    with pytest.raises(UserError, match=r"no part-\*\.parquet shards here; run the stage that writes them"):
        shard_files(tmp_path)
    (tmp_path / "part-00001.parquet").touch()
    with pytest.raises(UserError, match=r"shard part-00000\.parquet is missing"):
        shard_files(tmp_path)


def test_read_shard_of_another_artifact(tmp_path):
    write([("rex", 3)], [], tmp_path / "pets")
    other = pa.schema([pa.field("image_id", pa.string())])
    with pytest.raises(UserError, match=r"expected the columns \['image_id'\], found \['name', 'age'\]"):
        read_shard(tmp_path / "pets/part-00000.parquet", other)

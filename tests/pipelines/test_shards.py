"""Batches as elements, stable shards."""

from itertools import pairwise

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.artifacts import shard_of
from pipelines.console import UserError
from pipelines.runner import pipeline
from pipelines.shards import (
    RecordBatchCoder,
    WriteShards,
    merge,
    read_shard,
    shard_files,
    shards_of,
    split_by_shard,
)

PETS = pa.schema([pa.field("name", pa.string(), nullable=False), pa.field("age", pa.int64(), nullable=False)])


def pets(*rows: tuple[str, int]) -> pa.RecordBatch:
    return pa.record_batch([[row[0] for row in rows], [row[1] for row in rows]], schema=PETS)


def test_coder_returns_the_batch_and_of_a_slice_its_rows_only():
    coder = RecordBatchCoder()
    batch = pets(*((f"name {i}", i) for i in range(1000)))
    part = batch.slice(10, 2)
    assert coder.decode(coder.encode(part)).equals(pets(("name 10", 10), ("name 11", 11)))
    assert coder.decode(coder.encode(batch)).equals(batch, check_metadata=True)
    assert len(coder.encode(part)) < 1000


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("ab狗é\x00"), max_size=4), max_size=40), st.integers(1, 300))
def test_shards_of_many_are_shards_of_each(keys, num_shards):
    assert shards_of(pa.array(keys, pa.string()), num_shards).tolist() == [shard_of(key, num_shards) for key in keys]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30))
def test_split_keeps_every_row_and_order(shards):
    batch = pets(*((str(row), row) for row in range(len(shards))))
    parts = dict(split_by_shard(batch, np.array(shards, np.int16)))
    assert list(parts) == sorted(set(shards))
    for shard, part in parts.items():
        assert part["age"].to_pylist() == [row for row, other in enumerate(shards) if other == shard]


def test_merge_without_batches_is_empty_and_has_the_schema():
    assert merge([], PETS).schema == PETS
    assert merge([], PETS).num_rows == 0


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

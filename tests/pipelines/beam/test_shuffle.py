"""Record batches as elements, packed batches, and groups."""

from ast import literal_eval
from functools import partial
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from base.artifacts import shard_of
from pipelines.beam import shuffle
from pipelines.beam.runner import pipeline
from pipelines.beam.shuffle import (
    GroupIntoShards,
    LargeShards,
    Packer,
    RecordBatchCoder,
    buckets_of,
    merge,
    packing,
    shards_of,
    split_by_shard,
    unpack,
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


@given(st.lists(st.text(st.sampled_from("ab狗é\x00"), max_size=4), max_size=40), st.integers(1, 300))
def test_shards_of_many_are_shards_of_each(keys, num_shards):
    assert shards_of(pa.array(keys, pa.string()), num_shards).tolist() == [shard_of(key, num_shards) for key in keys]


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


@pytest.mark.parametrize("small", [0, 1 << 16])
def test_parcels_hold_their_batches_in_one_file_or_none(tmp_path, monkeypatch, small):
    monkeypatch.setattr(shuffle, "SMALL", small)
    batches = [pets(("rex", 3), ("李", 9)).slice(1), pets(), pets(*((f"pet {i}", i) for i in range(99)))]
    for packer in (Packer(), Packer(tmp_path)):
        assert list(map(unpack, packer.pack(batches))) == batches
    assert len(list(tmp_path.iterdir())) == (0 if small else 1)
    assert Packer(tmp_path).pack([]) == []


def test_spill_is_beside_the_output_and_gone_afterwards(tmp_path):
    with packing([], tmp_path / "features") as packer:
        assert packer.spill is not None
        assert packer.spill.parent == tmp_path
        assert packer.spill.name.startswith(".features.")
        (packer.spill / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_other_machines_get_the_bytes_themselves(tmp_path):
    with packing(["--runner", "FlinkRunner"], tmp_path / "features") as packer:
        assert packer == Packer()
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(max_size=9), max_size=40), st.integers(1, 300))
def test_buckets_of_equal_keys_are_equal_whatever_stands_beside_them(keys, num_buckets):
    buckets = buckets_of(pa.array(keys, pa.string()), num_buckets).tolist()
    assert [buckets_of(pa.array([key]), num_buckets).item() for key in keys] == buckets
    assert all(0 <= bucket < num_buckets for bucket in buckets)


def test_buckets_are_about_even():
    keys = pa.array([f"query {i}" for i in range(10_000)])
    counts = np.bincount(buckets_of(keys, 10), minlength=10)
    assert counts.min() > 800  # 1,000 expected, standard deviation 30


def ages(shard: int, rows: pa.RecordBatch, more: int) -> list[tuple[int, list[int]]]:
    return [(shard, sorted(age + more for age in rows["age"].to_pylist()))]


@pytest.mark.parametrize("spills", [False, True])
def test_groups_hold_all_rows_of_their_keys_and_every_shard_comes(tmp_path, monkeypatch, spills):
    monkeypatch.setattr(shuffle, "SMALL", 0)
    rows = [("rex", 3), ("ada", 1), ("rex", 2), ("李", 9), ("bo", 4)]
    expected = [(shard, sorted(age + 100 for name, age in rows if shard_of(name, 7) == shard)) for shard in range(7)]
    with pipeline() as job:
        found = (
            job
            | beam.Create([pets(*rows[:2]), pets(), pets(*rows[2:])])
            | beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)
            | GroupIntoShards(PETS, "name", 7, partial(ages, more=100), Packer(tmp_path if spills else None), "ages")
        )
        assert_that(found, equal_to(expected))
    assert any(tmp_path.iterdir()) == spills


def added_up(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Add up the ages of each name."""
    ages: dict[str, int] = {}
    for name, age in zip(*rows.to_pydict().values(), strict=True):
        ages[name] = ages.get(name, 0) + age
    return pets(*ages.items())


def merged(shard: int, rows: pa.RecordBatch) -> list[tuple[int, list[tuple[str, int]], int]]:
    ages = added_up(rows).to_pydict()
    return [(shard, sorted(zip(*ages.values(), strict=True)), rows.num_rows)]


def groups_of(rows: list[tuple[str, int]], packer: Packer, large: LargeShards | None, folder: Path) -> list[tuple]:
    """Group rows that come in batches of 50 into three shards; return each group's shard, ages and number of rows."""
    with pipeline() as job:
        _ = (
            job
            | beam.Create([pets(*rows[start : start + 50]) for start in range(0, len(rows), 50)])
            | beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)
            | GroupIntoShards(PETS, "name", 3, merged, packer, "ages", buckets_of, large=large)
            | beam.combiners.ToList()
            | beam.Map(lambda groups: (folder / "groups").write_text(repr(sorted(groups)), encoding="utf-8"))
        )
    return literal_eval((folder / "groups").read_text(encoding="utf-8"))


@pytest.mark.parametrize("spills", [False, True])
def test_large_shards_are_cut_into_several_with_whole_keys(tmp_path, monkeypatch, spills):
    monkeypatch.setattr(shuffle, "SMALL", 0)
    packer = Packer(tmp_path if spills else None)
    rows = [(f"name {number % 200}", 1) for number in range(600)]
    sizes = {shard: size for shard, _, size in groups_of(rows, packer, None, tmp_path)}
    assert sorted(sizes) == [0, 1, 2]
    assert sum(sizes.values()) == 600
    groups = groups_of(rows, packer, LargeShards(1000, added_up, are_cut=True), tmp_path)
    shards = [shard for shard, _, _ in groups]
    assert len(set(shards)) == len(shards) > 10
    assert {0, 1, 2} <= set(shards)
    assert sorted(row for _, ages, _ in groups for row in ages) == sorted(
        (f"name {number}", 3) for number in range(200)
    )
    for shard, ages, _ in groups:
        assert set(buckets_of(pa.array([name for name, _ in ages], pa.string()), 3)) <= {shard % 3}


@pytest.mark.parametrize("spills", [False, True])
@pytest.mark.parametrize("are_cut", [False, True])
def test_equal_rows_of_a_large_shard_are_added_up_as_they_come(tmp_path, monkeypatch, spills, are_cut):
    monkeypatch.setattr(shuffle, "SMALL", 0)
    rows = [("rex", 1)] * 1000 + [("ada", 5)]
    large = LargeShards(1000, added_up, are_cut)
    groups = groups_of(rows, Packer(tmp_path if spills else None), large, tmp_path)
    assert sorted(row for _, ages, _ in groups for row in ages) == [("ada", 5), ("rex", 1000)]
    assert sum(size for _, _, size in groups) == 21  # a batch of 50 rows becomes one row
    assert {0, 1, 2} <= {shard for shard, _, _ in groups}


def test_a_small_shard_stays_as_it_is(tmp_path):
    rows = [(f"name {number}", 1) for number in range(60)] + [("name 1", 2)]
    whole = groups_of(rows, Packer(), None, tmp_path)
    assert groups_of(rows, Packer(), LargeShards(1 << 20, added_up, are_cut=True), tmp_path) == whole


def test_a_number_of_shards_that_the_job_finds():
    with pipeline() as job:
        number = job | "Number" >> beam.Create([1, 2, 2]) | beam.CombineGlobally(sum)
        found = (
            job
            | beam.Create([pets(("rex", 3)), pets(("ada", 4))])
            | beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)
            | GroupIntoShards(PETS, "name", beam.pvalue.AsSingleton(number), merged, Packer(), "ages")
        )
        expected = {shard: [] for shard in range(5)}
        for name, age in (("rex", 3), ("ada", 4)):
            expected[shard_of(name, 5)].append((name, age))
        assert_that(found, equal_to([(shard, sorted(ages), len(ages)) for shard, ages in expected.items()]))


def test_buckets_of_many_more_shards_than_fit_into_16_bits():
    keys = pa.array([f"query {i}" for i in range(1000)])
    buckets = buckets_of(keys, 1_000_000)
    assert len(set(buckets.tolist())) > 990
    assert buckets.min() >= 0
    assert (buckets % 20 == buckets_of(keys, 20)).all()

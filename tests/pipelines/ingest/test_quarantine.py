"""Merge quarantine records, cut them into files and write them."""

import gzip

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pytest
from click_builds import build, digest

from base.schemas import QUARANTINE
from pipelines.beam.runner import pipeline
from pipelines.beam.shards import read_shard
from pipelines.beam.shuffle import Packer
from pipelines.ingest import log_slices, quarantine
from pipelines.ingest.quarantine import WriteQuarantine, merge_equal, num_files_of


@pytest.fixture(autouse=True)
def _own_state(monkeypatch):
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


def records(*rows: tuple[str, int, str, str, int]) -> pa.RecordBatch:
    return pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=QUARANTINE)


EMPTY = "empty line"
ROWS = [
    ("b", 9, EMPTY, "", 4),
    ("a", 7, EMPTY, "", 2),
    ("b", 3, EMPTY, "", 1),
    ("b", 5, "not UTF-8", "\\xff", 1),
    ("b", 6, "empty query", "\\xff", 1),
    ("a", 2, "empty query", "x\t\t1", 3),
    ("a", 8, "empty query", "x\t\t1", 5),
]
MERGED = [
    ("a", 2, "empty query", "x\t\t1", 8),
    ("a", 7, EMPTY, "", 2),
    ("b", 3, EMPTY, "", 5),
    ("b", 5, "not UTF-8", "\\xff", 1),
    ("b", 6, "empty query", "\\xff", 1),
]


def test_equal_rows_of_a_file_are_one_record_with_the_firsts_number():
    assert sorted(tuple(row.values()) for row in merge_equal(records(*ROWS)).to_pylist()) == MERGED


def write(batches: list[pa.RecordBatch], folder, packer: Packer) -> list[list[tuple]]:
    folder.mkdir()
    with pipeline() as job:
        _ = (
            job
            | beam.Create(batches)
            | beam.Map(lambda batch: batch).with_output_types(pa.RecordBatch)
            | WriteQuarantine(folder, packer)
        )
    files = sorted(folder.iterdir())
    return [[tuple(row.values()) for row in read_shard(file, QUARANTINE).to_pylist()] for file in files]


@pytest.mark.parametrize("spills", [False, True])
def test_files_by_what_is_in_quarantine_each_by_file_and_row(tmp_path, monkeypatch, spills):
    packer = Packer(tmp_path if spills else None)
    assert write([records(*ROWS[:2]), records(*ROWS[2:])], tmp_path / "one", packer) == [MERGED]
    monkeypatch.setattr(quarantine, "FILE_BYTES", 100)
    parts = write([records(*ROWS[:4]), records(*ROWS[4:])], tmp_path / "several", packer)
    assert len(parts) > 2
    assert all(part == sorted(part) for part in parts)
    assert sorted(row for part in parts for row in part) == MERGED
    assert write([], tmp_path / "none", packer) == [[]]


def test_num_files_grows_with_the_bytes():
    size = quarantine.FILE_BYTES
    assert [num_files_of(number) for number in (0, size - 1, size, 10 * size, 10**15)] == [1, 1, 2, 11, 32_767]


@pytest.mark.parametrize(("slice_bytes", "most_rows"), [(50, 1000), (1000, 7), (13, 2)])
def test_a_build_quarantines_the_same_however_blocks_are_cut(tmp_path, monkeypatch, slice_bytes, most_rows):
    lines = [
        b"a\tdog\t1",
        b"",
        b"bad",
        b"",
        b"",
        b"x" * 70,
        b"bad",
        b"x" * 80,
        b"b\tcat\t2",
        b"",
        b"q\t\xff\t1",
        b"bad",
    ]
    log = tmp_path / "log"
    log.write_bytes(gzip.compress(b"\n".join(lines * 3)))
    options = ("--longest-line", "60", "--most-bad-rows", "0.9")
    whole = build(log, tmp_path / "whole", *options)
    assert pl.read_parquet(whole / "quarantine").rows() == [
        ("log", 2, EMPTY, "", 12),
        ("log", 3, "wrong number of fields", "bad", 9),
        ("log", 6, "line too long", "x" * 60, 6),
        ("log", 11, "not UTF-8", "q\t\\xff\t1", 3),
    ]
    monkeypatch.setattr(log_slices, "SLICE_BYTES", slice_bytes)
    monkeypatch.setattr(log_slices, "MOST_ROWS", most_rows)
    assert digest(build(log, tmp_path / "cut", *options)) == digest(whole)

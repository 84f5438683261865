"""Logs of some kilobytes that unpack to very much: the rows that the command keeps, and the memory that it takes."""

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
# A small process starts the command and prints its status and peak: a child of the test's process would start with the
# test's memory.
STARTER = """
import os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(status, usage.ru_maxrss)
"""
ALLOWED_MB = 250  # more than a log of two rows takes, which is mostly imports; each core parses a block of 16 MiB


def peak_of(log: Path, output: Path, *options: str) -> float:
    """Build the features of a log in a process of its own; return its peak memory in MB of 2^20 bytes."""
    command = [sys.executable, "-m", "pipelines.build_click_features", "--clicks", str(log), "--output", str(output)]
    command += ["--most-bad-rows", "1", *options]
    environment = {**os.environ, "CLICKSIGHT_NO_STATE": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STARTER, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    status, kilobytes = map(int, done.stdout.split())
    assert status == 0, done.stderr[-2000:]
    return kilobytes / 1024


@pytest.fixture(scope="module")
def small_peak(tmp_path_factory: pytest.TempPathFactory) -> float:
    folder = tmp_path_factory.mktemp("small")
    (folder / "log.tsv").write_text("a\tdog\t3\nb\tcat\t2\n", encoding="utf-8")
    return peak_of(folder / "log.tsv", folder / "out")


def gzipped(path: Path, pieces: list[bytes], times: int) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"a\tdog\t3\n")
        for _ in range(times):
            file.writelines(pieces)
        file.write(b"\nb\tcat\t2\n")


def one_long_line(folder: Path) -> Path:
    """200 MB in one line."""
    gzipped(folder / "log.tsv.gz", [b"x" * 1_000_000], 200)
    return folder / "log.tsv.gz"


def empty_lines(folder: Path) -> Path:
    """10 M empty lines."""
    gzipped(folder / "log.tsv.gz", [b"\n" * 1_000_000], 10)
    return folder / "log.tsv.gz"


def lines_of_tabs(folder: Path) -> Path:
    """50 MB of tabs in lines of 1 MB."""
    gzipped(folder / "log.tsv.gz", [b"\t" * 1_000_000 + b"\n"], 50)
    return folder / "log.tsv.gz"


def equal_rows(folder: Path) -> Path:
    """5 M equal rows in one row group: some kB packed, 190 MB as text."""
    number = 5_000_000
    column = {
        name: pa.DictionaryArray.from_arrays(np.zeros(number, np.int32), [value])
        for name, value in (("image_id", "image-000001"), ("query", "golden retriever dog"))
    }
    table = pa.table({**column, "clicks": np.ones(number, np.int8)})
    pq.write_table(table, folder / "log.parquet", row_group_size=number, store_schema=False)
    return folder / "log.parquet"


def long_cells(folder: Path) -> Path:
    """100,000 rows whose query is the same text of 1 MB: 100 GB as text."""
    number = 100_000
    queries = ["x " * 530_000, "dog"]
    table = pa.table(
        {
            "image_id": [f"image-{row % 7}" for row in range(number)],
            "query": pa.DictionaryArray.from_arrays(np.arange(number, dtype=np.int32) % 1000 // 999, queries),
            "clicks": np.ones(number, np.int8),
        }
    )
    pq.write_table(table, folder / "log.parquet", dictionary_pagesize_limit=1 << 21)
    return folder / "log.parquet"


@pytest.mark.parametrize(
    ("write", "kept", "records"),
    [
        (one_long_line, 2, [(2, "line too long", 1)]),
        (empty_lines, 2, [(2, "empty line", 10_000_001)]),
        (lines_of_tabs, 2, [(2, "wrong number of fields", 50), (52, "empty line", 1)]),
        (equal_rows, 5_000_000, []),
        (long_cells, 100, [(1, "line too long", 14_272)]),
    ],
)
def test_memory_does_not_follow_what_unpacks(
    tmp_path: Path,
    small_peak: float,
    write: Callable[[Path], Path],
    kept: int,
    records: list[tuple[int, str, int]],
) -> None:
    # When threads free memory differs from run to run by 40 MB; what follows the unpacked size would exceed every time.
    log = write(tmp_path)
    peaks = (peak_of(log, tmp_path / "out") for _ in range(3))
    assert any(peak < small_peak + ALLOWED_MB for peak in peaks)
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    quarantine = pl.read_parquet(tmp_path / "out/quarantine")
    assert summary["rows_kept"] == kept
    assert summary["rows_read"] == kept + quarantine["rows"].sum()
    assert quarantine.select("row", "reason", "rows").rows()[: len(records)] == records
    assert quarantine["raw"].str.len_bytes().max() in (None, 0, 1024, 1_000_000)


def quote_that_stays_open(folder: Path) -> Path:
    """A quote before 100 MB of lines, and one before 100 MB without line ends."""
    lines = b"c,dog,1\n" * 100_000
    with lzma.open(folder / "log.csv.xz", "wb", preset=0) as file:
        file.write(b'a,"dog,3\n')
        for _ in range(120):
            file.write(lines)
        file.write(b'"')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'\nb,"cat",2\n')
    return folder / "log.csv.xz"


def short_csv_lines(folder: Path) -> Path:
    """4 M rows of CSV without anything but quotes."""
    with bz2.open(folder / "log.csv.bz2", "wb", compresslevel=1) as file:
        file.write(b'a,"dog",3\n' + b'"\n""\n' * 200_000 + b"\n" * 4_000_000 + b'b,"cat",2\n')
    return folder / "log.csv.bz2"


def json_lines_of_brackets(folder: Path) -> Path:
    """40 MB of JSON that is nested too deeply, and of objects with many keys, in a tar."""
    deep, wide = b"[" * 900_000, b"{%s}" % b",".join(b'"%d":[]' % n for n in range(60_000))
    good = [b'{"image_id": "a", "query": "dog", "clicks": 3}', b'{"image_id": "b", "query": "cat", "clicks": 2}']
    (folder / "log").write_bytes(b"\n".join([good[0], *[deep, wide] * 25, good[1], b""]))
    with tarfile.open(folder / "log.tgz", "w:gz", compresslevel=1) as archive:
        archive.add(folder / "log", "log")
    return folder / "log.tgz"


@pytest.mark.parametrize(
    ("write", "form", "kept"),
    [
        (quote_that_stays_open, "csv", 12_000_001),
        (short_csv_lines, "csv", 2),
        (json_lines_of_brackets, "jsonl", 2),
    ],
)
def test_memory_does_not_follow_quotes_and_brackets(
    tmp_path: Path, small_peak: float, write: Callable[[Path], Path], form: str, kept: int
) -> None:
    peak = peak_of(write(tmp_path), tmp_path / "out", "--format", form)
    assert peak < small_peak + ALLOWED_MB
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert summary["rows_kept"] == kept

"""Measure bytes and CPU time of click features whose floats are encoded in three ways.

    python -m benchmarks.parquet_encodings --rows 1_000_000 --repeats 9

The benchmark draws a Zipf-distributed log, builds its features once, writes the features' tables in each encoding and
reads them again, in turns. It prints a Markdown table with medians; ratios are to BYTE_STREAM_SPLIT.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import COMPRESSION, PARQUET, columns_but_floats  # noqa: E402
from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command  # noqa: E402

FLOATS = {"idf": "idf", "tfidf": "tfidf.list.element"}  # column: its path in Parquet
ENCODINGS = ("BYTE_STREAM_SPLIT", "plain", "dictionary")


def options(encoding: str, table: pa.Table) -> dict[str, Any]:
    """Return the writer's options that give the floats of a table an encoding."""
    others = columns_but_floats(table.schema)
    if encoding == "dictionary":
        return PARQUET
    if encoding == "plain":
        return {**PARQUET, "use_dictionary": others}
    floats = [path for name, path in FLOATS.items() if name in table.column_names]
    return {**PARQUET, "use_dictionary": others, "use_byte_stream_split": floats}


def cpu_seconds(work: Callable[[], None]) -> float:
    """Return the CPU seconds of all threads of a piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(tables: list[pa.Table], folder: Path, repeats: int) -> dict[str, tuple[int, float, float]]:
    """Return bytes, and median seconds to write and to read, of each encoding."""
    files = [folder / f"{number}.parquet" for number in range(len(tables))]
    sizes: dict[str, int] = {}
    writing: dict[str, list[float]] = {name: [] for name in ENCODINGS}
    reading: dict[str, list[float]] = {name: [] for name in ENCODINGS}

    def write(encoding: str) -> None:
        for table, file in zip(tables, files, strict=True):
            pq.write_table(table, file, compression=COMPRESSION, row_group_size=65_536, **options(encoding, table))

    def read() -> None:
        for file in files:
            pq.read_table(file)

    for repeat in range(repeats):
        for encoding in (*ENCODINGS[repeat % 3 :], *ENCODINGS[: repeat % 3]):
            writing[encoding].append(cpu_seconds(lambda encoding=encoding: write(encoding)))
            reading[encoding].append(cpu_seconds(read))
            sizes[encoding] = sum(file.stat().st_size for file in files)
    return {
        name: (sizes[name], statistics.median(writing[name]), statistics.median(reading[name])) for name in ENCODINGS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zipf_log.write_log(folder / "log.tsv", arguments.rows)
        command = build_command([folder / "log.tsv"], folder / "out", "--no-history")
        subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, check=True)
        files = [folder / "out/vocabulary.parquet", *sorted((folder / "out/click_features").iterdir())]
        found = measure([pq.read_table(file) for file in files], folder, arguments.repeats)
    first = found[ENCODINGS[0]]
    print("| floats | bytes | ratio | writing, CPU s | ratio | reading, CPU s | ratio |\n|---|---|---|---|---|---|---|")
    for encoding, (size, writing, reading) in found.items():
        print(
            f"| {encoding} | {size:,} | {size / first[0]:.2f} | {writing:.3f} | {writing / first[1]:.2f} "
            f"| {reading:.3f} | {reading / first[2]:.2f} |"
        )


if __name__ == "__main__":
    main()

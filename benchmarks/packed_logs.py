"""Measure the time and memory of `build_click_features` for small log files that unpack to very large ones.

    python -m benchmarks.packed_logs
    python -m benchmarks.packed_logs --scale 0.1 --only line lines

The benchmark writes each log into a temporary folder, builds its features in a separate process and prints a Markdown
table; benchmarks/costs.py describes how wall seconds and peak memory are measured. `evenly` is a Zipf-distributed log,
`sorted` has the same rows sorted by query, so that gzip packs them closer; neither may take much more memory than the
other.
"""

import argparse
import gzip
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command  # noqa: E402
from benchmarks.costs import cost_of  # noqa: E402

MB = 1 << 20


def write_gzip(path: Path, pieces: Iterable[bytes]) -> int:
    """Write pieces of a log between two good rows; return the unpacked bytes."""
    size = 0
    with gzip.open(path, "wb", compresslevel=6) as file:
        for piece in (b"a\tdog\t3\n", *pieces, b"\nb\tcat\t2\n"):
            size += file.write(piece)
    return size


def one_line(folder: Path, scale: float) -> tuple[Path, int]:
    """One line of 1 GB, gzipped."""
    path = folder / "line.tsv.gz"
    return path, write_gzip(path, (b"x" * 1_000_000 for _ in range(round(1000 * scale))))


def empty_lines(folder: Path, scale: float) -> tuple[Path, int]:
    """50 M empty lines, gzipped."""
    path = folder / "lines.tsv.gz"
    return path, write_gzip(path, (b"\n" * 1_000_000 for _ in range(round(50 * scale))))


def equal_rows(folder: Path, scale: float) -> tuple[Path, int]:
    """30 M equal rows in Parquet."""
    path, number = folder / "rows.parquet", round(30_000_000 * scale)
    texts = {"image_id": "image-000001", "query": "golden retriever dog"}
    columns = {name: pa.DictionaryArray.from_arrays(np.zeros(number, np.int32), [text]) for name, text in texts.items()}
    pq.write_table(pa.table({**columns, "clicks": np.ones(number, np.int64)}), path)
    return path, number * (len("\t".join(texts.values())) + len("\t1\n"))


def evenly(folder: Path, scale: float) -> tuple[Path, int]:
    """Rows of a Zipf log (5 M at scale 1), gzipped."""
    rows = folder / "rows.tsv"
    zipf_log.write_log(rows, round(5_000_000 * scale))
    path = folder / "even.tsv.gz"
    return path, write_gzip(path, rows.open("rb"))


def by_query(folder: Path, scale: float) -> tuple[Path, int]:
    """The same rows sorted by query, gzipped."""
    rows = folder / "rows.tsv"
    zipf_log.write_log(rows, round(5_000_000 * scale))
    path = folder / "sorted.tsv.gz"
    return path, write_gzip(path, sorted(rows.open("rb"), key=lambda row: row.split(b"\t")[1]))


LOGS: dict[str, Callable[[Path, float], tuple[Path, int]]] = {
    "line": one_line,
    "lines": empty_lines,
    "rows": equal_rows,
    "evenly": evenly,
    "sorted": by_query,
}


def main() -> None:
    """Measure each log and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the logs; 1: the sizes in their descriptions")
    parser.add_argument("--only", nargs="+", choices=list(LOGS), default=list(LOGS), help="these logs only")
    arguments = parser.parse_args()
    print("| log | packed, kB | unpacked, MB | wall, s | CPU, s | peak, MB |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in arguments.only:
        with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
            path, unpacked = LOGS[name](Path(temporary), arguments.scale)
            cost = cost_of(build_command([path], Path(temporary) / "out"), ROOT, ENVIRONMENT)
            print(
                f"| {LOGS[name].__doc__} | {path.stat().st_size / 1024:,.0f} | {unpacked / MB:,.0f} "
                f"| {cost.seconds:.1f} | {cost.cpu_seconds:.1f} | {cost.megabytes:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""Compare adding a day's new rows to an existing build with building everything again.

    python -m benchmarks.incremental --rows 10_000_000 --shares 0.001 0.01 0.1 --repeats 3

The benchmark draws one Zipf-distributed log, whose last rows are the new ones: most of their images, queries and words
are known, some are new. For every share of new rows it runs, in turn, `--previous OLD --clicks NEW` and the full build
over both logs. All files that both write must have the same bytes, except for the history. It prints a Markdown table
of medians; shares are of the old rows.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command, fingerprint, results_of  # noqa: E402
from benchmarks.costs import Cost, cost_of, warm  # noqa: E402


def copy_rows(source: BinaryIO, target: Path, num_rows: int) -> None:
    """Write the next rows of an open log to a file, and one unusable row for quarantine."""
    with target.open("wb") as file:
        file.writelines(source.readline() for _ in range(num_rows))
        file.write(b"a row without clicks\n")


def check_equal(name: str, incremental: Path, full: Path) -> None:
    """Exit with an error if the two outputs differ in a byte."""
    ours, expected = results_of(fingerprint(incremental)), results_of(fingerprint(full))
    differing = sorted(file for file in ours.keys() | expected.keys() if ours.get(file) != expected.get(file))
    if differing or not expected:
        sys.exit(
            f"{name}: {len(differing)} of {len(expected)} files differ from the full build: {', '.join(differing[:5])}"
        )


def compare(old: Path, new: Path, previous: Path, repeats: int, place: Path) -> list[tuple[Cost, Cost]]:
    """Run (incremental, full) in turn, `repeats` times; check the bytes each time."""
    incremental, full = place / "incremental", place / "full"
    runs = []
    for _ in range(repeats):
        added = cost_of(build_command([new], incremental, "--previous", str(previous)), ROOT, ENVIRONMENT)
        everything = cost_of(build_command([old, new], full), ROOT, ENVIRONMENT)
        check_equal(new.name, incremental, full)
        runs.append((added, everything))
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the old log")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01], help="new rows, as shares of the old ones")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    numbers = {share: max(round(arguments.rows * share), 1) for share in arguments.shares}
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = Path(temporary)
        old, whole, previous = place / "old.tsv", place / "whole.tsv", place / "previous"
        zipf_log.write_log(whole, arguments.rows + max(numbers.values()))
        with whole.open("rb") as rows:
            copy_rows(rows, old, arguments.rows)
            start = rows.tell()
            for share, number in numbers.items():
                rows.seek(start)
                copy_rows(rows, place / f"new-{share}.tsv", number)
        whole.unlink()
        warm(old)
        cost_of(build_command([old], previous), ROOT, ENVIRONMENT)
        kept = sum(file.stat().st_size for file in previous.rglob("*") if file.is_file()) / 2**20
        print(f"The previous build of {arguments.rows:,} rows takes {kept:,.0f} MB on disk.\n")
        print("| old rows | new rows | adding, s | full build, s | adding / full | adding, peak MB | full, peak MB |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for share, number in numbers.items():
            runs = compare(old, place / f"new-{share}.tsv", previous, arguments.repeats, place)
            ratio = statistics.median(added.seconds / full.seconds for added, full in runs)
            added, full = (
                Cost(*map(statistics.median, zip(*column, strict=True))) for column in zip(*runs, strict=True)
            )
            print(
                f"| {arguments.rows:,} | {number:,} | {added.seconds:.1f} | {full.seconds:.1f} | {ratio:.3f} "
                f"| {added.megabytes:,.0f} | {full.megabytes:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

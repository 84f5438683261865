"""Compare our click features from a Zipf-distributed log with hand-written peers, in turn, on the same file.

    python -m benchmarks.click_features --rows 1_000_000 10_000_000 --repeats 3

Each implementation runs in its own process; benchmarks/costs.py measures its wall and CPU seconds and the peak memory
of all its processes together. The log is read once before the first run, so that no run waits for the disk. All results
are compared with ours: the vocabulary and integer columns must be equal, TF-IDF within 1e-6.

Element-wise Beam is too slow for these sizes; it runs on a smaller log, and its time per row is compared. PySpark runs
if `pyspark` can be imported. The benchmark prints Markdown tables of medians:

- each implementation at each size, with the ratios ours / peer, pair by pair;
- the growth of the time per row with the rows;
- element-wise Beam's time per row as a multiple of ours at every size.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command  # noqa: E402
from benchmarks.costs import Cost, cost_of, warm  # noqa: E402

OURS = "clicksight"
PEERS = {
    "duckdb": "duckdb_script.py",
    "polars": "polars_script.py",
    "pyspark": "pyspark_script.py",
    "element-wise": "beam_elementwise.py",
}


def read_features(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return a result's vocabulary and features, sorted; each is a file or a folder of files."""

    def read(name: str) -> pl.DataFrame:
        files = sorted((folder / name).glob("*.parquet")) if (folder / name).is_dir() else [folder / name]
        return pl.concat(pl.read_parquet(file) for file in files)

    vocabulary = read("vocabulary.parquet")
    features = read("click_features" if (folder / "click_features").is_dir() else "click_features.parquet")
    return vocabulary.sort("word_id"), features.sort("image_id")


def check_agreement(name: str, ours: Path, theirs: Path) -> None:
    """Exit with an error if two results differ."""
    (our_words, our_features), (their_words, their_features) = read_features(ours), read_features(theirs)
    for column in ("word", "clicks", "document_frequency"):
        if our_words[column].to_list() != their_words[column].to_list():
            sys.exit(f"{name}: the vocabulary differs from ours in column {column}")
    np.testing.assert_allclose(our_words["idf"].to_numpy(), their_words["idf"].to_numpy(), rtol=1e-6, err_msg=name)
    if not our_features.select("image_id", "word_ids", "clicks").equals(
        their_features.select("image_id", pl.col("word_ids").cast(pl.List(pl.Int32)), "clicks")
    ):
        sys.exit(f"{name}: the click matrix differs from ours")
    our_weights = our_features["tfidf"].explode(empty_as_null=False).to_numpy()
    their_weights = their_features["tfidf"].explode(empty_as_null=False).to_numpy()
    np.testing.assert_allclose(our_weights, their_weights, rtol=1e-6, err_msg=name)


def measure(rows: int, repeats: int, peers: Sequence[str], options: Sequence[str]) -> dict[str, list[Cost]]:
    """Run all implementations in turn, `repeats` times, on one log of `rows` rows; results must agree."""
    costs: dict[str, list[Cost]] = {OURS: [], **{name: [] for name in peers}}
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = Path(temporary)
        log, ours, theirs = place / "log.tsv", place / "ours", place / "theirs"
        zipf_log.write_log(log, rows)
        warm(log)
        for _ in range(repeats):
            costs[OURS].append(cost_of(build_command([log], ours, *options), ROOT, ENVIRONMENT))
            for name in peers:
                script = str(ROOT / "benchmarks" / "peers" / PEERS[name])
                costs[name].append(cost_of([sys.executable, script, str(log), str(theirs / name)], ROOT))
                check_agreement(name, ours, theirs / name)
    return costs


def middle(runs: Sequence[Cost]) -> Cost:
    """Return the median of each figure separately."""
    return Cost(*(statistics.median(column) for column in zip(*runs, strict=True)))


def print_costs(rows: int, costs: dict[str, list[Cost]]) -> None:
    """Print a table row for each implementation at one size."""
    for name, runs in costs.items():
        median = middle(runs)
        # ratios are computed pair by pair: the machine's speed drifts, but a pair's runs follow each other
        pairs = list(zip(costs[OURS], runs, strict=True))
        ratios = middle([Cost(*(ours / theirs for ours, theirs in zip(us, its, strict=True))) for us, its in pairs])
        print(
            f"| {rows:,} | {name} | {median.seconds:.1f} | {median.cpu_seconds:.1f} | {median.megabytes:,.0f} "
            f"| {rows / median.seconds:,.0f} "
            f"| {ratios.seconds:.2f} | {ratios.cpu_seconds:.2f} | {ratios.megabytes:.2f} |",
            flush=True,
        )


def us_per_row(rows: int, runs: Sequence[Cost]) -> float:
    """Return the wall time per row in microseconds."""
    return middle(runs).seconds / rows * 1e6


def print_growth(by_rows: dict[int, dict[str, list[Cost]]]) -> None:
    """Print the time per row at each size, and its ratio to that at the smallest size."""
    smallest = min(by_rows)
    print("\nWall time per row in microseconds, and against the smallest size:\n")
    print("| implementation |" + "".join(f" {rows:,} rows |" for rows in by_rows))
    print("|---|" + "---|" * len(by_rows))
    for name in by_rows[smallest]:
        base = us_per_row(smallest, by_rows[smallest][name])
        cells = [us_per_row(rows, costs[name]) for rows, costs in by_rows.items()]
        print(f"| {name} |" + "".join(f" {cell:.2f} ({cell / base:.2f}x) |" for cell in cells))


def print_element_wise(num_rows: int, element_wise: list[Cost], ours: dict[int, list[Cost]]) -> None:
    """Print element-wise Beam's time per row as a multiple of ours at every size."""
    theirs = us_per_row(num_rows, element_wise)
    print(f"\nElement-wise Beam, {num_rows:,} rows: {theirs:.2f} microseconds per row; in comparison:\n")
    print("| rows | ours, microseconds per row | element-wise / ours |")
    print("|---|---|---|")
    for rows, runs in ours.items():
        print(f"| {rows:,} | {us_per_row(rows, runs):.2f} | {theirs / us_per_row(rows, runs):.1f} |")


def chosen_peers(without: Sequence[str]) -> list[str]:
    """Return the peers to run on the whole log, in order; print a note if PySpark is missing."""
    peers = [name for name in PEERS if name not in {*without, "element-wise"}]
    if "pyspark" in peers and importlib.util.find_spec("pyspark") is None:
        print("PySpark is left out: the module pyspark is not installed\n")
        peers.remove("pyspark")
    return peers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 2_000_000], help="sizes of the log")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each implementation at each size")
    parser.add_argument("--without", nargs="*", default=[], choices=list(PEERS), help="peers to leave out")
    parser.add_argument("--element-wise-rows", type=int, default=200_000, help="size of element-wise Beam's log")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="all that follows is for our command")
    arguments = parser.parse_args()
    peers = chosen_peers(arguments.without)
    print("| rows | implementation | wall, s | CPU, s | peak, MB | rows/s | ours / it: wall | CPU | peak |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    small: dict[str, list[Cost]] = {}
    small_rows = arguments.element_wise_rows
    if "element-wise" not in arguments.without:
        small = measure(small_rows, arguments.repeats, ["element-wise"], arguments.options)
        print_costs(small_rows, small)
    by_rows: dict[int, dict[str, list[Cost]]] = {}
    for rows in sorted(set(arguments.rows)):
        by_rows[rows] = measure(rows, arguments.repeats, peers, arguments.options)
        print_costs(rows, by_rows[rows])
    print_growth(by_rows)
    if small:
        ours = {small_rows: small[OURS]} | {rows: costs[OURS] for rows, costs in by_rows.items()}
        print_element_wise(small_rows, small["element-wise"], ours)


if __name__ == "__main__":
    main()

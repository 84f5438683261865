"""Click features from a Zipf-distributed log: ours against hand-written peers, in turn, on the same file.

`python benchmarks/click_features.py --rows 1_000_000 10_000_000 --repeats 3`

Each implementation is a process of its own; wall seconds and peak memory come from the operating system. All results
are compared with ours: the same vocabulary and integer columns, TF-IDF within 1e-6. Prints Markdown tables of medians.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import zipf_log  # noqa: E402

PEERS = {"DuckDB script": "duckdb_script.py", "Polars script": "polars_script.py"}


class Cost(NamedTuple):
    """What one run took."""

    seconds: float
    megabytes: float


def cost_of(command: list[str]) -> Cost:
    """Run a command to its end; wall seconds and peak resident memory of its largest process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{said.decode()[-3000:]}")
    return Cost(time.perf_counter() - started, usage.ru_maxrss / 1024)


def read_features(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A result's vocabulary and features, in one order whoever wrote it."""
    vocabulary = pl.read_parquet(folder / "vocabulary.parquet").sort("word_id")
    nested = folder / "click_features"
    features = pl.read_parquet(nested / "*.parquet" if nested.is_dir() else folder / "click_features.parquet")
    return vocabulary, features.sort("image_id")


def check_agreement(name: str, ours: Path, theirs: Path) -> None:
    """Leave with an error when two results differ."""
    (our_words, our_features), (their_words, their_features) = read_features(ours), read_features(theirs)
    for column in ("word", "clicks", "document_frequency"):
        if our_words[column].to_list() != their_words[column].to_list():
            sys.exit(f"{name}: another vocabulary, column {column}")
    if not our_features.select("image_id", "word_ids", "clicks").equals(
        their_features.select("image_id", pl.col("word_ids").cast(pl.List(pl.Int32)), "clicks")
    ):
        sys.exit(f"{name}: another click matrix")
    our_weights = our_features["tfidf"].explode(empty_as_null=False).to_numpy()
    their_weights = their_features["tfidf"].explode(empty_as_null=False).to_numpy()
    np.testing.assert_allclose(our_weights, their_weights, rtol=1e-6, err_msg=name)


def measure(rows: int, repeats: int, place: Path, peers: dict[str, str]) -> dict[str, list[Cost]]:
    """Run everything in turn, `repeats` times, on one log of `rows` rows; results must agree."""
    log = place / f"log-{rows}.tsv"
    zipf_log.write_log(log, rows)
    costs: dict[str, list[Cost]] = {"ours": [], **{name: [] for name in peers}}
    for _ in range(repeats):
        ours = place / "ours"
        build = ["-m", "pipelines.build_click_features", "--clicks", str(log), "--output", str(ours)]
        costs["ours"].append(cost_of([sys.executable, *build]))
        for name, script in peers.items():
            theirs = place / script
            costs[name].append(cost_of([sys.executable, str(HERE / "peers" / script), str(log), str(theirs)]))
            check_agreement(name, ours, theirs)
    log.unlink()
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], choices=list(PEERS), help="peers to leave out")
    arguments = parser.parse_args()
    peers = {name: script for name, script in PEERS.items() if name not in arguments.without}
    print("| rows | implementation | wall, s | peak, MB | rows/s | ours / it, wall | ours / it, memory |")
    print("|---|---|---|---|---|---|---|")
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(prefix="clicksight-") as place:
            costs = measure(rows, arguments.repeats, Path(place), peers)
        for name, runs in costs.items():
            seconds = statistics.median(run.seconds for run in runs)
            megabytes = statistics.median(run.megabytes for run in runs)
            # ratios pair by pair: the machine's speed drifts, a pair's two runs stand side by side
            wall = statistics.median(us.seconds / it.seconds for us, it in zip(costs["ours"], runs, strict=True))
            memory = statistics.median(us.megabytes / it.megabytes for us, it in zip(costs["ours"], runs, strict=True))
            print(
                f"| {rows:,} | {name} | {seconds:.1f} | {megabytes:,.0f} | {rows / seconds:,.0f} "
                f"| {wall:.2f} | {memory:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

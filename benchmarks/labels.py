"""Compare labels from clicks with a hand-written DuckDB script, in turn, on the same log and the same names.

    python -m benchmarks.labels --rows 1_000_000 10_000_000 --categories 1000 --repeats 3

The log is Zipf-distributed (benchmarks/zipf_log.py); the names are its most frequent queries of two words, so that
words are shared and most queries have a word of a name. Each implementation runs in its own process
(benchmarks/costs.py). The labels must be equal. The result is a Markdown table of medians, with the ratios ours / peer,
pair by pair.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks import zipf_log
from benchmarks.builds import ENVIRONMENT, ROOT
from benchmarks.click_features import OURS, print_costs
from benchmarks.costs import Cost, cost_of, warm

PEER = "duckdb"
ONCE_IN = 1 << 22  # lines of the log from which names are taken


def write_names(log: Path, categories: int, path: Path) -> None:
    """Write the most frequent queries of two different words, one in each line."""
    table = pl.read_csv(
        log, separator="\t", has_header=False, quote_char=None, new_columns=["image", "query", "clicks"], n_rows=ONCE_IN
    )
    words = pl.col("query").str.split(" ")
    names = (
        table.group_by("query")
        .len()
        .filter(words.list.len() == 2, words.list.n_unique() == 2)
        .with_columns(key=words.list.sort().list.join(" "))  # "a b" and "b a" are names of the same words
        .sort("len", "query", descending=[True, False])
        .unique("key", keep="first", maintain_order=True)
        .head(categories)
    )
    if names.height < categories:
        sys.exit(f"the log has {names.height} queries of two words, fewer than {categories} categories: give more rows")
    path.write_text("".join(f"{name}\n" for name in names["query"]), encoding="utf-8")


def check_agreement(ours: Path, theirs: Path) -> None:
    """Exit with an error if the labels differ."""
    our, their = (pl.read_parquet(folder).sort("image_id") for folder in (ours / "labels", theirs / "labels.parquet"))
    for column in ("image_id", "category", "clicks", "queries"):
        if our[column].to_list() != their[column].to_list():
            sys.exit(f"{column}: DuckDB's labels differ from ours")
    for column in ("share", "margin"):
        np.testing.assert_allclose(our[column].to_numpy(), their[column].to_numpy(), atol=1e-9, err_msg=column)
    if our["categories"].to_list() != their["categories"].fill_null([]).to_list():
        sys.exit("categories: DuckDB's labels differ from ours")


def measure(rows: int, categories: int, repeats: int) -> dict[str, list[Cost]]:
    """Run both in turn, `repeats` times, on one log of `rows` rows."""
    costs: dict[str, list[Cost]] = {OURS: [], PEER: []}
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = Path(temporary)
        log, names, ours, theirs = place / "log.tsv", place / "names.txt", place / "ours", place / "theirs"
        zipf_log.write_log(log, rows)
        write_names(log, categories, names)
        warm(log)
        command = [sys.executable, "-m", "pipelines.label_from_clicks", "--clicks", str(log)]
        script = str(ROOT / "benchmarks" / "peers" / "duckdb_labels.py")
        for _ in range(repeats):
            arguments = ["--categories", str(names), "--output", str(ours)]
            costs[OURS].append(cost_of([*command, *arguments], ROOT, ENVIRONMENT))
            costs[PEER].append(cost_of([sys.executable, script, str(log), str(names), str(theirs)], ROOT))
            check_agreement(ours, theirs)
    return costs


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000], help="sizes of the log")
    parser.add_argument("--categories", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each at each size")
    arguments = parser.parse_args(argv)
    print("| rows | implementation | wall, s | CPU, s | peak, MB | rows/s | ours / it: wall | CPU | peak |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for rows in arguments.rows:
        print_costs(rows, measure(rows, arguments.categories, arguments.repeats))


if __name__ == "__main__":
    main()

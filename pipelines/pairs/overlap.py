"""List the pairs that two ingested sets share: the same picture, nearly the same picture, or the same text.

    python -m pipelines.pairs.overlap --source data/dckt/source/ingested --target data/dckt/target/ingested \
        --output data/dckt/overlap

Such pairs show a network in the source what it will be tested on in the target. Input: fingerprints.parquet of both
(:mod:`pipelines.pairs.ingest`). Output: pairs.parquet (schemas.PAIR_OVERLAP) and summary.json (numbers of pairs by
domain and kind, and the categories that both sets have).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from base import console
from base.artifacts import read_tables, whole_directory, write_json, write_table
from base.schemas import PAIR_OVERLAP
from pipelines.pairs.copies import SOURCE, TARGET, count_duplicates, duplicates_across

NAMED = 20  # shared categories that the closing lines list; summary.json lists all


def run(source: Path, target: Path, output: Path, distance: int) -> dict[str, Any]:
    """Compare two ingested sets; return the contents of summary.json."""
    sets = [pl.DataFrame(read_tables(folder / "fingerprints.parquet")) for folder in (source, target)]
    overlap = duplicates_across(sets[0], sets[1], distance)
    categories = [set(rows["category"].unique()) for rows in sets]
    summary = {
        "pairs": {domain: count_duplicates(overlap.filter(pl.col("domain") == domain)) for domain in (SOURCE, TARGET)},
        "shared_categories": sorted(categories[0] & categories[1]),
    }
    with whole_directory(output, holds=("pairs.parquet", "summary.json")) as folder:
        write_table(overlap.to_arrow().cast(PAIR_OVERLAP), folder / "pairs.parquet")
        write_json(summary, folder / "summary.json")
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="an ingested set")
    parser.add_argument("--target", type=Path, required=True, help="the other ingested set")
    parser.add_argument("--duplicate-distance", type=int, default=48, help="bits of 256 (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    with console.stage("overlap") as closing:
        summary = run(arguments.source, arguments.target, arguments.output, arguments.duplicate_distance)
        for domain, counts in summary["pairs"].items():
            closing.counts.update({f"{domain} pairs with {what}": number for what, number in counts.items()})
        shared = summary["shared_categories"]
        closing.counts[f"shared categories: {', '.join(shared[:NAMED]) or 'none'}"] = len(shared)
        closing.wrote[str(arguments.output)] = "pairs that both sets have"


if __name__ == "__main__":
    main()

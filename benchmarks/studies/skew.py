"""Measure what skew costs: `python -m benchmarks.studies.skew --rows 1_000_000`.

The same Zipf log (benchmarks/zipf_log.py) is built five times: as it is; with one query in 10 % of the rows; with one
image in 5 %; with one word in every query; with all three. A table shows seconds, peak memory, and for each step that
groups its rows the largest partition and what it is of an even share. Buckets are made so small (`--bucket-bytes`) that
there are as many as a log of some hundred times the size has. `--without-fan-out` keeps each query in one bucket, as it
was before hot queries were spread; then only the first two logs are built.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]

from base.schemas import CLICK_MATRIX, CLICKS  # noqa: E402
from benchmarks.costs import cost_of  # noqa: E402
from benchmarks.zipf_log import write_log  # noqa: E402
from pipelines import build_click_features as job  # noqa: E402
from pipelines.beam import shuffle  # noqa: E402
from pipelines.ingest import click_log  # noqa: E402
from pipelines.words.vocabulary import WORD_CLICKS  # noqa: E402

STEPS = {"query": CLICKS, "image": CLICK_MATRIX, "word": WORD_CLICKS}
HOT_QUERY, HOT_IMAGE, HOT_WORD = "vanilla query", "vanilla-image", "vanilla"
KINDS = ((), ("query",), ("image",), ("word",), ("query", "image", "word"))
SHARES = {"query": 0.1, "image": 0.05}


def skewed(log: Path, kinds: Iterable[str], output: Path) -> None:
    """Write a log with some kinds of skew; which rows are changed depends on their numbers alone."""
    place = pl.int_range(pl.len()).hash(seed=1) / 2.0**64
    frame = pl.scan_csv(
        log,
        separator="\t",
        has_header=False,
        quote_char=None,
        infer_schema=False,
        new_columns=["image", "query", "clicks"],
    ).with_columns(place=place)
    if "query" in kinds:
        is_hot = pl.col("place") < SHARES["query"]
        frame = frame.with_columns(query=pl.when(is_hot).then(pl.lit(HOT_QUERY)).otherwise("query"))
    if "image" in kinds:
        is_hot = pl.int_range(pl.len()).hash(seed=2) / 2.0**64 < SHARES["image"]
        frame = frame.with_columns(image=pl.when(is_hot).then(pl.lit(HOT_IMAGE)).otherwise("image"))
    if "word" in kinds:
        frame = frame.with_columns(query=pl.col("query") + f" {HOT_WORD}")
    frame.drop("place").collect().write_csv(output, separator="\t", include_header=False, quote_style="never")


def build(log: Path, output: Path, bucket_bytes: int, fan_out: bool, sizes: Path) -> None:
    """Build features in this process, and write the rows of each partition by step."""
    finish_shard, group = shuffle.finish_shard, job.GroupIntoShards

    def counted(element: Any, schema: pa.Schema, finish: Callable[..., Any], *more: Any) -> Any:
        def finish_counted(shard: int, rows: pa.RecordBatch, *side: Any) -> Any:
            for step, known in STEPS.items():
                if schema.equals(known):
                    with sizes.open("a") as file:  # Beam copies this function, so it can't fill a list
                        file.write(f"{step} {rows.num_rows}\n")
            return finish(shard, rows, *side)

        return finish_shard(element, schema, finish_counted, *more)

    shuffle.finish_shard = counted
    click_log.BUCKET_BYTES = bucket_bytes
    if not fan_out:
        job.GroupIntoShards = lambda *positional, **named: group(*positional, **{**named, "fan_out": None})
    sizes.unlink(missing_ok=True)
    job.main(["--clicks", str(log), "--output", str(output)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=1_000_000)
    parser.add_argument("--bucket-bytes", type=int, default=1 << 19)
    parser.add_argument("--without-fan-out", action="store_true")
    parser.add_argument("--one", nargs=3, type=Path, metavar=("LOG", "OUTPUT", "SIZES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        log, output, sizes = arguments.one
        build(log, output, arguments.bucket_bytes, not arguments.without_fan_out, sizes)
        return
    print("| skew | CPU s | peak MB | largest bucket of queries | shard of images | partition of words |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        folder = Path(scratch)
        write_log(folder / "log.tsv", arguments.rows)
        for kinds in ((), ("query",)) if arguments.without_fan_out else KINDS:
            skewed(folder / "log.tsv", kinds, folder / "skewed.tsv")
            command = [sys.executable, "-m", "benchmarks.studies.skew", "--bucket-bytes", str(arguments.bucket_bytes)]
            command += ["--without-fan-out"] if arguments.without_fan_out else []
            cost = cost_of(
                [*command, "--one", *(str(folder / name) for name in ("skewed.tsv", "out", "sizes"))], cwd=ROOT
            )
            sizes: dict[str, list[int]] = {step: [] for step in STEPS}
            for line in (folder / "sizes").read_text().splitlines():
                sizes[line.split()[0]].append(int(line.split()[1]))
            cells = [f"{max(rows):,} ({max(rows) * len(rows) / sum(rows):.1f} x)" for rows in sizes.values()]
            about = f"{', '.join(kinds) or 'none'} | {cost.cpu_seconds:.1f} | {cost.megabytes:.0f}"
            print(f"| {about} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

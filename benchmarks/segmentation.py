"""Compare our segmentation of Chinese queries with jieba's own speed, on the same distinct queries.

    python -m benchmarks.segmentation --rows 200_000 --repeats 3 --log captions.tsv

jieba is `Tokenizer.lcut` (precise mode with its hidden Markov model), called for one query after the other in one
thread. Ours is

- the segmenter, a new one each time, so that it has no remembered words; both segment other queries before the clock
  starts, so that dictionaries are loaded and the segmenter's processes, if any, have started;
- for the drawn log also the whole command from start to end, with all its other work.

Our segmenter remembers the words of Han runs, so there are two kinds of queries: a Zipf-distributed log of Chinese
phrases, where hardly any run occurs twice, and queries that combine few runs, where nearly every run does. The table
has the share of distinct runs. `--log` adds the queries of your own click log.

The benchmark prints a Markdown table of medians. The ratio is queries/s, ours / (jieba's x the cores ours used), where
cores used are CPU seconds / wall seconds. It is computed as queries per CPU second, ours / jieba's: this is the same on
an idle machine, and with other work on the machine neither side is slowed down by it.
"""

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jieba
import numpy as np
import polars as pl
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command  # noqa: E402
from benchmarks.costs import cost_of, own_cpu_seconds, warm  # noqa: E402
from pipelines.words.segmentation import Segmenter, SegmentParams, normalise  # noqa: E402

PARAMS = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
NUM_FIRST = 50_000  # queries segmented before the clock starts


class Speed(NamedTuple):
    """The speed of segmenting queries.

    Attributes:
        queries_per_s: per second of wall time.
        queries_per_cpu_s: per second of CPU time, over all threads and processes.
    """

    queries_per_s: float
    queries_per_cpu_s: float


def speed_of(segment: Callable[[], object], num_queries: int) -> Speed:
    """Run `segment` and return its speed."""
    cpu_started, started = own_cpu_seconds(), time.perf_counter()
    segment()
    seconds, cpu_seconds = time.perf_counter() - started, own_cpu_seconds() - cpu_started
    return Speed(num_queries / seconds, num_queries / cpu_seconds)


def first_queries() -> list[str]:
    """Return phrases other than the measured ones."""
    return zipf_log.query_pool(NUM_FIRST, 0, True, np.random.default_rng(99)).to_list()


def jieba_speed(queries: list[str]) -> Speed:
    """Return jieba's own speed, one query at a time."""
    tokenizer = jieba.Tokenizer()
    for query in first_queries():
        tokenizer.lcut(query)
    return speed_of(lambda: [tokenizer.lcut(query) for query in queries], len(queries))


def segmenter_speed(queries: list[str]) -> Speed:
    """Return the speed of our segmenter, all queries at once."""
    segmenter, column = Segmenter(PARAMS), pa.array(queries)
    segmenter(pa.array(first_queries()))
    return speed_of(lambda: segmenter(column), len(queries))


def queries_of(log: Path) -> list[str]:
    """Return a log's distinct queries, in their order."""
    columns = pl.read_csv(log, separator="\t", has_header=False, quote_char=None, infer_schema=False)
    return columns.to_series(1).unique(maintain_order=True).to_list()


def repeating_queries(number: int, num_runs: int, seed: int) -> list[str]:
    """Return distinct queries of two Han runs, out of `num_runs`, with a word between them."""
    generator = np.random.default_rng(seed)
    runs = zipf_log.query_pool(num_runs, 0, True, generator).unique(maintain_order=True)
    words = pl.Series(zipf_log.invent_words(1_000, generator))
    parts = [pool.gather(generator.integers(0, len(pool), number)) for pool in (runs, words, runs)]
    return pl.select(pl.concat_str(*parts, separator=" ")).to_series().unique(maintain_order=True).to_list()


def distinct_share(queries: list[str]) -> float:
    """Return the share of distinct runs among all Han runs in the queries."""
    runs = normalise(pa.array(queries)).str.extract_all(r"\p{Han}+").explode().drop_nulls()
    return runs.n_unique() / len(runs)


def command_speed(log: Path, num_queries: int) -> Speed:
    """Return the speed of the whole command on a log."""
    with tempfile.TemporaryDirectory(prefix="clicksight-") as folder:
        output = Path(folder) / "out"
        cost = cost_of(build_command([log], output), ROOT, ENVIRONMENT)
        summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    if summary["queries"] != num_queries:
        sys.exit(f"the command found {summary['queries']} queries, the benchmark {num_queries}")
    return Speed(num_queries / cost.seconds, num_queries / cost.cpu_seconds)


def compare(name: str, queries: list[str], repeats: int, log: Path | None = None) -> None:
    """Print a table row for each of ours on the same queries, measured in turn with jieba."""
    pairs: dict[str, list[tuple[Speed, Speed]]] = {}
    for _ in range(repeats):
        its = jieba_speed(queries)
        ours = {"the segmenter": segmenter_speed(queries)}
        if log:
            ours["the whole command"] = command_speed(log, len(queries))
        for what, speed in ours.items():
            pairs.setdefault(what, []).append((speed, its))
    share = distinct_share(queries)
    for what, runs in pairs.items():
        speed, its = (Speed(*map(statistics.median, zip(*column, strict=True))) for column in zip(*runs, strict=True))
        ratio = statistics.median(us.queries_per_cpu_s / it.queries_per_cpu_s for us, it in runs)
        print(
            f"| {name} | {len(queries):,} | {share:.2f} | {its.queries_per_s:,.0f} | {what} "
            f"| {speed.queries_per_s:,.0f} | {speed.queries_per_s / speed.queries_per_cpu_s:.2f} | {ratio:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the drawn log with half as many queries")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--log", type=Path, nargs="*", default=[], help="click logs (TSV) whose queries are also segmented"
    )
    arguments = parser.parse_args()
    jieba.setLogLevel(logging.WARNING)
    print(
        "| queries | distinct | distinct Han runs | jieba, queries/s "
        "| ours | queries/s | cores | ours / (jieba x cores) |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="clicksight-") as folder:
        log = Path(folder) / "log.tsv"
        zipf_log.write_log(log, arguments.rows, chinese=True)
        warm(log)
        compare("Zipf log of phrases", queries_of(log), arguments.repeats, log)
    compare("few runs, repeated", repeating_queries(arguments.rows // 4, 2_000, seed=0), arguments.repeats)
    for log in arguments.log:
        compare(log.parent.name, queries_of(log), arguments.repeats)


if __name__ == "__main__":
    main()

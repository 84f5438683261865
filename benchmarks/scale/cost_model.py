"""Measure what builds of click features cost, fit a model, check it on a larger log, and extrapolate it.

    python -m benchmarks.scale.cost_model --work .state/cost-model

Each log is a Zipf log (benchmarks/zipf_log.py) given as ROWS[:IMAGES[:POOL]]: a 23rd of the rows are images and half of
the rows is the pool of queries unless given. It is built by the in-process runner as by a user, and once more on one
core to count bytes and seconds by step (benchmarks/scale/counted_build.py). Its record is added to ``records.jsonl`` in
the folder --work, and a log that has a record is not built again. Then Markdown tables are printed: what was measured;
bytes shuffled; coefficients; the held-out log; and, extrapolated, what larger logs cost on many workers.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from timeit import repeat
from typing import Any, NamedTuple

import pyarrow as pa

from base.schemas import CLICKS
from benchmarks.scale.cluster import (
    Step,
    bottleneck,
    job_seconds,
    num_slices,
    step_seconds,
    with_buckets,
    with_parts,
)
from benchmarks.scale.measurements import Log, measure
from benchmarks.scale.model import MEMORY_TERMS, START, TERMS, condition, error, fit, predict
from pipelines.beam.shuffle import INLINE, unpack
from pipelines.words.click_matrix import IMAGE_SHARDS
from pipelines.words.vocabulary import WORD_PARTITIONS

FITTED = ("1_000_000", "3_000_000", "10_000_000", "23_000_000")
OTHERS = ("3_000_000:521_739", "3_000_000::187_500")
HELD_OUT = "50_000_000"
UNITS = {
    "cpu_seconds": ("CPU s", 1.0), "seconds": ("wall s", 1.0), "megabytes": ("peak MB", 1.0),
    "spill_bytes": ("shuffled data on disk, MB", 1e6), "disk_bytes": ("disk, MB", 1e6),
    "feature_bytes": ("features, MB", 1e6), "history_bytes": ("history, MB", 1e6),
}  # fmt: skip
SHUFFLES = ("query buckets", "words", "top words", "image shards", "quarantine", "counts")
FITTED_STEPS = ("query buckets", "words", "image shards")
PASSED = ("segmented buckets", "click matrix", "document frequencies")
BY_BUCKET = ("segmented buckets", "words of buckets", "products of buckets", "image shards", "words")
BY_IMAGE = ("click matrix", "document frequencies", "click features")
TARGETS = {
    "Clickture-Full": {"rows": 212e6, "images": 40e6, "queries": 73.6e6},
    "10^11 rows": {"rows": 1e11, "images": 1e11 / 5.3, "queries": 1e11 / 2.88},  # in the proportions of Clickture-Full
}
WORKERS = (1, 8, 100, 1000)
PIECES = 2_000  # packed at a time
SHARD_MEMORY = 2.4  # bytes of memory for each byte of a shard's rows (benchmarks/scale/image_shard.py)


def log_of(text: str) -> Log:
    """Return the log that ROWS[:IMAGES[:POOL]] describes."""
    rows, images, pool, *_ = [*text.replace("_", "").split(":"), "", ""]
    return Log(int(rows), int(images or max(int(rows) // 23, 1)), int(pool or max(int(rows) // 2, 1)))


def records_of(logs: Sequence[Log], repeats: int, work: Path) -> list[dict[str, Any]]:
    """Return a record for each log; those without one are measured, and added to the folder's file."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "records.jsonl"
    known = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    by_log = {Log(record["rows"], record["drawn_images"], record["pool"]): record for record in known}
    for log in logs:
        if log not in by_log:
            by_log[log] = measure(log, repeats, work)
            with path.open("a") as file:
                file.write(json.dumps(by_log[log]) + "\n")
    return [by_log[log] for log in logs]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def print_measured(records: Sequence[Mapping[str, Any]]) -> None:
    """Print what each log has and what its build cost."""
    head = ["rows", "images", "queries", "words", "log, MB", *(title for title, _ in UNITS.values())]
    table(head, [
        [*(f"{record[name]:,}" for name in ("rows", "images", "queries", "words")), f"{record['log_bytes'] / 1e6:,.0f}",
         *(f"{record[name] / unit:,.{1 if 'seconds' in name else 0}f}" for name, (_, unit) in UNITS.items())]
        for record in records
    ])  # fmt: skip


def print_shuffles(record: Mapping[str, Any]) -> None:
    """Print what each step sends, for one log."""
    steps = record["steps"]
    table(["step", "elements", "rows", "MB", "bytes per row of the log", "per image"], [
        [name, f"{steps[name]['elements']:,}", f"{steps[name]['rows']:,}", f"{steps[name]['bytes'] / 1e6:,.1f}",
         f"{steps[name]['bytes'] / record['rows']:.2f}", f"{steps[name]['bytes'] / record['images']:.1f}"]
        for name in (*SHUFFLES, *PASSED) if name in steps
    ])  # fmt: skip


def print_growth(records: Sequence[Mapping[str, Any]]) -> None:
    """Print bytes per row of the log by step, for each log."""
    table(["bytes per row", *(f"{record['rows']:,} rows, {record['images']:,} images" for record in records)], [
        [name, *(f"{record['steps'].get(name, {'bytes': 0})['bytes'] / record['rows']:.2f}" for record in records)]
        for name in (*SHUFFLES, *PASSED)
    ])  # fmt: skip


def print_models(records: Sequence[Mapping[str, Any]], held_out: Mapping[str, Any]) -> None:
    """Print the coefficients of each figure and its prediction for the held-out log."""
    logs = (*records, held_out)
    figures_by_title = {title: [log[name] / unit for log in logs] for name, (title, unit) in UNITS.items()}
    for name in FITTED_STEPS:
        figures_by_title[f"sent: {name}, MB"] = [log["steps"][name]["bytes"] / 1e6 for log in logs]
    rows = []
    for title, figures in figures_by_title.items():
        terms = MEMORY_TERMS if title == UNITS["megabytes"][0] else TERMS
        found = fit(records, figures[:-1], terms)
        cells = [
            f"{found[term] * (1 if term == START else 1e6):,.3g} {term.replace('_', ' ')}"
            for term in terms
            if found[term] > 0
        ]
        worst = max(abs(error(predict(found, record), was)) for record, was in zip(records, figures[:-1], strict=True))
        predicted = predict(found, held_out)
        rows.append([title, " + ".join(cells), f"{worst:.1%}", f"{predicted:,.1f}", f"{figures[-1]:,.1f}",
                     f"{error(predicted, figures[-1]):+.1%}"])  # fmt: skip
    head = ["figure", "model; numbers of rows, images, ... in millions", "largest error of the fit"]
    table([*head, f"predicted, {held_out['rows']:,} rows", "measured", "error"], rows)


class Piece(NamedTuple):
    """What a piece of a batch costs beyond its rows, however few: bytes, and CPU seconds of sender and receiver."""

    bytes: float
    pack_s: float
    unpack_s: float

    @classmethod
    def measured(cls) -> "Piece":
        """Pack and unpack small batches; the seconds are the shortest of several times."""
        one, two = (pa.record_batch([["i" * 12] * n, ["q" * 24] * n, [1] * n], schema=CLICKS) for n in (1, 2))
        packed = INLINE.pack([one])
        seconds = [
            min(repeat(call, timer=process_time, repeat=5, number=PIECES)) / PIECES
            for call in (lambda: INLINE.pack([one]), lambda: unpack(packed[0]))
        ]
        return cls(2 * len(packed[0]) - len(INLINE.pack([two])[0]), *seconds)


def steps_for(records: Sequence[Mapping[str, Any]], target: Mapping[str, float]) -> tuple[list[Step], dict[str, float]]:
    """Return the job's steps for a log, and what else is known of it, from models fitted to measured logs.

    Args:
        records: the measured logs.
        target: rows, images and queries.
    """
    log = with_buckets({**target, "log_bytes": target["rows"] * records[-1]["log_bytes"] / records[-1]["rows"]})

    def model(figure: str, *names: str) -> float:
        """Return a figure of some steps together; nothing of it is fixed."""
        sums = [sum(record["steps"].get(name, {figure: 0.0})[figure] for name in names) for record in records]
        return predict(fit(records, sums, TERMS[1:]), log)

    slices, buckets = num_slices(log["log_bytes"]), log["buckets"]
    piece, pieces = Piece.measured(), slices * buckets
    everything = fit(records, [record["cpu_seconds"] for record in records])
    names = {name for record in records for name in record["steps"]}
    rest = predict(everything, log) - everything[START] - model("seconds", *sorted(names))
    steps = [
        Step("launcher reads the log", model("seconds", "launcher"), 0, 1),
        Step("start of a worker", everything[START], 0, 1),
        Step("rows checked and split", model("seconds", "checked rows", "query buckets"), 0, slices),
        Step("pieces packed and unpacked", pieces * (piece.pack_s + piece.unpack_s), pieces * piece.bytes, buckets),
        Step("buckets: words, products", model("seconds", *BY_BUCKET), model("bytes", "query buckets"), buckets),
        Step("Beam, reading, system", max(rest, 0), 0, buckets),
        Step("words added up", model("seconds", "summed words"), model("bytes", "words"), WORD_PARTITIONS),
        Step("images added up, written", model("seconds", *BY_IMAGE), model("bytes", "image shards"), IMAGE_SHARDS),
    ]
    return steps, {
        **log, "pieces": pieces, "piece_bytes": pieces * piece.bytes, "shuffled": sum(step.bytes for step in steps),
        "shard_bytes": model("unpacked", "image shards") / IMAGE_SHARDS,
        "spill": predict(fit(records, [record["spill_bytes"] for record in records]), log),
    }  # fmt: skip


def print_clusters(records: Sequence[Mapping[str, Any]], bandwidth: float) -> None:
    """Print, extrapolated, how long larger logs take on many workers."""
    for title, target in TARGETS.items():
        steps, about = steps_for(records, target)
        shard = about["shard_bytes"]
        print(
            f"\n{title}, extrapolated: {about['log_bytes'] / 1e9:,.0f} GB of text in {about['buckets']:,} buckets, "
            f"{about['shuffled'] / 1e9:,.0f} GB shuffled ({about['piece_bytes'] / 1e9:,.1f} for being in "
            f"{about['pieces']:,} pieces), {about['spill'] / 1e9:,.0f} GB on disk; an image shard: "
            f"{about['bucket_images'] / IMAGE_SHARDS:,.3g} "
            f"rows, {shard / 1e9:,.1f} GB, {SHARD_MEMORY * shard / 1e9:,.1f} GB while it is added up"
        )
        table(["step", "parts", "core seconds", "GB received", *(f"s, {workers:,} workers" for workers in WORKERS)], [
            [step.name, f"{step.parts:,}", f"{step.seconds:,.0f}", f"{step.bytes / 1e9:,.1f}",
             *(f"{step_seconds(step, workers, bandwidth):,.0f}" for workers in WORKERS)]
            for step in steps
        ])  # fmt: skip
        lifted = [steps[0], steps[1], *with_parts(steps[2:], max(WORKERS))]
        spread = [steps[1], *with_parts([steps[0], *steps[2:]], max(WORKERS))]
        for name, variant in (
            ("in all", steps),
            ("with as many parts as workers", lifted),
            ("and no launcher", spread),
        ):
            cells = [f"{job_seconds(variant, workers, bandwidth):,.0f}" for workers in WORKERS]
            worst = [bottleneck(variant, workers, bandwidth).name for workers in WORKERS]
            print(f"| {name} | | | | {' | '.join(cells)} |\n| the longest step | | | | {' | '.join(worst)} |")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the records, with room for logs and builds")
    parser.add_argument("--logs", type=log_of, nargs="+", default=[*map(log_of, FITTED)], metavar="LOG")
    parser.add_argument("--others", type=log_of, nargs="*", default=[*map(log_of, OTHERS)], metavar="LOG",
                        help="logs of other proportions, also fitted")  # fmt: skip
    parser.add_argument("--held-out", type=log_of, default=log_of(HELD_OUT), metavar="LOG")
    parser.add_argument("--repeats", type=int, default=1, help="builds of each log; the medians are kept")
    parser.add_argument("--bandwidth", type=float, default=125e6, help="bytes/s of each worker (125e6)")
    arguments = parser.parse_args(argv)
    similar = records_of(arguments.logs, arguments.repeats, arguments.work)
    others = records_of(arguments.others, arguments.repeats, arguments.work)
    (held_out,) = records_of([arguments.held_out], arguments.repeats, arguments.work)
    similar, others = [list(map(with_buckets, records)) for records in (similar, others)]
    held_out = with_buckets(held_out)
    print_measured([*similar, *others, held_out])
    print_shuffles(held_out)
    print_growth([*similar, *others, held_out])
    print(f"\nCondition of the terms: {condition(similar):,.0f} with logs of one kind, "
          f"{condition([*similar, *others]):,.0f} with the others")  # fmt: skip
    print_models([*others, *similar], held_out)
    print_clusters([*others, *similar], arguments.bandwidth)


if __name__ == "__main__":
    main()

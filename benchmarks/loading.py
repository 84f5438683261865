"""Measure the loading of training images: a step's waiting time, and our speed against a plain torchvision loop.

    python -m benchmarks.loading --shards data/sets/toy/ingested/images --resize 256 --size 224
    python -m benchmarks.loading --shards data/sets/toy/ingested/images --resize 256 --size 224 \\
        --step-ms 300 --workers 2

Without ``--step-ms`` it measures images per second of one core; the two loops take turns in this process. Ours is
`ImageLoader`, as a loader's process runs it: decode, resize, crop, mirror, stack, without click features. The plain
loop uses torchvision in the usual way: ``Image.open``, ``convert``, ``Resize``, ``RandomCrop``,
``RandomHorizontalFlip``, ``PILToTensor``, stack. The goal is at least 0.9 of its speed.

With ``--step-ms`` it loads batches through the training's own loader, while a step of that length sleeps, and measures
the share of time that the training waits for the next batch. The goal is at most 2 %.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import torch
from PIL import Image

from model.data.batches import Draw, training_batches
from model.data.images import ImageStore
from systems.mtmdd.batches import ImageLoader
from systems.mtmdd.config import DOMAINS
from systems.mtmdd.examples import Examples

WARM_UP = 3  # batches that are not counted, because the loader's processes are starting


def read_examples(shards: Path, resize: int, most: int) -> tuple[Examples, list[bytes]]:
    """Return the first `most` images of each domain, as examples and as encoded bytes."""
    columns = ["image_id", "domain", "category", "image"]
    tables = [pq.read_table(file, columns=columns) for file in sorted(shards.glob("*.parquet"))]
    rows = pl.concat([pl.DataFrame({name: table[name].to_pylist() for name in columns[:3]}) for table in tables])
    encoded = [image["bytes"] for table in tables for image in table["image"].to_pylist()]
    rows = rows.with_row_index("index").filter(pl.int_range(pl.len()).over("domain") < most).sort("domain", "image_id")
    categories = {domain: sorted(rows.filter(domain=domain)["category"].unique()) for domain in DOMAINS}
    kept = [encoded[index] for index in rows["index"]]
    rows = rows.drop("index").with_columns(split=pl.lit("train"))
    images = ImageStore(shards, rows, resize, cache=False)
    return Examples(rows, categories, images, None, dict.fromkeys(DOMAINS, most), "benchmark"), kept


def ours(examples: Examples, size: int, batch_size: int) -> Callable[[], None]:
    loader = ImageLoader(examples, size, 0, with_clicks=False)
    rows = {domain: examples.row_numbers(domain, "train").tolist() for domain in DOMAINS}

    def load() -> None:
        for domain, of_domain in rows.items():
            for start in range(0, len(of_domain), batch_size):
                loader(domain, [Draw(row, 0) for row in of_domain[start : start + batch_size]])

    return load


def plain(encoded: Sequence[bytes], resize: int, size: int, batch_size: int) -> Callable[[], None]:
    from torchvision import transforms

    augment = transforms.Compose(
        [
            transforms.Resize(resize),
            transforms.RandomCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.PILToTensor(),
        ]
    )

    def load() -> None:
        for start in range(0, len(encoded), batch_size):
            torch.stack(
                [augment(Image.open(io.BytesIO(one)).convert("RGB")) for one in encoded[start : start + batch_size]]
            )

    return load


def compare(examples: Examples, encoded: Sequence[bytes], arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    loops = {
        "ours": ours(examples, arguments.size, arguments.batch_size),
        "plain": plain(encoded, arguments.resize, arguments.size, arguments.batch_size),
    }
    cpu: dict[str, list[float]] = {name: [] for name in loops}
    for repeat in range(-1, arguments.repeats):
        for name in loops if repeat % 2 else reversed(loops):
            started = time.process_time()
            loops[name]()
            if repeat >= 0:
                cpu[name].append(time.process_time() - started)
    rates = {name: len(encoded) / statistics.median(seconds) for name, seconds in cpu.items()}
    pairs = sorted(other / one for one, other in zip(cpu["ours"], cpu["plain"], strict=True))
    print("| images | ours, images per CPU second | plain | ours / plain | pairs |")
    print("|---|---|---|---|---|")
    print(
        f"| {len(encoded):,} | {rates['ours']:,.0f} | {rates['plain']:,.0f} | **{rates['ours'] / rates['plain']:.2f}**"
        f" | {pairs[0]:.2f} to {pairs[-1]:.2f} |"
    )


def wait(examples: Examples, arguments: argparse.Namespace) -> None:
    loader = ImageLoader(examples, arguments.size, 0, with_clicks=False)
    rows = {domain: examples.row_numbers(domain, "train") for domain in DOMAINS}
    steps = range(arguments.steps + WARM_UP)
    batches = training_batches(loader, rows, arguments.batch_size, steps, 0, "benchmark", arguments.workers)
    waited = 0.0
    for step in steps:
        started = time.perf_counter()
        next(batches)
        if step >= WARM_UP:
            waited += time.perf_counter() - started
        time.sleep(arguments.step_ms / 1e3)
    whole = waited + arguments.steps * arguments.step_ms / 1e3
    print("| images in a step | step, ms | workers | waiting, ms a step | share |")
    print("|---|---|---|---|---|")
    print(
        f"| {2 * arguments.batch_size} | {arguments.step_ms:g} | {arguments.workers} "
        f"| {1e3 * waited / arguments.steps:.2f} | **{100 * waited / whole:.2f} %** |"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True, help="folder of ingested images")
    parser.add_argument("--resize", type=int, default=256, help="shorter side of images, pixels (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="side of the crops, pixels (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="images of each domain (default: %(default)s)")
    parser.add_argument("--most", type=int, default=300, help="images read of each domain (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="passes of each loop (default: %(default)s)")
    parser.add_argument("--step-ms", type=float, help="length of a training step; measures the waiting time")
    parser.add_argument("--steps", type=int, default=60, help="steps to measure (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that load (default: %(default)s)")
    arguments = parser.parse_args(argv)
    examples, encoded = read_examples(arguments.shards, arguments.resize, arguments.most)
    if arguments.step_ms is None:
        compare(examples, encoded, arguments)
    else:
        wait(examples, arguments)


if __name__ == "__main__":
    main()

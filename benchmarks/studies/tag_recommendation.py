"""Time and memory of the jobs on a large tag log, beside DuckDB, and of the histories when they are loaded.

    python -m benchmarks.studies.tag_recommendation --work .state/tags-100k --images 100000 --users 12500
    python -m benchmarks.studies.tag_recommendation --work .state/tags-2m --images 2000000 --users 250000

The benchmark draws a log in the sizes of YFCC100M (a user's tags are mostly from a few of their own; users and tags by
Zipf's law), runs `pipelines.tags.tag_log`, `pipelines.tags.split` with one seed, and `benchmarks/peers/duckdb_tags.py`,
each as a process of its own, and prints wall seconds, CPU seconds and peak memory. The goal is 0.7 of DuckDB's time.
Then it prints the memory of the loaded histories beside that of a dense matrix, and how fast batches are loaded, of
frozen features and of pictures (a JPEG of 256 pixels is decoded for each): as the system does it, the same without
histories, and by a bare loop over the same arrays. The goal is 0.9. `--only jobs` or `--only loading` does one half.
The drawn log stays in the work folder; delete it afterwards.
"""

import argparse
import dataclasses
import io
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.console import progress  # noqa: E402
from base.params import read_params  # noqa: E402
from benchmarks.studies.pairs_100k import measure  # noqa: E402

if TYPE_CHECKING:
    from systems.tagging.posts import Posts

TAGS = 1540
OWN_TAGS = 12  # tags that are a user's own habit
HABIT = 0.7  # share of a post's tags that are of the habit
FEATURES = 64
BATCH, BATCHES, REPEATS = 50, 40, 5  # the paper's batch
FEATURE_BATCHES = 2000
CHUNK = 100_000  # images that are drawn at once


def draw_log(path: Path, num_images: int, num_users: int) -> None:
    """Write a log of one post for each image, with 2.2 tags on average, unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    random = np.random.default_rng(0)
    places = np.arange(1, 2 * TAGS + 1)  # half of them will not be in the vocabulary
    popular = np.cumsum(1 / places) / (1 / places).sum()
    active = np.cumsum(np.arange(1, num_users + 1) ** -0.8)
    with unfinished.open("wb") as file:
        file.write(b"user_id\timage_id\ttag\ttime\n")
        for start in progress(range(0, num_images, CHUNK), "log", "parts"):
            images = np.arange(start, min(start + CHUNK, num_images))
            images = np.repeat(images, 1 + random.poisson(1.2, len(images)))
            of_image = np.searchsorted(active / active[-1], random.random(len(np.unique(images))))
            users = of_image[images - start]
            habits = (users * 7919 + random.integers(0, OWN_TAGS, len(users)) ** 2 * 104_729) % (2 * TAGS)
            tags = np.where(
                random.random(len(users)) < HABIT, habits, np.searchsorted(popular, random.random(len(users)))
            )
            rows = pl.DataFrame({"user": users, "image": images, "tag": tags, "time": 10**9 + images})
            texts = rows.select(
                pl.format("u{}", pl.col("user")), pl.format("i{}", pl.col("image")), pl.format("tag {}", "tag"), "time"
            )
            texts.write_csv(file, separator="\t", include_header=False)
    unfinished.rename(path)


def write_params(path: Path) -> None:
    """Write the project's parameters for the drawn log, with one seed."""
    content = read_params(ROOT / "params.yaml")
    content["seeds"] = [0]
    content["tags"] |= {"layout": "table", "columns": None, "separator": None, "top_tags": TAGS}
    content["tag_splits"] = {"by": "image", "shares": {"train": 0.7, "validation": 0.1, "test": 0.2}}
    path.write_text(json.dumps(content), encoding="utf-8")


def run_jobs(log: Path, work: Path) -> None:
    """Run our jobs and DuckDB's script, and print a row for each."""
    stated = ["--params", str(work / "params.yaml")]
    tags, splits = work / "tags", work / "splits"
    commands = {
        "tag_log": ["-m", "pipelines.tags.tag_log", "--log", str(log), "--output", str(tags), *stated],
        "split": ["-m", "pipelines.tags.split", "--tags", str(tags), "--output", str(splits), *stated],
        "DuckDB, both": [str(ROOT / "benchmarks/peers/duckdb_tags.py"), str(log), str(work / "duckdb"), str(TAGS)],
    }
    print("| job | wall, s | CPU, s | peak memory, MB |\n|---|---|---|---|", flush=True)
    for name, command in commands.items():
        wall, cpu, memory = measure([sys.executable, *command])
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {memory:,.0f} |", flush=True)


def loading_seconds(posts: "Posts", kind: str, encoded: bytes | None, batches: int) -> float:
    """Return the CPU seconds of loading some batches of pictures, labels and, perhaps, histories less their own tags.

    Args:
        posts: the posts; their pictures are features.
        kind: as the system loads them (`ours`), the same `without histories`, or by a `bare loop` over the same arrays.
        encoded: a picture that is decoded for each post; None: features are taken.
        batches: how many.
    """
    from model.data.images import decode

    rows = posts.row_numbers("train")
    load = bare_batch if kind == "bare loop" else our_batch
    random, started = np.random.default_rng(1), time.process_time()
    for _ in range(batches):
        chosen = random.choice(rows, BATCH)
        if encoded is None:
            assert isinstance(posts.pictures, np.ndarray)
            _ = posts.pictures[posts.image_rows[chosen]]
        else:
            _ = np.stack([decode(encoded, 224) for _ in chosen])
        load(posts, chosen, kind != "without histories")
    return time.process_time() - started


def our_batch(posts: "Posts", rows: np.ndarray, has_history: bool) -> list[np.ndarray]:
    """Return labels and, perhaps, histories, as the training loads them."""
    labels = posts.labels(rows, np.float32)
    return [labels, posts.relative_history(rows, "leave-one-out")] if has_history else [labels]


def bare_batch(posts: "Posts", rows: np.ndarray, has_history: bool) -> list[np.ndarray]:
    """Return the same by a loop over the posts, from the same arrays: what one would write without this project."""
    (offsets, tags), counts = posts.tag_lists, posts.histories.counts
    labels, histories = (np.zeros((len(rows), counts.shape[1]), np.float32) for _ in range(2))
    for number, row in enumerate(rows):
        own = tags[offsets[row] : offsets[row + 1]]
        labels[number, own] = 1
        user = posts.users[row]
        if has_history and user >= 0:
            entries = slice(counts.indptr[user], counts.indptr[user + 1])
            histories[number, counts.indices[entries]] = counts.data[entries]
            histories[number, own] -= 1  # all of the benchmark's rows train
            histories[number] /= max(1, histories[number].max())
    return [labels, histories]


def print_loading(posts: "Posts") -> None:
    """Print the memory of the histories, and the speed of loading with and without them."""
    counts = posts.histories.counts
    sparse = sum(part.nbytes for part in (counts.data, counts.indices, counts.indptr))
    users, tags = counts.shape
    print(f"\nhistories of {users:,} users: {sparse / 1e6:,.1f} MB; dense, float32: {4 * users * tags / 1e6:,.1f} MB")
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((256, 256), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    rows = posts.row_numbers("train")[:1000]
    for ours, bare in zip(our_batch(posts, rows, True), bare_batch(posts, rows, True), strict=True):
        assert np.array_equal(ours, bare)
    for name, encoded in {"features": None, "pictures": file.getvalue()}.items():
        kinds = ("ours", "without histories", "bare loop")
        batches = BATCHES if encoded is not None else FEATURE_BATCHES
        found = [[loading_seconds(posts, kind, encoded, batches) for kind in kinds] for _ in range(REPEATS)]  # in turns
        speeds = [BATCH * batches / seconds for seconds in np.median(found, axis=0)]
        shown = [f"{kind} {speed:,.0f}" for kind, speed in zip(kinds, speeds, strict=True)]
        print(f"{name}, posts/s of one core: {', '.join(shown)}")
        for number, kind in enumerate(kinds[1:], start=1):
            ratio = statistics.median(seconds[number] / seconds[0] for seconds in found)
            print(f"  ours / {kind}: {ratio:.2f}")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the log and print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the log and artifacts")
    parser.add_argument("--images", type=int, default=2_000_000, help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=250_000, help="(default: %(default)s)")
    parser.add_argument("--only", choices=["jobs", "loading"], help="loading reads what the jobs wrote (default: both)")
    arguments = parser.parse_args(argv)
    work = arguments.work.resolve()
    log = work / f"log-{arguments.images}-{arguments.users}.tsv"
    # A process that is started counts this one's memory as its own, so this one stays small until the jobs have run:
    # another draws the log, and torch is imported later.
    drawing = multiprocessing.get_context("spawn").Process(
        target=draw_log, args=(log, arguments.images, arguments.users)
    )
    drawing.start()
    drawing.join()
    write_params(work / "params.yaml")
    print(f"{arguments.images:,} images, {arguments.users:,} users, {log.stat().st_size / 1e6:,.0f} MB\n")
    if arguments.only != "loading":
        run_jobs(log, work)
    if arguments.only == "jobs":
        return
    from systems.tagging.posts import Posts, Sources

    posts = Posts.read(Sources(work / "tags", work / "splits", 0, None), ["train"], None, cache=False)
    pictures = np.random.default_rng(0).random((len(posts.pictures), FEATURES), np.float32)
    print_loading(dataclasses.replace(posts, pictures=pictures))


if __name__ == "__main__":
    main()

"""Measure what each training process holds: `python -m benchmarks.studies.rank_memory --work /tmp/rank-memory`.

Makes a data set of `--images` tiny JPEGs (a few hundred distinct ones) with click features as sparse as real ones, and
trains MTMDD-VM for a few steps in `--processes` processes of `accelerate launch`. A table shows, for each process, what
every part of the data adds to its memory, and the peak of the whole:

- RSS: resident pages, also those of mapped files, which the kernel may drop;
- USS: pages that no other process has; PSS: these and its share of the others;
- own: pages that are in no file (anonymous and dirty), so they stay until the process frees them.

`--groups` is `train.groups` (docs/scaling.md). The folder is made, and removed afterwards unless `--keep` is given.
"""

import argparse
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

from base import schemas  # noqa: E402
from base.artifacts import shard_name, write_table  # noqa: E402
from pipelines.ingest.image_shards import CODECS, ROW_GROUP_IMAGES  # noqa: E402

PICTURES, SIDE = 300, 24  # distinct JPEGs, pixels
SHARDS, WORDS, WORDS_PER_IMAGE, CATEGORIES = 16, 1000, 8, 100
TARGET_SHARE, VALIDATION_SHARE = 0.05, 0.05
KINDS = {"Rss:": "RSS", "Pss:": "PSS", "Private_Clean:": "USS", "Private_Dirty:": "USS", "Anonymous:": "own"}
BATCH = 64


def jpegs() -> list[bytes]:
    """Return the distinct pictures: noise over a colour."""
    draw, made = np.random.default_rng(0), []
    for _ in range(PICTURES):
        pixels = draw.integers(0, 256, 3) + draw.integers(-40, 40, (SIDE, SIDE, 3))
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=60)
        made.append(file.getvalue())
    return made


def make_data(folder: Path, num_images: int) -> float:
    """Write images, click features and a split as the stages do; return the mean size of an image, bytes."""
    draw, pictures = np.random.default_rng(1), jpegs()
    ids = pa.array([f"image-{number:010d}" for number in range(num_images)])
    chosen = draw.integers(0, PICTURES, num_images)
    is_target = draw.random(num_images) < TARGET_SHARE
    domain = pa.array(np.where(is_target, "target", "source"))
    category = pa.array([f"category {number:03d}" for number in range(CATEGORIES)]).take(
        pa.array(draw.integers(0, CATEGORIES, num_images))
    )
    side = pa.array(np.full(num_images, SIDE, np.int32))
    encoded = pa.array(pictures, pa.binary())
    vocabulary = pa.table(
        {
            "word_id": range(WORDS), "word": [f"word {number}" for number in range(WORDS)],
            "clicks": [1] * WORDS, "document_frequency": [1] * WORDS, "idf": [1.0] * WORDS,
        }, schemas.VOCABULARY,
    )  # fmt: skip
    write_table(vocabulary, folder / "features/vocabulary.parquet")
    split = pa.array(np.where(draw.random(num_images) < VALIDATION_SHARE, "validation", "train"))
    write_table(
        pa.table({"image_id": ids, "domain": domain, "category": category, "split": split}), folder / "split.parquet"
    )
    for shard in range(SHARDS):
        rows = pa.array(np.arange(shard, num_images, SHARDS))
        bytes_of = encoded.take(pa.array(chosen[shard::SHARDS]))
        columns = [ids.take(rows), domain.take(rows), category.take(rows), side.take(rows), side.take(rows)]
        image = pa.StructArray.from_arrays(
            [bytes_of, pa.nulls(len(rows), pa.string())], fields=list(schemas.IMAGES.field("image").type)
        )
        write_shard(pa.table([*columns, image], schema=schemas.IMAGES), folder / "images" / shard_name(shard))
        number = np.full(len(rows), WORDS_PER_IMAGE)
        starts = pa.array(np.r_[0, np.cumsum(number)].astype(np.int32))
        words = (draw.integers(0, WORDS // WORDS_PER_IMAGE, (len(rows), WORDS_PER_IMAGE))) + np.arange(
            0, WORDS, WORDS // WORDS_PER_IMAGE
        )[:WORDS_PER_IMAGE]
        values = draw.random(words.size)
        lists = [
            pa.ListArray.from_arrays(starts, pa.array(flat, kind))
            for flat, kind in ((words.ravel(), pa.int32()), (words.ravel() + 1, pa.int64()), (values, pa.float32()))
        ]
        features = pa.table([ids.take(rows), *lists], schema=schemas.CLICK_FEATURES)
        write_table(features, folder / "features/click_features" / shard_name(shard))
    return float(np.mean([len(pictures[number]) for number in chosen]))


def write_shard(images: pa.Table, path: Path) -> None:
    """Write a shard as `ingest` does: the bytes of images are not compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, images.schema, compression=CODECS, use_dictionary=["domain", "category"]) as writer:
        writer.write_table(images, row_group_size=ROW_GROUP_IMAGES)


def memory() -> dict[str, float]:
    """Return this process's memory by kind, MB of 2^20 bytes."""
    found = dict.fromkeys(("RSS", "PSS", "USS", "own"), 0.0)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, number, *_ = line.split()
        if name in KINDS:
            found[KINDS[name]] += int(number) / 1024
    return found


def rank(folder: Path, steps: int, groups: int | None, cache: bool) -> None:
    """Train some steps in this process, and write its memory after each part to a file."""
    parts: dict[str, dict[str, float]] = {}
    import torch

    from model.training.ranks import training_processes
    from model.training.trainer import train
    from systems.mtmdd.config import EmbeddingParams, NetworkParams, ObjectiveParams, Recipe, TrainParams
    from systems.mtmdd.examples import ClickFeatures, Examples, read_rows
    from systems.mtmdd.recipes import build_recipe
    from systems.mtmdd.task import PhaseTask, training_run

    torch.set_num_threads(1)
    process = training_processes().process_index
    embedding = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=6, hidden=7, dropout=0.0)
    network = NetworkParams(
        backbone="plain", weights="none", image_size=16, resize=18, dropout=0.0, embedding=embedding
    )  # fmt: skip
    objective = ObjectiveParams.model_validate(
        {"lambda": 0.4, "tau": 0.1, "bandwidth": 0.01, "threshold": 0.16, "mu_separate_heads": 0.1,
         "mu_shared_head": 0.9}
    )  # fmt: skip
    params = TrainParams.model_validate(
        {
            "epochs": 1, "batch_size": BATCH, "accumulation": 1, "learning_rate": 0.01, "embedding_multiplier": 1.0,
            "recogniser_multiplier": 1.0, "momentum": 0.9, "weight_decay": 0.0, "mixed_precision": "no",
            "schedule": {"kind": "constant", "warm_up": 0.0}, "compile": False, "channels_last": False, "workers": 0,
            "threads": 1, "cache_images": cache, **({"groups": groups} if groups else {}),
        }
    )  # fmt: skip
    recipe: Recipe = build_recipe("MTMDD-VM", network, objective, params)
    parts["Python and libraries"] = memory()

    def measured(owner: type, name: str, part: str) -> None:
        """Let a method record the memory after its call."""
        method = getattr(owner, name)
        bound = method.__func__ if hasattr(method, "__func__") else method

        def wrapped(*arguments: object, **named: object) -> object:
            result = bound(*arguments, **named)
            parts[part] = memory()
            return result

        setattr(owner, name, classmethod(wrapped) if hasattr(method, "__func__") else wrapped)

    measured(ClickFeatures, "read", "click features")
    step_of, taken, started = PhaseTask.step, [0], [0.0]

    def step(task: PhaseTask, learner: object) -> object:
        if not taken[0]:
            parts["images, network, first batches"] = memory()
            started[0] = time.process_time()
        taken[0] += 1
        if taken[0] > steps:
            parts[f"after {steps} steps"] = memory()
            found = {
                "parts": parts,
                "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "CPU ms per step": 1000 * (time.process_time() - started[0]) / steps,
            }
            (folder / f"rank-{process}.json").write_text(json.dumps(found))
            training_processes().wait_for_everyone()
            os._exit(0)
        return step_of(task, learner)  # type: ignore[arg-type]

    PhaseTask.step = step  # type: ignore[method-assign,assignment]
    rows = read_rows(folder / "split.parquet", recipe, 0)
    parts["table of rows"] = memory()
    examples = Examples.read(folder / "images", rows, folder / "features", network, cache, read=False)
    del rows
    parts["index of images, or all images"] = memory()
    run = training_run(recipe, examples, 0, "rank-memory")
    parts["labels and samplers"] = memory()
    train(run, folder / "model")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder to make, with room for the data")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--groups", type=int, help="train.groups; none: every process reads all images")
    parser.add_argument("--cache", action="store_true", help="keep the images decoded (train.cache_images)")
    parser.add_argument("--keep", action="store_true", help="keep the data for another run")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        rank(arguments.work, arguments.steps, arguments.groups, arguments.cache)
        return
    work = arguments.work
    if not (work / "images").is_dir():
        size = make_data(work, arguments.images)
        sys.stdout.write(f"{arguments.images:,} images of {size:.0f} bytes\n")
    for number in arguments.processes:
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_machines=1", "--mixed_precision=no",
                  "--dynamo_backend=no", "--main_process_port=0", f"--num_processes={number}",
                  *(["--multi_gpu"] if number > 1 else ["--cpu"])]  # fmt: skip
        options = ["--work", str(work), "--steps", str(arguments.steps), "--rank"]
        options += ["--groups", str(arguments.groups)] if arguments.groups else []
        options += ["--cache"] if arguments.cache else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CLICKSIGHT_NO_STATE": "1", "PYTHONPATH": str(ROOT)}
        command = [*launch, "-m", "benchmarks.studies.rank_memory", *options]
        ended = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode:
            sys.exit(ended.stderr[-3000:])
        for process in range(number):
            report(number, process, json.loads((work / f"rank-{process}.json").read_text()))
    if not arguments.keep:
        shutil.rmtree(work)


def report(number: int, process: int, found: dict) -> None:
    """Print the memory of one process by part."""
    frame = pl.DataFrame([{"part": part, **kinds} for part, kinds in found["parts"].items()])
    sys.stdout.write(f"\nprocess {process} of {number}: peak RSS {found['peak']:.0f} MB, "
                     f"{found['CPU ms per step']:.1f} ms of CPU per step\n")  # fmt: skip
    before = 0.0
    for row in frame.iter_rows(named=True):
        sys.stdout.write(
            f"| {row['part']} | {row['RSS']:.0f} | {row['PSS']:.0f} | {row['USS']:.0f} | {row['own']:.0f} | "
            f"{row['own'] - before:+.0f} |\n"
        )
        before = row["own"]


if __name__ == "__main__":
    main()

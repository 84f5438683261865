"""Time and memory of preparing many image-text pairs: ingest, split, words, word vectors, and features of both media.

    python -m benchmarks.studies.pairs_100k --work .state/pairs-100k
    python -m benchmarks.studies.pairs_100k --work .state/pairs-1k --pairs 1000

The benchmark generates pairs (JPEGs of coloured blocks, texts of a few words of a Zipf distribution, twenty categories
of which a text has some words of its own), writes them as Parquet, and runs each command of stages/dckt/dvc.yaml as a
process of its own. It prints a Markdown table of wall seconds, CPU seconds and peak memory. The generated pairs stay in
the work folder; delete it afterwards.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.console import progress  # noqa: E402
from base.params import read_params  # noqa: E402

CATEGORIES = 20
WORDS = 20_000
OWN_WORDS = 40  # of each category
SIDE = 96  # pixels
BLOCKS = 12  # of a side; 8 x 8 greys would give some pictures nearly equal perceptual hashes
GROUP = 1000  # rows of a row group
SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("category", pa.string()), ("image", pa.binary())])


def make_pair(number: int) -> dict[str, Any]:
    """Return one pair; it depends on its number alone."""
    random = np.random.default_rng(number)
    category = int(random.integers(CATEGORIES))
    blocks = random.integers(0, 256, (BLOCKS, BLOCKS, 3), np.uint8)
    blocks[:3, :3] = (12 * category, 255 - 12 * category, 90)
    encoded = io.BytesIO()
    Image.fromarray(blocks).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(encoded, "JPEG", quality=85)
    common = np.minimum(random.zipf(1.3, int(random.integers(4, 16))), WORDS)
    own = random.integers(0, OWN_WORDS, int(random.integers(1, 4)))
    words = [f"w{word}" for word in common] + [f"c{category}x{word}" for word in own]
    return {
        "id": f"p{number:08d}",
        "text": " ".join(random.permutation(words)),
        "category": f"category {category}",
        "image": encoded.getvalue(),
    }


def write_pairs(path: Path, number: int) -> None:
    """Write the generated pairs as one Parquet file, unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with pq.ParquetWriter(unfinished, SCHEMA) as writer:
        for start in progress(range(0, number, GROUP), "pairs", "thousands"):
            rows = [make_pair(n) for n in range(start, min(start + GROUP, number))]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    unfinished.rename(path)


def write_params(path: Path, pairs: Path) -> None:
    """Write the project's parameters with the generated pairs as the source, one seed."""
    content = read_params(ROOT / "params.yaml")
    content["seeds"] = [0]
    for domain in content["dckt"]["data"]["domains"].values():
        domain.update({"pairs": str(pairs), "layout": "table"})
    content["dckt"]["data"]["ingest"]["shards"] = 16
    path.write_text(json.dumps(content), encoding="utf-8")


def commands(home: Path, params: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each step's name and command, in order."""
    ingested, splits, words = home / "ingested", home / "splits", home / "words"
    domain, stated = ["--domain", "source"], ["--params", str(params)]
    images = ["--images", str(splits / "images.parquet")]
    log = ["--clicks", str(ingested / "texts"), "--queries", str(words / "queries")]
    known = ["--vocabulary", str(words / "vocabulary.parquet")]
    matrix = words / "click_matrix"

    def step(name: str, module: str, arguments: Sequence[str], output: Path) -> tuple[str, list[str]]:
        return name, [sys.executable, "-m", module, *arguments, "--output", str(output)]

    yield step("ingest", "systems.dckt.ingest", [*domain, *stated], ingested)
    yield step("split", "systems.dckt.split", [*domain, "--ingested", str(ingested), *stated], splits)
    yield step("segment", "pipelines.words.segment", [*log[:2], *stated], words / "queries")
    of_split = ["--split", str(splits / "images.parquet")]
    yield step(
        "vocabulary", "pipelines.words.vocabulary", [*log, *images, *of_split, *stated], words / "vocabulary.parquet"
    )
    yield step("click matrix", "pipelines.words.click_matrix", [*log, *known, *images], matrix)
    yield step(
        "TF-IDF", "pipelines.words.click_features", ["--click-matrix", str(matrix), *known], words / "click_features"
    )
    yield step("word vectors", "systems.dckt.vectors", [*domain, *log[2:], *stated], home / "word_vectors.parquet")
    yield step(
        "image features",
        "systems.dckt.embed",
        [*domain, "--pairs", str(ingested / "pairs"), *stated],
        home / "embedded",
    )
    yield step("text features", "systems.dckt.text_features", ["--domain", str(home), *stated], home / "text_features")


def measure(command: Sequence[str]) -> tuple[float, float, float]:
    """Run a command; return its wall seconds, CPU seconds, and peak memory in MB, of its largest process.

    Raises:
        SystemExit: it failed; its output is printed before.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{printed}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Generate the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for pairs and artifacts")
    parser.add_argument("--pairs", type=int, default=100_000, help="number of pairs (default: %(default)s)")
    arguments = parser.parse_args(argv)
    work = arguments.work.resolve()
    table = work / f"pairs-{arguments.pairs}.parquet"
    write_pairs(table, arguments.pairs)
    write_params(work / "params.yaml", table)
    print(f"{arguments.pairs:,} pairs, {table.stat().st_size / 1e6:,.0f} MB\n")
    print("| step | wall, s | CPU, s | peak memory, MB |\n|---|---|---|---|", flush=True)
    for name, command in commands(work / "source", work / "params.yaml"):
        wall, cpu, memory = measure(command)
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    main()

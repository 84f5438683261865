"""Measure the tag jobs and the memory of the loaded tags on a drawn log.

    python -m benchmarks.studies.tag_features --images 200000 --tags 1000 --each 5

Prints the CPU seconds of reading and bucketing the log, of the words, the vocabulary and the matrix, and the bytes of
the loaded tags (`systems.annotation.data`), beside those of a dense matrix. Tags are drawn by Zipf's law.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import numpy as np
import polars as pl

from base.artifacts import write_table
from pipelines.annotations.ingest import write_words
from pipelines.beam import runner
from pipelines.beam.shuffle import packing
from pipelines.ingest.click_log import ReadClickLog, WriteClicks, find_logs
from pipelines.ingest.log_format import LogParams, format_of
from pipelines.words import click_matrix, vocabulary
from systems.annotation.data import binary_tags

SHARDS = 4
PARAMS = "vocabulary: {top_words: TAGS, fit_on: all}\n"


def draw_log(path: Path, names: list[str], num_tags: int, each: int) -> None:
    """Write a log of tags: `each` for every image, twice as many different ones as are wanted."""
    random = np.random.default_rng(0)
    ranks = np.arange(1, 2 * num_tags + 1)
    drawn = random.choice(len(ranks), (len(names), each), p=(1 / ranks) / (1 / ranks).sum())
    rows = pl.DataFrame({"image_id": np.repeat(names, each), "tag": [f"tag {tag}" for tag in drawn.ravel()]})
    rows.write_csv(path, separator="\t")


def read_log(log: Path, folder: Path) -> None:
    """Read, check and bucket the log, as the ingest does it."""
    form = format_of(LogParams(columns="image_id=image_id,query=tag"), as_options=False)
    with packing((), folder) as packer, runner.pipeline() as pipeline:
        read = pipeline | "TagLog" >> ReadClickLog(find_logs([log]), form)
        read.clicks | "Tags" >> WriteClicks(folder / "tags", SHARDS, packer)
        for name in ("quarantine", "counts"):
            getattr(read, name) | name >> beam.Map(lambda row: row)


def timed(label: str, job: Callable[[], object]) -> None:
    """Run a job and print its CPU seconds."""
    started = time.process_time()
    job()
    print(f"{label}: {time.process_time() - started:.1f} s of CPU")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--tags", type=int, default=1_000, help="tags that become features")
    parser.add_argument("--each", type=int, default=5, help="tags of an image")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("tags", "tag_words"):
            (folder / part).mkdir()
        names = [f"i{number:07}" for number in range(arguments.images)]
        draw_log(folder / "log.tsv", names, arguments.tags, arguments.each)
        images = pl.DataFrame({"image_id": names}).with_columns(domain=pl.lit("source"))
        write_table(images.to_arrow(), folder / "images.parquet")
        (folder / "params.yaml").write_text(PARAMS.replace("TAGS", str(arguments.tags)))
        log = [f"--clicks={folder}/tags", f"--queries={folder}/tag_words", f"--images={folder}/images.parquet"]
        split = [f"--split={folder}/images.parquet", f"--params={folder}/params.yaml"]
        timed("log", lambda: read_log(folder / "log.tsv", folder))
        timed("words", lambda: write_words(folder, ()))
        timed("vocabulary", lambda: vocabulary.main([*log, *split, f"--output={folder}/words.parquet"]))
        matrix = [*log, f"--vocabulary={folder}/words.parquet", f"--output={folder}/matrix"]
        timed("matrix", lambda: click_matrix.main(matrix))
        started = time.process_time()
        found = binary_tags(folder / "matrix", names, arguments.tags)
        size = sum(part.nbytes for part in (found.data, found.indices, found.indptr))
        print(f"loaded: {time.process_time() - started:.1f} s of CPU, {found.nnz:,} tags in {size / 1e6:.1f} MB")
        print(f"dense: {4 * arguments.images * arguments.tags / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""Measure the memory that one shard of images takes while its rows are added up, as a multiple of the rows' bytes.

    python -m benchmarks.scale.image_shard --rows 2_000_000

The rows are those of C' that a shard receives from many buckets: `--rows-per-image` for each image, with a few clicked
words in each (`--words`, the mean). They are packed in files, as between workers of one machine, and the step is what a
build runs: unpack, merge, add up, pack (pipelines/words/click_matrix.py).
"""

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from base.schemas import CLICK_MATRIX
from pipelines.beam.shuffle import Packer, finish_shard
from pipelines.words.click_matrix import pack_sum

BATCHES = 20
TOP_WORDS = 1000


def rows_of(generator: np.random.Generator, rows: int, images: int, words: float) -> pa.RecordBatch:
    """Return some rows of C'; the number of words of a row is Poisson, its words are drawn evenly."""
    lengths = generator.poisson(words, rows)
    starts = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    ids = pa.array([f"img{number:010d}" for number in generator.integers(0, images, rows)])
    word_ids = np.sort(generator.integers(0, TOP_WORDS, starts[-1])).astype(np.int32)
    lists = [pa.ListArray.from_arrays(starts, pa.array(flat)) for flat in (word_ids, np.ones(starts[-1], np.int64))]
    return pa.record_batch([ids, *lists], schema=CLICK_MATRIX)


def peak_bytes() -> int:
    """Return the peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(text.replace("_", "")), default=2_000_000)
    parser.add_argument("--rows-per-image", type=float, default=5.3)
    parser.add_argument("--words", type=float, default=2.0, help="vocabulary words in a row")
    arguments = parser.parse_args()
    generator, each = np.random.default_rng(0), arguments.rows // BATCHES
    with tempfile.TemporaryDirectory() as folder:
        packer, packed, num_bytes = Packer(Path(folder)), [], 0
        for _ in range(BATCHES):
            batch = rows_of(generator, each, int(arguments.rows / arguments.rows_per_image), arguments.words)
            packed += packer.pack([batch])
            num_bytes += batch.nbytes
        before = peak_bytes()
        finish_shard((0, packed), CLICK_MATRIX, lambda *shard: pack_sum(*shard, packer=packer, old_rows=None))
        grown = peak_bytes() - before
    print(f"{BATCHES * each:,} rows of {num_bytes / (BATCHES * each):.0f} bytes: {num_bytes / 1e6:,.0f} MB; "
          f"peak memory grew by {grown / 1e6:,.0f} MB, {grown / num_bytes:.1f} times as much")  # fmt: skip


if __name__ == "__main__":
    main()

"""Time and memory of `systems.cleaning.posteriors` on made-up votes: `python -m benchmarks.denoising`.

Images have a true category; their clicks name it, or one of its neighbours, or any; a classifier's probabilities lie in
a memory-mapped float32 matrix, which is not counted as memory. The benchmark prints seconds, the memory beside the
matrix (peak of anonymous memory, Linux), and the share of right labels by majority vote and after denoising, with the
share that the model expects.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from systems.cleaning.posteriors import CHUNK, judge_all  # noqa: E402
from systems.cleaning.votes import Votes  # noqa: E402


def anonymous_mb() -> float:
    """Return this process's memory without mapped files, MB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def made_up(path: Path, num: int, c: int, named: int) -> tuple[Votes, np.ndarray, np.ndarray]:
    """Return votes, probabilities (a memory map at `path`) and the truth of `num` images with `named` votes each."""
    random = np.random.default_rng(0)
    truth = random.integers(0, c, num).astype(np.int32)
    matrix = np.memmap(path, np.float32, "w+", shape=(num, c))
    for start in range(0, num, CHUNK):
        rows = random.random((min(CHUNK, num - start), c), dtype=np.float32) ** 8
        rows[np.arange(len(rows)), truth[start : start + CHUNK]] += random.gamma(1.0, 30.0, len(rows))
        matrix[start : start + CHUNK] = rows / rows.sum(axis=1, keepdims=True)
    category = np.empty((num, named), np.int32)
    steps = random.integers(1, c // named, (num, named)).cumsum(axis=1)  # different categories in each row
    category[:] = (truth[:, None] + steps) % c
    is_named = random.random(num) < 0.8
    category[is_named, 0] = truth[is_named]
    clicks = 1 + random.poisson(0.5, (num, named)).astype(np.float64)
    clicks[:, 0] += random.poisson(1.0, num)
    starts = np.arange(num + 1, dtype=np.int64) * named
    order = np.argsort(category, axis=1)
    category, clicks = (np.take_along_axis(values, order, axis=1) for values in (category, clicks))
    return Votes(starts, category.ravel(), clicks.ravel()), matrix, truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--votes", type=int, default=10_000_000, help="pairs of an image and a category it is named")
    parser.add_argument("--named", type=int, default=10, help="such pairs per image")
    parser.add_argument("--categories", type=int, default=1000)
    parser.add_argument("--place", type=Path, help="folder for the matrix (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.place) as folder:
        num = arguments.votes // arguments.named
        votes, matrix, truth = made_up(Path(folder) / "p", num, arguments.categories, arguments.named)
        before, started = anonymous_mb(), time.perf_counter()
        cpu = time.process_time()
        judged, model = judge_all(votes, matrix)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        peak = anonymous_mb()
        label, right = judged.best()
        print(f"{len(votes.category):,} votes, {num:,} images, {arguments.categories:,} categories")
        print(f"{seconds:.1f} s, {cpu:.1f} s of CPU, {before:.0f} MB before, {peak:.0f} MB after")
        print(f"right: {(votes.majority() == truth).mean():.3f} by majority, {(label == truth).mean():.3f} denoised")
        print(f"expected: {right.mean():.3f}; temperature {model.temperature:.2f}, s {model.concentration:.2f}")


if __name__ == "__main__":
    main()

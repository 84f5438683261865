"""Build the features of one Zipf log and record what that cost.

A record is a flat mapping of names to numbers, and ``steps``, the counts of benchmarks/scale/counted_build.py:

- the log: ``rows``, ``images``, ``queries``, ``words``, ``log_bytes``;
- the command as a user runs it, medians of several runs: ``seconds``, ``cpu_seconds``, ``megabytes`` (the peak of all
  processes, benchmarks/costs.py), ``spill_bytes`` and ``disk_bytes`` (the peaks of shuffled data alone, and of all
  files but the log);
- what it wrote: ``feature_bytes`` (features and vocabulary) and ``history_bytes``.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.builds import ENVIRONMENT, ROOT, build_command, fingerprint
from benchmarks.costs import cost_of, warm

SAMPLES_PER_S = 5
SPILLED = 32  # hexadecimal digits in the name of a file of shuffled batches


class Log(NamedTuple):
    """The log to draw: rows, images, and the size of the pool of queries; of the latter not all occur."""

    rows: int
    images: int
    pool: int


class _DiskSampler(threading.Thread):
    """Samples the files of a folder until :meth:`stop`.

    Attributes:
        peak: the largest number of bytes so far.
        peak_spilled: that of shuffled batches alone.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.peak = self.peak_spilled = 0
        self._stop_requested = threading.Event()

    def run(self) -> None:
        while not self._stop_requested.wait(1 / SAMPLES_PER_S):
            total = spilled = 0
            for path in self.folder.rglob("*"):
                try:
                    size = 0 if path.is_dir() else path.stat().st_size
                except FileNotFoundError:
                    continue  # deleted or renamed meanwhile
                total += size
                spilled += size if len(path.name) == SPILLED else 0
            self.peak, self.peak_spilled = max(self.peak, total), max(self.peak_spilled, spilled)

    def stop(self) -> None:
        """Stop sampling."""
        self._stop_requested.set()
        self.join()


def size_of(*paths: Path) -> int:
    """Return the bytes of some files and of all files in some folders."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def measure(log: Log, repeats: int, work: Path) -> dict[str, Any]:
    """Draw a log, build its features `repeats` times and once more with counts; return the record.

    Args:
        log: what to draw.
        repeats: runs of the command as a user runs it.
        work: an existing folder with room for the log, the shuffled data and three builds.
    """
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        text, place = Path(scratch) / "log.tsv", Path(scratch) / "builds"
        place.mkdir()
        # in a process of its own, whose memory is free again when the first build starts
        draw = [f"--{name}={number}" for name, number in zip(("rows", "images", "queries"), log, strict=True)]
        subprocess.run([sys.executable, "-m", "benchmarks.zipf_log", *draw, f"--output={text}"], cwd=ROOT, check=True)
        warm(text)
        runs = []
        for _ in range(repeats):
            shutil.rmtree(place / "built", ignore_errors=True)  # or the disk would hold two builds
            sampler = _DiskSampler(place)
            sampler.start()
            cost = cost_of(build_command([text], place / "built"), ROOT, {**ENVIRONMENT, "TMPDIR": str(place)})
            sampler.stop()
            runs.append({**cost._asdict(), "spill_bytes": sampler.peak_spilled, "disk_bytes": sampler.peak})
        built, counts = place / "built", place / "counts.json"
        counted = [sys.executable, "-m", "benchmarks.scale.counted_build", str(text), str(place / "counted")]
        cost_of([*counted, str(counts)], ROOT, {**ENVIRONMENT, "POLARS_MAX_THREADS": "1"})
        if fingerprint(built) != fingerprint(place / "counted"):
            sys.exit("the counted build has other bytes")
        summary = json.loads((built / "summary.json").read_text())
        return {
            **{name: summary[name] for name in ("images", "queries", "words")},
            "rows": log.rows,
            "pool": log.pool,
            "drawn_images": log.images,
            "log_bytes": text.stat().st_size,
            **{name: statistics.median(run[name] for run in runs) for name in runs[0]},
            "feature_bytes": size_of(built / "click_features", built / "vocabulary.parquet"),
            "history_bytes": size_of(built / "history"),
            "steps": json.loads(counts.read_text()),
        }

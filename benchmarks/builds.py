"""Our command as the benchmarks run it, and what of its output must not change."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"CLICKSIGHT_NO_STATE": "1"}  # a benchmark's timings are no stage's


def build_command(logs: Sequence[Path], output: Path, *options: str) -> list[str]:
    """The command line that builds the click features of some logs; to be run in ROOT, with ENVIRONMENT."""
    build = [sys.executable, "-m", "pipelines.build_click_features"]
    return [*build, "--clicks", *map(str, logs), "--output", str(output), *options]


def fingerprint(folder: Path) -> dict[str, str]:
    """The hash of every file of an output by its name; of the summary everything but the seconds."""
    hashes = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if file.name == "summary.json":
            summary = json.loads(content)
            del summary["seconds"]
            content = json.dumps(summary).encode()
        hashes[file.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return hashes


def results_of(fingerprint: dict[str, str]) -> dict[str, str]:
    """Of a fingerprint, all but the history: that tells in how many steps a log was added."""
    return {name: value for name, value in fingerprint.items() if not name.startswith("history/")}

"""The command line of our builds, and fingerprints of their output."""

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {"CLICKSIGHT_NO_STATE": "1"}  # keeps a benchmark's timings out of the stages' timings


def build_command(logs: Sequence[Path], output: Path, *options: str) -> list[str]:
    """Return the command line that builds the click features of logs; run it in ROOT, with ENVIRONMENT."""
    build = [sys.executable, "-m", "pipelines.build_click_features"]
    return [*build, "--clicks", *map(str, logs), "--output", str(output), *options]


def fingerprint(folder: Path) -> dict[str, str]:
    """Return the hash of every file of an output by its name; the summary is hashed without its seconds."""
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
    """Return a fingerprint without the history, whose files depend on the steps in which a log was added."""
    return {name: value for name, value in fingerprint.items() if not name.startswith("history/")}

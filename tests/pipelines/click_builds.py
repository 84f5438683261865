"""Run the command that builds click features in tests, and hash the parts of its output that must not change."""

import hashlib
import json
from pathlib import Path

from pipelines.build_click_features import main

LOG = [
    ("b", "golden retriever puppy", 7),
    ("a", "golden dog", 3),
    ("a", "dog dog DOG!", 2),
    ("c", "可爱的金毛犬", 11),
    ("c", "golden 金毛犬", 1),
    ("b", "golden dog", 5),
    ("a", "golden dog", 3),
    ("d", "?!", 4),
    ("e", "ＧＯＬＤＥＮ gate-bridge", 13),
]


def write_log(rows: list[tuple[str, str, int]], path: Path) -> Path:
    """Write a log as text; return its path."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes("".join(f"{image}\t{query}\t{clicks}\n" for image, query, clicks in rows).encode())
    return path


def read_log(path: Path) -> list[tuple[str, str, int]]:
    """Read a log that has only good rows."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [(image, query, int(clicks)) for image, query, clicks in (line.split("\t") for line in lines if line)]


def build(log: Path | list[Path], output: Path, *options: str) -> Path:
    """Run the command in this process; return the output folder."""
    logs = [log] if isinstance(log, Path) else log
    main(["--clicks", *map(str, logs), "--output", str(output), *options])
    return output


def digest(folder: Path) -> dict[str, str]:
    """Hash every file; the summary without its seconds. The history is left out: it may depend on the order of rows."""
    digests = {}
    for file in sorted(folder.rglob("*")):
        if folder / "history" in file.parents:
            continue
        if file.name == "summary.json":
            summary = json.loads(file.read_text(encoding="utf-8"))
            summary.pop("seconds", None)
            digests["summary.json"] = json.dumps(summary)
        elif file.is_file():
            digests[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digests

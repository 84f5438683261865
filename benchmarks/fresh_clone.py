"""Be the newcomer, several times over: `python benchmarks/fresh_clone.py --clones 2`.

Clones the repository's HEAD into empty folders, types `make repro` in each, and prints as a Markdown table: seconds of
the set-up and of the reproduction, seconds of a second `dvc repro` (which must find everything up to date), what
`dvc status` says, and every artifact whose bytes differ between the clones. Exit code 1 when a check fails.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Newcomer:
    """What one newcomer saw."""

    folder: Path
    setup_s: float = 0.0
    repro_s: float = 0.0
    second_s: float = 0.0
    second_says: str = ""
    status: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)


def typed(command: str, folder: Path, log: Path) -> tuple[float, str]:
    """Run a command as typed in the folder; return its seconds and output. A failure ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(command, shell=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log.open("a") as file:
        file.write(f"$ {command}\n{done.stdout}\n")
    if done.returncode:
        sys.exit(f"{command!r} in {folder} left with {done.returncode}; see {log}\n{done.stdout[-3000:]}")
    return time.perf_counter() - started, done.stdout


def artifact_bytes(folder: Path) -> dict[str, str]:
    """The hash of every output in dvc.lock."""
    lock = YAML(typ="safe", pure=True).load(folder / "dvc.lock")
    return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage.get("outs", [])}


def be_newcomer(folder: Path, preset: Path | None) -> Newcomer:
    """Clone, reproduce, reproduce again."""
    seen = Newcomer(folder)
    log = folder.with_suffix(".log")
    typed(f"git clone --quiet {ROOT} {folder}", ROOT, log)
    if preset:
        typed(f"cp {preset} params.yaml", folder, log)
    seen.setup_s, _ = typed("make setup", folder, log)
    seen.repro_s, _ = typed("make repro", folder, log)
    seen.second_s, output = typed("PATH=$PWD/.venv/bin:$PATH dvc repro", folder, log)
    seen.second_says = output.strip().splitlines()[-1]
    _, output = typed("PATH=$PWD/.venv/bin:$PATH dvc status", folder, log)
    seen.status = output.strip()
    seen.artifacts = artifact_bytes(folder)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clones", type=int, default=2)
    parser.add_argument("--preset", type=Path, help="a parameter file to use in place of params.yaml")
    parser.add_argument("--keep", type=Path, help="put the clones there and leave them")
    arguments = parser.parse_args()
    preset = arguments.preset.resolve() if arguments.preset else None
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = arguments.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        newcomers = [be_newcomer(place / f"clone-{number}", preset) for number in range(1, arguments.clones + 1)]

    print("| clone | set-up, s | make repro, s | second dvc repro, s | it says | dvc status |")
    print("|---|---|---|---|---|---|")
    for seen in newcomers:
        print(
            f"| {seen.folder.name} | {seen.setup_s:.0f} | {seen.repro_s:.0f} | {seen.second_s:.1f} "
            f"| {seen.second_says} | {seen.status} |"
        )
    first = newcomers[0].artifacts
    differing = sorted({path for seen in newcomers[1:] for path in first if seen.artifacts.get(path) != first[path]})
    print(f"\n{len(first)} artifacts, {len(differing)} with other bytes: {', '.join(differing) or 'none'}")
    stale = [seen for seen in newcomers if "up to date" not in seen.second_says or "up to date" not in seen.status]
    sys.exit(1 if differing or stale else 0)


if __name__ == "__main__":
    main()

"""Follow the README in several fresh clones: `python benchmarks/fresh_clone.py --clones 2`.

The script clones the repository's HEAD into empty folders and runs `make repro` in each. It prints as a Markdown table
the seconds of the set-up and of the reproduction, the seconds of a second `dvc repro` (which must find everything up to
date), and the output of `dvc status`; then every artifact whose bytes differ between the clones. The exit code is 1 if
a check fails.
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
class Result:
    """The measurements of one clone."""

    folder: Path
    setup_s: float = 0.0
    repro_s: float = 0.0
    second_s: float = 0.0
    second_line: str = ""
    status: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)


def run_shell(command: str, folder: Path, log: Path) -> tuple[float, str]:
    """Run a shell command in the folder; return its seconds and output. A failure ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(command, shell=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with log.open("a") as file:
        file.write(f"$ {command}\n{done.stdout}\n")
    if done.returncode:
        sys.exit(f"{command!r} in {folder} failed with exit code {done.returncode}; see {log}\n{done.stdout[-3000:]}")
    return time.perf_counter() - started, done.stdout


def artifact_bytes(folder: Path) -> dict[str, str]:
    """Return the hash of every output in the locks; their paths are relative to the clone."""
    locks = [folder / "dvc.lock", *folder.glob("stages/*/dvc.lock")]
    records = [record for lock in locks for record in YAML(typ="safe", pure=True).load(lock)["stages"].values()]
    return {out["path"]: out["md5"] for record in records for out in record.get("outs", [])}


def reproduce(folder: Path, preset: Path | None) -> Result:
    """Clone the repository, reproduce, reproduce again, and return the measurements."""
    result = Result(folder)
    log = folder.with_suffix(".log")
    run_shell(f"git clone --quiet {ROOT} {folder}", ROOT, log)
    if preset:
        run_shell(f"cp {preset} params.yaml", folder, log)
    result.setup_s, _ = run_shell("make setup", folder, log)
    result.repro_s, _ = run_shell("make repro", folder, log)
    result.second_s, output = run_shell("PATH=$PWD/.venv/bin:$PATH dvc repro", folder, log)
    result.second_line = output.strip().splitlines()[-1]
    _, output = run_shell("PATH=$PWD/.venv/bin:$PATH dvc status", folder, log)
    result.status = output.strip()
    result.artifacts = artifact_bytes(folder)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clones", type=int, default=2)
    parser.add_argument("--preset", type=Path, help="a parameter file to use instead of params.yaml")
    parser.add_argument("--keep", type=Path, help="folder in which the clones are made and kept")
    arguments = parser.parse_args()
    preset = arguments.preset.resolve() if arguments.preset else None
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = arguments.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        results = [reproduce(place / f"clone-{number}", preset) for number in range(1, arguments.clones + 1)]

    print("| clone | set-up, s | make repro, s | second dvc repro, s | its last line | dvc status |")
    print("|---|---|---|---|---|---|")
    for result in results:
        print(
            f"| {result.folder.name} | {result.setup_s:.0f} | {result.repro_s:.0f} | {result.second_s:.1f} "
            f"| {result.second_line} | {result.status} |"
        )
    first = results[0].artifacts
    differing = sorted({path for result in results[1:] for path in first if result.artifacts.get(path) != first[path]})
    print(f"\n{len(first)} artifacts, {len(differing)} with other bytes: {', '.join(differing) or 'none'}")
    stale = [one for one in results if "up to date" not in one.second_line or "up to date" not in one.status]
    sys.exit(1 if differing or stale else 0)


if __name__ == "__main__":
    main()

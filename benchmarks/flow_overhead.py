"""Measure the flow's cost over DVC alone, and the gain of slots: `python -m benchmarks.flow_overhead --repeats 3`.

    python -m benchmarks.flow_overhead --repeats 3
    python -m benchmarks.flow_overhead --repeats 3 --sweep mtmdd

Per repeat the benchmark clones the repository's HEAD into three empty folders and brings the targets up to date in each
twice (fresh, then with nothing to do): by `dvc repro`, by `flows.reproduce` with one CPU slot, which runs the same
stages one by one, and by `flows.reproduce` with as many slots as there are cores. The flow's time includes the start
and the end of its server. It prints a Markdown table of medians. The exit code is 1 if the flow with one slot takes
more than 5 % plus 15 s over `dvc repro`.

With ``--sweep`` it measures a study's wall time by `flows.sweeps` with one CPU slot and with more, in turn, in copies
of a clone in which everything that the study's trainings need is up to date.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flows.stages import Workspace
from flows.studies import EVALUATE, TRAIN, studies, study_of

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_SHARE, ALLOWED_S = 0.05, 15.0
SITUATIONS = ("fresh", "nothing to do")


def seconds_of(command: list[str], folder: Path) -> float:
    """Run a command in a clone, with the clone's code; return its wall time. A failure ends the benchmark."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    started = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PATH": path, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} in {folder} failed with exit code {done.returncode}:\n{done.stdout[-3000:]}")
    return time.perf_counter() - started


def clone_into(folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def measure(commands: dict[str, list[str]], folder: Path) -> dict[tuple[str, str], float]:
    """Run every command in a fresh clone, and once more in the same clone; return the seconds."""
    seconds = {}
    for name, command in commands.items():
        clone = clone_into(folder / name.replace(" ", "-"))
        for situation in SITUATIONS:
            seconds[name, situation] = seconds_of(command, clone)
            print(f"{folder.name}: {name}, {situation}: {seconds[name, situation]:.1f} s", file=sys.stderr)
    return seconds


def compare_slots(study: str, slots: int, repeats: int, folder: Path) -> None:
    """Run a study with one slot and with more, each time from the start of its trainings; print the times."""
    clone = clone_into(folder / "upstream")
    workspace = Workspace(clone)
    with contextlib.chdir(clone):  # DVC resolves targets from the current folder
        evaluations = study_of(study, studies(workspace.matrices())).select()
        stages = workspace.stages(evaluations)
    matrices = {name.partition("@")[0] for name in evaluations}
    matrices |= {name.replace(EVALUATE, TRAIN) for name in matrices}
    begun = {name for name in stages if name.partition("@")[0] in matrices}
    seconds_of([sys.executable, "-m", "flows.reproduce", "--targets", *sorted(stages.keys() - begun)], clone)
    seconds: dict[int, list[float]] = {1: [], slots: []}
    for repeat in range(repeats):
        for number in (1, slots) if repeat % 2 else (slots, 1):
            copy = folder / f"{repeat}-{number}"
            shutil.copytree(clone, copy, symlinks=True)
            command = [sys.executable, "-m", "flows.sweeps", study, "--cpu-slots", str(number)]
            seconds[number].append(seconds_of(command, copy))
            print(f"repeat {repeat + 1}, slots {number}: {seconds[number][-1]:.1f} s", file=sys.stderr)
    ratios = sorted(more / one for one, more in zip(*seconds.values(), strict=True))
    one, more = (statistics.median(found) for found in seconds.values())
    print(f"| study | trainings | 1 slot, s | {slots} slots, s | of 1 slot | pairs |\n|---|---|---|---|---|---|")
    print(
        f"| {study} | {len(begun) - len(evaluations)} | {one:.1f} | {more:.1f} | **{statistics.median(ratios):.2f}** "
        f"| {ratios[0]:.2f} to {ratios[-1]:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--targets", nargs="+", default=[], help="stages or outputs (default: everything)")
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 2, help="CPU slots to compare with one slot")
    parser.add_argument("--sweep", metavar="STUDY", help="compare slots on this study instead of flow and DVC")
    options = parser.parse_args()
    if options.sweep:
        with tempfile.TemporaryDirectory() as folder:
            compare_slots(options.sweep, options.slots, options.repeats, Path(folder))
        return
    flow = [sys.executable, "-m", "flows.reproduce", *(["--targets", *options.targets] if options.targets else [])]
    many = f"flow, {options.slots} slots"
    commands = {
        "dvc repro": [sys.executable, "-m", "dvc", "repro", *options.targets],
        "flow, 1 slot": [*flow, "--cpu-slots", "1"],
        many: [*flow, "--cpu-slots", str(options.slots)],
    }
    with tempfile.TemporaryDirectory() as folder:
        runs = [measure(commands, Path(folder) / f"repeat-{number}") for number in range(1, options.repeats + 1)]
    median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    print("| | dvc repro, s | flow, 1 slot, s | over dvc repro, s | allowed, s |", end="")
    print(f" flow, {options.slots} slots, s | of 1 slot |\n|---|---|---|---|---|---|---|")
    is_missed = False
    for situation in SITUATIONS:
        dvc, one, more = (median[name, situation] for name in commands)
        allowed = ALLOWED_SHARE * dvc + ALLOWED_S
        is_missed |= one - dvc > allowed
        print(f"| {situation} | {dvc:.1f} | {one:.1f} | {one - dvc:.1f} | {allowed:.1f} |", end="")
        print(f" {more:.1f} | {more / one:.2f} |")
    sys.exit(1 if is_missed else 0)


if __name__ == "__main__":
    main()

"""Time one stage in projects whose dvc.lock has many records: `python -m benchmarks.long_lock`.

    python -m benchmarks.long_lock --records 0 150 600 --repeats 3

The stage copies a file. `dvc repro --single-item` and `python -m flows.dvc_command repro --single-item`, by which a
flow runs a stage, run it in turns, each time with new content, in the same small project. The benchmark prints a
Markdown table of medians. Meanwhile no other stage of the workspace can begin or end, so a flow saves the difference.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.killed_lock import COMMANDS, Project

RUN_ONE = {name: [*COMMANDS[name], "--single-item", "a0"] for name in ("dvc", "dvc_command")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[0, 150, 600], help="of 64 lines each")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    COMMANDS.update(RUN_ONE)
    print("| records | lines of dvc.lock | dvc repro, s | flows.dvc_command repro, s | ratio |")
    print("|---|---|---|---|---|", flush=True)
    for number in options.records:
        with tempfile.TemporaryDirectory(prefix="clicksight-") as place:
            project = Project(Path(place) / "project", 1, number)
            seconds: dict[str, list[float]] = {name: [] for name in RUN_ONE}
            for repeat in range(options.repeats + 1):  # the first is not counted
                for name in RUN_ONE:
                    project.begin(hash((repeat, name)))
                    began = time.perf_counter()
                    project.finish(name)
                    seconds[name].append(time.perf_counter() - began)
            lines = len((project.root / "dvc.lock").read_text().splitlines())
            plain, ours = (statistics.median(values[1:]) for values in seconds.values())
            print(f"| {number} | {lines:,} | {plain:.2f} | {ours:.2f} | {ours / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()

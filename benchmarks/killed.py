"""Kill builds by SIGKILL at random moments: `python -m benchmarks.killed --rows 300_000 --kills 20`.

The benchmark builds click features into one folder many times and kills each run, with its whole process group, at a
random moment of a run's usual duration: a fifth of the runs while they start, most while they work, a tenth when the
output exists and the run is ending. Before every second run the folder holds the output of an older log. After each
kill the folder must be unchanged (absent, or the whole old one) or the whole new one, byte for byte. Then a run that is
not killed must give the right bytes and leave nothing else: nothing beside the output, and no file in the system's
temporary folder (the runs have their own temporary folder; an empty folder in it is shown and allowed, because Beam
makes one for each pipeline). It prints a Markdown table; the exit code is 1 if a check fails.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from benchmarks import zipf_log  # noqa: E402
from benchmarks.builds import ENVIRONMENT, build_command, fingerprint  # noqa: E402


class Builds:
    """Runs of the command into one output folder.

    Args:
        place: an empty folder for everything.
        options: options of the command, as in ``["--direct_num_workers", "2"]``.
    """

    def __init__(self, place: Path, options: list[str]) -> None:
        self.output = place / "results" / "out"
        self.temporary = place / "tmp"
        self.errors = place / "errors.txt"
        self.options = options
        self.output.parent.mkdir()
        self.temporary.mkdir()

    def start(self, log: Path) -> subprocess.Popen:
        """Start a run in its own process group."""
        environment = {**os.environ, **ENVIRONMENT, "TMPDIR": str(self.temporary)}
        command = build_command([log], self.output, *self.options)
        with self.errors.open("wb") as errors:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors, start_new_session=True
            )

    def finish(self, log: Path) -> list[float]:
        """Run to the end; a failure ends the benchmark.

        Returns:
            the seconds until the run began to write, until a new output existed (if none did before), and in total.
        """
        started = time.perf_counter()
        process = self.start(log)
        marks: list[float] = []
        while process.poll() is None:
            time.sleep(0.01)
            if self.output.exists() if marks else self.beside():
                marks.append(time.perf_counter() - started)
        if process.returncode:
            errors = self.errors.read_text(errors="replace")[-3000:]
            sys.exit(f"a run that was not killed failed with exit code {process.returncode}:\n{errors}")
        duration_s = time.perf_counter() - started
        return [*[*marks, duration_s, duration_s][:2], duration_s]  # the run may end between two checks

    def kill(self, log: Path, after_s: float) -> bool:
        """Start a run and kill its process group after some seconds; return whether it was still running."""
        process = self.start(log)
        try:
            process.wait(timeout=after_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return True
        return False

    def beside(self) -> list[str]:
        """Return the names of the files and folders beside the output."""
        return sorted(path.name for path in self.output.parent.iterdir() if path != self.output)

    def empty_temporary(self) -> tuple[int, int]:
        """Empty the temporary folder; return the numbers of files and folders that were in it."""
        paths = list(self.temporary.rglob("*"))
        num_files = sum(not path.is_dir() for path in paths)
        shutil.rmtree(self.temporary)
        self.temporary.mkdir()
        return num_files, len(paths) - num_files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of the log and of the moments")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="all that follows is for the command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = Path(temporary)
        # both logs have the same name, because quarantine contains file names
        old_log, log = place / "old" / "log.tsv", place / "new" / "log.tsv"
        for file, seed in ((old_log, arguments.seed + 1), (log, arguments.seed)):
            file.parent.mkdir()
            zipf_log.write_log(file, arguments.rows, seed)
            with file.open("ab") as rows:
                rows.write(b"a row that quarantine takes\n")
        builds = Builds(place, arguments.options)
        builds.finish(old_log)  # this also reads everything into the page cache
        pristine = shutil.copytree(builds.output, place / "pristine")
        old = fingerprint(pristine)
        shutil.rmtree(builds.output)
        began_s, written_s, duration_s = builds.finish(log)
        new = fingerprint(builds.output)
        if old == new:
            sys.exit("the two logs give the same output, so the check could not distinguish them")
        builds.empty_temporary()
        print(
            f"{arguments.rows:,} rows; a run begins to write after {began_s:.1f} s, its output exists after "
            f"{written_s:.1f} s, and it ends after {duration_s:.1f} s\n"
        )
        print(
            "| killed after, s | before | after the kill | hidden beside it | next run | left beside it | left in tmp |"
        )
        print("|---|---|---|---|---|---|---|", flush=True)

        # the run is divided into as many parts as kills, with one random moment in each
        parts = np.random.default_rng(arguments.seed).random(arguments.kills) + np.arange(arguments.kills)
        moments = np.interp(parts / arguments.kills, [0, 0.2, 0.9, 1], [0, began_s, written_s, duration_s])
        states = {"old": old, "new": new, "absent": {}}
        wrong = 0
        for number, after_s in enumerate(moments):
            before = "old" if number % 2 else "absent"
            shutil.rmtree(builds.output, ignore_errors=True)
            if before == "old":
                shutil.copytree(pristine, builds.output)
            was_running = builds.kill(log, after_s)
            found = fingerprint(builds.output) if builds.output.exists() else {}
            after = next((name for name, content in states.items() if content == found), "PART OF ONE")
            hidden = len(builds.beside())
            builds.finish(log)
            is_right = fingerprint(builds.output) == new
            beside, (num_files, num_folders) = builds.beside(), builds.empty_temporary()
            allowed = {before, "new"} if was_running else {"new"}
            wrong += not (after in allowed and is_right and not beside and not num_files)
            print(
                f"| {after_s:.2f}{'' if was_running else ' (it had ended)'} | {before} | {after} | {hidden} "
                f"| {'right bytes' if is_right else 'OTHER BYTES'} | {', '.join(beside) or 'nothing'} "
                f"| {num_files} files, {num_folders} folders |",
                flush=True,
            )
    print(f"\n{arguments.kills - wrong} of {arguments.kills} right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

"""Kill a flow, or plain `dvc repro`, around the moments when dvc.lock is written: `python -m benchmarks.killed_lock`.

    python -m benchmarks.killed_lock --kills 30                           # python -m flows.reproduce
    python -m benchmarks.killed_lock --kills 10 --killed dvc              # plain dvc, then a flow
    python -m benchmarks.killed_lock --kills 10 --killed dvc --next dvc   # plain dvc alone

Each run makes new outputs of a small project with a long lock: two chains of stages, side by side. The run gets SIGINT,
SIGTERM or SIGKILL in turn, some time after a stage's command has ended, or after the write of its record has begun
(plain DVC shortens dvc.lock, the flows' DVC writes another file beside it); the stage and the moment are random.
SIGKILL goes to all processes of the run at once. Then a run that is not killed must succeed, `dvc status` must be
clean, and no finished stage may run again. A stage is finished if dvc.lock has its record after the kill, or, where a
flow was interrupted, if its command had ended before the signal. All flows share a server. The benchmark prints a
Markdown table; the exit code is 1 if a check fails.
"""

import argparse
import contextlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from ruamel.yaml import YAML, YAMLError

ROOT = Path(__file__).resolve().parents[1]
PARAMS = 60  # parameters of each stage; each adds a line to the stage's record
COMMANDS = {
    "flow": [sys.executable, "-m", "flows.reproduce", "--cpu-slots", "2"],
    "dvc": [sys.executable, "-m", "dvc", "repro"],
    "dvc_command": [sys.executable, "-m", "flows.dvc_command", "repro"],
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


class Project:
    """A small project with a long lock.

    Args:
        root: an empty folder.
        length: stages of each of the two chains.
        padding: number of records in the lock for stages that are no longer declared.
    """

    def __init__(self, root: Path, length: int, padding: int) -> None:
        self.root, self.ended, self.size = root, root / "ended", 0
        (root / ".dvc" / "tmp").mkdir(parents=True)
        (root / ".state" / "dvc" / "repo").mkdir(parents=True)
        (root / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text() + "    no_scm = True\n")
        (root / "params.yaml").write_text("all:\n" + "".join(f"  parameter_{i}: {i}\n" for i in range(PARAMS)))
        lines = ["stages:\n"]
        for chain in "ab":
            for number in range(length):
                before = f"{chain}{number - 1}.txt" if number else "seed.txt"
                name = f"{chain}{number}"
                command = f"cp {before} {name}.txt; echo {name} >> ended"
                lines.append(f"  {name}: {{cmd: {command}, deps: [{before}], params: [all], outs: [{name}.txt]}}\n")
        (root / "dvc.yaml").write_text("".join(lines))
        self.stages = {f"{chain}{number}" for chain in "ab" for number in range(length)}
        record = "    cmd: old\n    params:\n      params.yaml:\n"
        record += "".join(f"        parameter_{i}: {i}\n" for i in range(PARAMS))
        records = "".join(f"  old{number}:\n{record}" for number in range(padding))
        (root / "dvc.lock").write_text(f"schema: '2.0'\nstages:\n{records}")

    def begin(self, number: int) -> None:
        """Make every stage stale by writing new content to the first dependency."""
        (self.root / "seed.txt").write_text(f"{number}\n")
        self.ended.write_text("")

    def is_being_written(self) -> bool:
        """Return whether dvc.lock is being written, in place or beside it."""
        partial = (self.root / ".dvc.lock.partial").exists()
        return partial or (self.root / "dvc.lock").stat().st_size < self.size

    def num_ended(self) -> Counter[str]:
        """Return how often each stage's command has ended since :meth:`begin`."""
        return Counter(self.ended.read_text().split())

    def recorded(self) -> set[str]:
        """Return the stages with a record in the lock for the present content; none if the lock is unreadable."""
        try:
            lock = YAML(typ="safe").load(self.root / "dvc.lock") or {}
        except (YAMLError, UnicodeDecodeError):
            return set()
        records = lock.get("stages") or {} if isinstance(lock, dict) else {}
        whole = {name: record for name, record in records.items() if isinstance(record, dict) and record.get("outs")}
        digest = self.md5()
        return {n for n in self.stages & whole.keys() if whole[n]["outs"][0].get("md5") == digest}

    def md5(self) -> str:
        """Return the digest that the lock has for every output of the present content."""
        done = subprocess.run(["md5sum", self.root / "seed.txt"], capture_output=True, text=True, check=True)
        return done.stdout.split()[0]

    def lock_state(self) -> str:
        """Return the number of records in the lock as a text, or UNREADABLE."""
        text = (self.root / "dvc.lock").read_bytes()
        try:
            lock = YAML(typ="safe").load(text.decode())
            count = len(lock["stages"])
        except (YAMLError, UnicodeDecodeError, TypeError, KeyError):
            return "UNREADABLE"
        return f"{count} records"

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a run in its own session."""
        with (self.root / "output.txt").open("ab") as output:
            return subprocess.Popen(
                COMMANDS[command],
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def finish(self, command: str, may_fail: bool = False) -> str:
        """Run to the end; return the last error line if the run failed, else an empty text."""
        (self.root / "output.txt").write_text("")
        if not self.start(command).wait():
            return ""
        output = (self.root / "output.txt").read_text()
        if not may_fail:
            sys.exit(f"a run that was not killed failed:\n{output[-3000:]}")
        return next((line for line in reversed(output.splitlines()) if line.startswith("ERROR")), "failed")

    def is_clean(self) -> bool:
        """Return whether `dvc status` finds nothing to do."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "status"], cwd=self.root, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() == "Data and pipelines are up to date."


@dataclass(frozen=True)
class Kill:
    """The signal and the moment of a kill."""

    how: signal.Signals
    after_stages: int
    in_write: bool
    after_s: float

    def do(self, project: Project, command: str) -> tuple[set[str], bool]:
        """Kill a run; return the stages that must not run again, and whether it was still running."""
        project.size = (project.root / "dvc.lock").stat().st_size
        process = project.start(command)
        while project.num_ended().total() < self.after_stages and process.poll() is None:
            time.sleep(0.002)
        while self.in_write and not project.is_being_written() and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(self.after_s)
        was_running = process.poll() is None
        before = set(project.num_ended())
        if was_running and self.how == signal.SIGKILL:
            kill_all(process)
        elif was_running:
            process.send_signal(self.how)
        process.wait(120)
        wait_for_remaining_processes(project.root)
        waits = command == "flow" and self.how != signal.SIGKILL
        return project.recorded() | (before if waits else set()), was_running


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a run and all processes that it has started, as when a machine fails."""
    whole = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in whole:
        one.suspend()
    for one in whole:
        one.kill()


def wait_for_remaining_processes(root: Path) -> None:
    """Wait until no process has the project as its working folder."""

    def works_here(process: psutil.Process) -> bool:
        try:
            return process.cwd() == str(root) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    deadline = time.monotonic() + 60
    while any(works_here(process) for process in psutil.process_iter()) and time.monotonic() < deadline:
        time.sleep(0.1)


@contextlib.contextmanager
def shared_server(home: Path) -> Iterator[None]:
    """Start a server for all flows, with a password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    password = f"flows:{secrets.token_urlsafe()}"
    os.environ |= {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_API_AUTH_STRING": password,
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port, "--no-ui"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/api/health", timeout=5).is_success:
                    break
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--killed", choices=COMMANDS, default="flow", help="what is killed (default: %(default)s)")
    parser.add_argument("--next", choices=COMMANDS, default="flow", help="what runs after it (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--length", type=int, default=3, help="stages of each of the two chains")
    parser.add_argument("--padding", type=int, default=150, help="further records in the lock, of 64 lines each")
    parser.add_argument("--spread", type=float, default=2.0, metavar="S", help="seconds after a command's end")
    parser.add_argument(
        "--write-s", type=float, default=0.2, metavar="S", help="seconds after the beginning of a write"
    )
    options = parser.parse_args()
    chance, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory(prefix="clicksight-") as place, contextlib.ExitStack() as stack:
        os.chdir(place)
        if "flow" in (options.killed, options.next):
            stack.enter_context(shared_server(Path(place)))
        project = Project(Path(place) / "project", options.length, options.padding)
        project.begin(-1)
        project.finish(options.next)
        whole = project.lock_state()
        num_lines = len((project.root / "dvc.lock").read_text().splitlines())
        print(f"{len(project.stages)} stages, {whole} in {num_lines:,} lines of dvc.lock\n")
        print("| kill | s after | finished | dvc.lock after the kill | next run, s | dvc status | ran again |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for number in range(options.kills):
            how, after = SIGNALS[number % 3], chance.randrange(1, len(project.stages))
            in_write = number // 3 % 2 == 0
            kill = Kill(how, after, in_write, chance.uniform(0, options.write_s if in_write else options.spread))
            project.begin(number)
            finished, was_running = kill.do(project, options.killed)
            ended, state_after_kill = project.num_ended(), project.lock_state()
            began = time.perf_counter()
            error = project.finish(options.next, may_fail=True)
            next_s = time.perf_counter() - began
            is_clean = not error and project.is_clean()
            if error:
                project.finish("dvc_command")  # complete the project, so that the next kill starts from a valid state
            again = {name for name, times in project.num_ended().items() if times > 1}
            wrong += not (is_clean and not finished & again and project.lock_state() == whole)
            where = "a write after stage" if in_write else "stage"
            unrecorded = f"; {len(again - finished)} not recorded" if again - finished else ""
            print(
                f"| {how.name}{'' if was_running else ' (had ended)'} | {kill.after_s:.2f}, {where} {after} "
                f"| {len(finished)} of {len(ended)} | {state_after_kill} | {error or f'{next_s:.0f}'} "
                f"| {'clean' if is_clean else 'STALE'} | {', '.join(sorted(finished & again)) or 'none'}{unrecorded} |",
                flush=True,
            )
    print(f"\n{options.kills - wrong} of {options.kills} right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

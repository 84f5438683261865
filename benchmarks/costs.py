"""Measure a command: wall and CPU seconds, and the peak memory of all its processes together.

    cost = cost_of([sys.executable, "-m", "pipelines.build_click_features", ...], cwd=ROOT)

Peak memory is the larger of two readings, in MB of 2^20 bytes:

- the largest sum over the command's processes at one moment, sampled 20 times a second: resident memory for a single
  process, otherwise proportional set sizes, which count a page that several processes share only once;
- the peak resident memory of its largest process as the kernel records it, which includes short peaks.

A small separate process (this file, without any library) starts the command: the kernel also counts the memory that a
process had before it became the command, so a child of a benchmark that has read a large table would never seem smaller
than the benchmark itself. The module needs Linux, because it reads /proc.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SAMPLES_PER_S = 20
SHARED_SAMPLES_PER_S = 1  # for several processes: reading their shares walks their memory and stops them meanwhile
PAGE_BYTES = resource.getpagesize()
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """The cost of one run.

    Attributes:
        seconds: wall-clock seconds.
        cpu_seconds: user and system time of all processes.
        megabytes: peak memory, MB of 2^20 bytes; see the module.
    """

    seconds: float
    cpu_seconds: float
    megabytes: float


def cost_of(command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return its cost; a failure ends the benchmark with the end of the command's output.

    Args:
        command: the program and its arguments.
        cwd: its working folder.
        environment: variables in addition to the benchmark's own.
    """
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), *command]
    done = subprocess.run(
        launcher, cwd=cwd, env={**os.environ, **(environment or {})}, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with exit code {done.returncode}:\n{done.stderr[-3000:]}")
    return Cost(**json.loads(done.stdout))


def own_cpu_seconds() -> float:
    """Return the CPU seconds so far of this process and all its descendants, running or ended."""
    parents, ticks = {}, {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = _stat_fields(Path(entry.path))
                parents[int(entry.name)] = int(fields[1])
                ticks[int(entry.name)] = sum(map(int, fields[11:15]))  # with children it has waited for
    family = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks[process] for process in family) / TICKS_PER_S


def _stat_fields(process: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which is in brackets and may hold any text (man 5 proc)."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()


def warm(path: Path) -> None:
    """Read a file into the page cache, so that the first measured run does not wait for the disk."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


class _Sampler(threading.Thread):
    """A thread that samples the processes of a session until :meth:`stop`.

    Attributes:
        peak_bytes: the largest sum of memory so far.
    """

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.peak_bytes = 0
        self._cpu_seconds: dict[int, float] = {}
        self._stop_requested = threading.Event()

    def run(self) -> None:
        shared_next = 0.0
        while not self._stop_requested.wait(1 / SAMPLES_PER_S):
            processes = _processes_of(self.session)
            self._cpu_seconds.update({process: cpu for process, (cpu, _) in processes.items()})
            if len(processes) == 1:
                total = sum(resident for _, resident in processes.values())
            elif time.perf_counter() >= shared_next:
                total = sum(_proportional_bytes(process) for process in processes)
                shared_next = time.perf_counter() + 1 / SHARED_SAMPLES_PER_S
            else:
                continue
            self.peak_bytes = max(self.peak_bytes, total)

    def stop(self) -> float:
        """Stop sampling; return the CPU seconds of all sampled processes, also of those that nobody waited for."""
        self._stop_requested.set()
        self.join()
        return sum(self._cpu_seconds.values())


def _processes_of(session: int) -> dict[int, tuple[float, int]]:
    """Return the CPU seconds and resident bytes of every process of a session, also of orphans."""
    found = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = _stat_fields(Path(entry.path))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            found[int(entry.name)] = (
                (int(fields[11]) + int(fields[12])) / TICKS_PER_S,
                int(fields[21]) * PAGE_BYTES,
            )
    return found


def _proportional_bytes(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    """Run this process's arguments as a command; write the cost as JSON to stdout, the command's output to stderr."""
    started = time.perf_counter()
    # in a session of its own its processes can be found and killed, whatever their parents are
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr, start_new_session=True)
    sampler = _Sampler(process.pid)
    sampler.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    cpu_seconds = max(sampler.stop(), usage.ru_utime + usage.ru_stime)
    megabytes = max(sampler.peak_bytes / 2**20, usage.ru_maxrss / 2**10)
    if status:
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
    json.dump(Cost(seconds, cpu_seconds, megabytes)._asdict(), sys.stdout)


if __name__ == "__main__":
    main()

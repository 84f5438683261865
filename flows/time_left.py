"""How long the stages of a flow will still take, from how long they took before and in this run.

A stage's seconds are those of its last run in this workspace (``.state/timings.jsonl``), times this run's pace relative
to the earlier one; without an earlier run, the mean of the stages of the same matrix that have ended in this run, or
else of all stages that use a GPU as it does. A stage takes at least as long as a running one of its matrix has run. The
time left is the end of a simulated run of the remaining stages, in the walk's order and with its slots.
"""

import heapq
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import fmean

from base.console import TIMINGS
from flows.graph import name_of
from flows.stages import Stage


def seconds_before(root: Path) -> dict[str, float]:
    """Return the seconds of each stage's last run in a workspace, by the stage's name; none where nothing is kept.

    Args:
        root: the folder with dvc.yaml.
    """
    found: dict[str, float] = {}
    with suppress(OSError):
        for line in (root / TIMINGS).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line that a kill has cut
                timing = json.loads(line)
                found[name_of(timing["dvc_stage"])] = float(timing["seconds"])
    return found


class TimeLeft:
    """Estimates when the last stage will have ended.

    Args:
        stages: all stages of the run, in the walk's order.
        cpu_slots: stages at once on the CPUs.
        gpu_slots: stages at once on the GPUs; 0: stages for a GPU share the CPU slots.
        before: seconds of earlier runs, by stage (:func:`seconds_before`).
        up_to_date: stages that need not run, as far as this is known.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        cpu_slots: int,
        gpu_slots: int,
        before: Mapping[str, float],
        up_to_date: Collection[str] = (),
    ) -> None:
        self._stages = stages
        self._before = before
        self._waiting = {name: None for name in stages if name not in up_to_date}  # a set that keeps its order
        self._slots = {True: gpu_slots, False: cpu_slots} if gpu_slots else {False: cpu_slots}
        self._took: dict[str, float] = {}

    def ended(self, name: str, seconds: float | None) -> None:
        """Take note that a stage has ended.

        Args:
            name: the stage.
            seconds: how long it ran; None: it did not run to its end, which teaches nothing about the others.
        """
        self._waiting.pop(name, None)
        if seconds is not None:
            self._took[name] = seconds

    def seconds(self, running: Mapping[str, float]) -> float | None:
        """Return the seconds until everything has ended; None while nothing is known to estimate it from.

        Args:
            running: for how many seconds each running stage has run.
        """
        pace = self._pace()
        so_far: dict[str, float] = {}
        for name, seconds in running.items():
            so_far[_matrix_of(name)] = max(seconds, so_far.get(_matrix_of(name), 0.0))
        expected = {name: self._expected(name, pace, so_far.get(_matrix_of(name), 0.0)) for name in self._waiting}
        known = {name: seconds for name, seconds in expected.items() if seconds is not None}
        if len(known) < len(expected):
            return None
        return self._simulated(running, known)

    def _expected(self, name: str, pace: float, at_least: float) -> float | None:
        if name in self._before:
            return max(self._before[name] * pace, at_least)
        of_matrix = [seconds for other, seconds in self._took.items() if _matrix_of(other) == _matrix_of(name)]
        of_kind = [
            seconds for other, seconds in self._took.items() if self._stages[other].on_gpu == self._stages[name].on_gpu
        ]
        alike = of_matrix or of_kind
        return max(fmean(alike), at_least) if alike else None

    def _pace(self) -> float:
        """Return how many times longer than before the stages of this run take."""
        both = [name for name in self._took if name in self._before]
        before = sum(self._before[name] for name in both)
        return sum(self._took[name] for name in both) / before if before else 1.0

    def _simulated(self, running: Mapping[str, float], expected: Mapping[str, float]) -> float:
        """Return when the last stage ends if each takes the expected seconds and starts as the walk would start it."""
        order = {name: number for number, name in enumerate(self._stages)}
        upstream = {name: len(self._stages[name].upstream & expected.keys()) for name in expected}
        downstream: dict[str, list[str]] = {name: [] for name in expected}
        for name in expected:
            for other in self._stages[name].upstream & expected.keys():
                downstream[other].append(name)
        free = dict(self._slots)
        ready: dict[bool, list[tuple[int, str]]] = {kind: [] for kind in free}
        ends: list[tuple[float, str]] = []
        for name in expected:
            if name in running:
                free[self._kind(name)] -= 1
                heapq.heappush(ends, (max(expected[name] - running[name], 0.0), name))
            elif not upstream[name]:
                heapq.heappush(ready[self._kind(name)], (order[name], name))
        now = 0.0
        while True:
            for kind, names in ready.items():
                while names and free[kind] > 0:
                    _, name = heapq.heappop(names)
                    free[kind] -= 1
                    heapq.heappush(ends, (now + expected[name], name))
            if not ends:
                return now
            now = ends[0][0]
            while ends and ends[0][0] == now:
                _, name = heapq.heappop(ends)
                free[self._kind(name)] += 1
                for other in downstream[name]:
                    upstream[other] -= 1
                    if not upstream[other]:
                        heapq.heappush(ready[self._kind(other)], (order[other], other))

    def _kind(self, name: str) -> bool:
        return self._stages[name].on_gpu and True in self._slots


def _matrix_of(name: str) -> str:
    return name.partition("@")[0]

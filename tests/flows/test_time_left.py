"""The estimated time left: durations worked out by hand, and a scheduler of another kind as oracle."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.stages import Stage
from flows.time_left import TimeLeft, seconds_before


def graph(**upstream: str) -> dict[str, Stage]:
    """Return stages by name; those whose name begins with g use a GPU."""
    return {
        name: Stage(name, frozenset(others.split()), on_gpu=name.startswith("g")) for name, others in upstream.items()
    }


@pytest.mark.parametrize(
    ("cpus", "gpus", "seconds", "why"),
    [
        (1, 0, 30.0, "one after the other: 1 + 2 + 8 + 4 + 15"),
        (2, 0, 24.0, "a 0-1, b 1-3, g1 1-9, g2 3-7, last 9-24"),
        (1, 1, 28.0, "a 0-1, b 1-3, g1 1-9, g2 9-13, last 13-28"),
        (1, 2, 24.0, "a 0-1, b 1-3, g1 1-9, g2 3-7, last 9-24"),
    ],
)
def test_what_remains_is_run_with_the_walks_slots(cpus: int, gpus: int, seconds: float, why: str) -> None:
    stages = graph(a="", b="a", g1="a", g2="b", last="g1 g2")
    before = {"a": 1.0, "b": 2.0, "g1": 8.0, "g2": 4.0, "last": 15.0}
    assert TimeLeft(stages, cpus, gpus, before).seconds({}) == seconds, why


def test_running_stages_count_with_what_is_left_of_them() -> None:
    time_left = TimeLeft(graph(a="", b="", c="a b"), 2, 0, {"a": 10.0, "b": 4.0, "c": 5.0})
    assert time_left.seconds({"a": 3.0, "b": 9.0}) == 7.0 + 5.0  # b is late: it may end at any moment
    several = TimeLeft(graph(**{"t@1": "", "t@2": "", "t@3": ""}), 1, 0, {"t@1": 10.0, "t@2": 10.0, "t@3": 12.0})
    assert several.seconds({"t@1": 11.0}) == 0.0 + 11.0 + 12.0
    time_left.ended("b", 4.0)
    assert time_left.seconds({"a": 4.0}) == 6.0 + 5.0


def test_the_pace_of_this_run_scales_earlier_seconds() -> None:
    time_left = TimeLeft(graph(a="", b="", c="", d=""), 1, 0, {"a": 2.0, "b": 4.0, "c": 10.0, "d": 1.0})
    time_left.ended("a", 5.0)
    time_left.ended("b", 4.0)
    assert time_left.seconds({}) == pytest.approx(11.0 * 9.0 / 6.0)


def test_without_earlier_runs_like_stages_are_the_measure() -> None:
    stages = graph(code="", **{"g_train@1": "", "g_train@2": "", "g_other": "", "cpu": "", "train@3": ""})
    time_left = TimeLeft(stages, 1, 0, {})
    assert time_left.seconds({}) is None
    time_left.ended("code", 1.0)
    time_left.ended("g_train@1", 20.0)
    # g_train@2 as its matrix's other, g_other as the one for a GPU, the two others as `code`.
    assert time_left.seconds({}) == 20.0 + 20.0 + 1.0 + 1.0
    # A running stage that takes longer raises what is expected of its matrix, and of nothing else.
    assert time_left.seconds({"g_train@2": 50.0}) == 0.0 + 20.0 + 1.0 + 1.0


def test_a_stage_that_did_not_run_to_its_end_teaches_nothing() -> None:
    time_left = TimeLeft(graph(a="", b=""), 1, 0, {})
    time_left.ended("a", None)
    assert time_left.seconds({}) is None


def test_stages_that_are_up_to_date_take_no_time() -> None:
    time_left = TimeLeft(graph(a="", b="a", c="b"), 1, 0, {"a": 100.0, "b": 100.0, "c": 3.0}, up_to_date={"a", "b"})
    assert time_left.seconds({}) == 3.0


def by_small_steps(stages: Mapping[str, Stage], before: Mapping[str, float], cpus: int, gpus: int) -> float:
    """Run whole seconds one by one."""
    left, done, running, now = dict(before), set[str](), list[str](), 0
    while len(done) < len(stages):
        for name, stage in stages.items():
            here = [other for other in running if not gpus or stages[other].on_gpu == stage.on_gpu]
            room = gpus if gpus and stage.on_gpu else cpus
            if name not in done and name not in running and stage.upstream <= done and len(here) < room:
                running.append(name)
        now += 1
        for name in list(running):
            left[name] -= 1
            if left[name] <= 0:
                running.remove(name)
                done.add(name)
    return now


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    for number in range(draw(st.integers(1, 8))):
        upstream = draw(st.sets(st.sampled_from(sorted(stages)))) if stages else set()
        stages[f"s{number}"] = Stage(f"s{number}", frozenset(upstream), draw(st.booleans()))
    return stages


@given(stages=graphs(), cpus=st.integers(1, 3), gpus=st.integers(0, 2), data=st.data())
def test_the_simulated_run_is_the_walk(stages: dict[str, Stage], cpus: int, gpus: int, data: st.DataObject) -> None:
    before = {name: float(data.draw(st.integers(1, 6))) for name in stages}
    assert TimeLeft(stages, cpus, gpus, before).seconds({}) == by_small_steps(stages, before, cpus, gpus)


def test_seconds_before_are_those_of_the_last_run(tmp_path: Path) -> None:
    assert seconds_before(tmp_path) == {}
    (tmp_path / ".state").mkdir()
    lines = [
        {"dvc_stage": "stages/mtmdd/dvc.yaml:train@TDL-0", "stage": "train TDL", "seconds": 20.5, "ended": 1.0},
        {"dvc_stage": "ingest@toy", "stage": "ingest", "seconds": 3, "ended": 2.0},
        {"stage": "a line of an earlier version", "seconds": 3, "ended": 2.0},
        {"dvc_stage": "stages/mtmdd/dvc.yaml:train@TDL-0", "stage": "train TDL", "seconds": 14.25, "ended": 3.0},
    ]
    text = "\n".join(map(json.dumps, lines)) + '\n{"dvc_stage": "ingest@toy", "sec'
    (tmp_path / ".state/timings.jsonl").write_text(text)
    assert seconds_before(tmp_path) == {"mtmdd:train@TDL-0": 14.25, "ingest@toy": 3.0}

import json
import os
from pathlib import Path

import pytest
from served import Server

from flows.reproduce import main, reproduce
from flows.stages import Stage
from flows.walk import MANY_MODULES, Slots, _is_up_to_date, has_many_modules

CHAIN = """\
stages:
  length: {cmd: wc -w < text.txt > length.txt, deps: [text.txt], outs: [length.txt]}
  doubled: {cmd: cat length.txt length.txt > doubled.txt, deps: [length.txt], outs: [doubled.txt]}
  last: {cmd: tail -n 1 doubled.txt > last.txt, deps: [doubled.txt], outs: [last.txt]}
"""


def test_slots_without_a_gpu_are_shared_by_all_stages() -> None:
    slots = Slots(2, [])
    train, plain = Stage("train", frozenset(), True), Stage("plain", frozenset(), False)
    taken = [slots.take(train), slots.take(plain)]
    assert None not in taken
    assert slots.take(plain) is None
    assert slots.take(train) is None
    assert "CUDA_VISIBLE_DEVICES" not in slots.environment(str(taken[0]))
    slots.give_back(str(taken[0]))
    assert slots.take(train) is not None


def test_slots_share_the_cores_and_respect_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("POLARS_MAX_THREADS", "9")
    slots = Slots(2, ["4"])
    gpu = slots.take(Stage("train", frozenset(), True))
    assert gpu == "4"
    assert slots.environment(gpu) == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": "4"}
    assert slots.environment("") == {"OMP_NUM_THREADS": "4", "CUDA_VISIBLE_DEVICES": ""}


def test_only_many_stale_modules_are_worth_a_preloaded_process() -> None:
    stages = {str(number): Stage(str(number), frozenset(), False, is_module=number % 2 == 0) for number in range(40)}
    modules = [name for name, stage in stages.items() if stage.is_module]
    assert has_many_modules(stages, stages)
    assert has_many_modules(stages, modules[:MANY_MODULES])
    assert not has_many_modules(stages, modules[1:MANY_MODULES])
    assert not has_many_modules(stages, set(stages) - set(modules))


@pytest.mark.parametrize(
    ("stale_for_good", "nothing_ran_upstream", "known"),
    [
        (True, True, False),
        (True, False, False),
        (False, True, None),  # stages upstream may have restored its dependencies
        (False, False, None),
        (None, True, True),
        (None, False, None),  # stages that ran upstream may have changed its dependencies
    ],
)
def test_what_is_known_of_a_stage_without_asking_dvc(
    stale_for_good: bool | None, nothing_ran_upstream: bool, known: bool | None
) -> None:
    assert _is_up_to_date(stale_for_good, nothing_ran_upstream) is known


@pytest.mark.slow
def test_a_stage_is_cached_only_if_what_ran_before_it_changed_nothing(prefect_server: str, project: Path) -> None:
    def outcomes() -> dict[str, str]:
        assert reproduce([], 1, return_state=True).is_completed()
        rows = json.loads(Server(prefect_server).artifact("stages"))
        return {row["stage"]: row["outcome"] for row in rows}

    (project / "dvc.yaml").write_text(CHAIN)
    (project / "text.txt").write_text("a b c\n")
    assert outcomes() == dict.fromkeys(("length", "doubled", "last"), "Completed")
    # Only `length` is stale when the flow begins; the other stages become stale when it has run.
    (project / "text.txt").write_text("a b c d\n")
    assert outcomes() == dict.fromkeys(("length", "doubled", "last"), "Completed")
    assert (project / "last.txt").read_text() == "4\n"
    # With another text of the same length, `length` runs, and no stage after it.
    (project / "text.txt").write_text("d c b a\n")
    assert outcomes() == {"length": "Completed", "doubled": "Cached", "last": "Cached"}


@pytest.mark.slow
def test_a_failed_stage_fails_the_command(
    prefect_server: str, project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (project / "dvc.yaml").write_text("stages: {broken: {cmd: exit 3, outs: [never]}}\n")
    with pytest.raises(SystemExit) as ended:
        main(["--cpu-slots", "1"])
    assert ended.value.code == 1
    assert "Failed: stage broken failed with exit code 3" in capfd.readouterr().err

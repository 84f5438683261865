import os

import pytest

from flows.stages import Stage
from flows.walk import Slots


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

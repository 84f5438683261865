import logging

import pytest
import torch

from model.training import clock as clock_module
from model.training.clock import Clock


@pytest.fixture
def now(monkeypatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: now[0])
    return now


def slow(now: list[float], seconds: float):
    """Yield forever, each time after `seconds` seconds."""
    while True:
        now[0] += seconds
        yield None


def test_it_tells_rate_and_time_left(now, caplog):
    caplog.set_level(logging.INFO, logger="clicksight")
    clock = Clock("run, phase joint", 10, 100, 2)
    batches = slow(now, 0.75)
    for _ in range(5):
        clock.waiting(batches)
        now[0] += 2.25
        clock.step(64, 0, torch.tensor(1.25))
    expected = (
        "run, phase joint: epoch 1 of 10, loss 1.2500, 21 images/s, 25 % of the time waiting for data, "
        "4 min 48 s left in this phase, later phases: 2"
    )
    assert [record.message for record in caplog.records] == [expected]


def test_what_may_end_early_has_a_most(now, caplog):
    caplog.set_level(logging.INFO, logger="clicksight")
    clock = Clock("run", 10, 100, 0, may_end_early=True)
    now[0] += 12.0
    clock.step(64, 0, torch.tensor(1.25))
    assert caplog.messages[0].endswith("of the time waiting for data, at most 19 min 48 s left in this phase")


def test_rates_are_those_of_an_epoch(now):
    clock = Clock("run", 2, 6, 0)
    clock.waiting(slow(now, 5.0))
    clock.step(10, 0, torch.tensor(1.0))
    clock.begin_epoch()
    batches = slow(now, 0.5)
    for _ in range(3):
        clock.waiting(batches)
        now[0] += 1.5
        clock.step(8, 1, torch.tensor(1.0))
    assert clock.rates() == {
        "speed/images per second": pytest.approx(4.0),
        "speed/share of time waiting for data": pytest.approx(0.25),
    }


def test_on_a_terminal_there_is_a_bar_and_no_line(now, caplog, capsys, monkeypatch):
    caplog.set_level(logging.INFO, logger="clicksight")
    monkeypatch.setattr(clock_module.sys.stderr, "isatty", lambda: True)
    clock = Clock("run, phase joint", 3, 4, 0)
    for _ in clock.bar(range(4), 1, 4):
        now[0] += 20
        clock.step(8, 1, torch.tensor(1.0))
    assert not caplog.records
    assert "run, phase joint, epoch 2 of 3: " in capsys.readouterr().err


def test_elsewhere_there_is_no_bar(now, capsys):
    assert list(Clock("run", 3, 4, 0).bar(range(4), 1, 4)) == [0, 1, 2, 3]
    assert capsys.readouterr().err == ""

from collections.abc import Iterator

import pytest

from base.console import UserError
from pipelines.beam.flink import patience
from pipelines.beam.flink.patience import LostError, Patience, Watch

PATIENCE = Patience(answer_s=100, start_s=20, lost_s=30, slots_s=40, stalled_s=50, end_s=1)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


def no_answer(watch: Watch, is_unknown: bool = False) -> None:
    watch.no_answer("http://there", is_unknown, OSError("refused"))


def test_a_silent_cluster_is_an_error_after_a_while_but_not_one_that_answers_in_between(clock: Clock) -> None:
    watch = Watch(PATIENCE)
    for _ in range(3):
        clock.now += 100
        no_answer(watch)
        watch.answered()
    clock.now += 101
    with pytest.raises(UserError, match=r"^the cluster at http://there has not answered for 100 s \(refused\); look"):
        no_answer(watch)


def test_a_job_is_lost_when_the_cluster_has_long_answered_that_it_is_unknown(clock: Clock) -> None:
    watch = Watch(PATIENCE)
    clock.now += 30
    no_answer(watch, is_unknown=True)
    clock.now += 1
    with pytest.raises(LostError, match="does not know the job any more"):
        no_answer(watch, is_unknown=True)


def test_a_job_that_does_not_appear_is_lost(clock: Clock) -> None:
    watch = Watch(PATIENCE)
    clock.now += 20
    watch.not_there("http://there")
    clock.now += 1
    with pytest.raises(LostError, match="the job did not appear on http://there in 20 s"):
        watch.not_there("http://there")


def test_missing_slots_are_an_error_after_a_while(clock: Clock) -> None:
    watch = Watch(PATIENCE)
    clock.now += 40
    watch.has_slots(False, "1 of the 2 slots that the job needs")
    watch.has_slots(True, "2 of the 2 slots that the job needs")
    clock.now += 40
    watch.has_slots(False, "1 of the 2 slots that the job needs")
    clock.now += 1
    with pytest.raises(UserError, match="the cluster has had 1 of the 2 slots that the job needs for 40 s: start its"):
        watch.has_slots(False, "1 of the 2 slots that the job needs")


def test_a_job_in_which_nothing_happens_is_an_error_after_a_while(clock: Clock) -> None:
    watch = Watch(PATIENCE)
    for progress in ("a", "b", "a", "a"):
        watch.progress(progress)
        clock.now += 25
    watch.progress("a")
    clock.now += 1
    with pytest.raises(UserError, match="nothing has happened in the job for 50 s, so it was cancelled"):
        watch.progress("a")


def test_the_time_in_which_the_cluster_restarts_counts_neither_for_slots_nor_for_progress(clock: Clock) -> None:
    watch = Watch(PATIENCE)
    watch.progress("a")
    clock.now += 60
    no_answer(watch)
    watch.answered()
    watch.has_slots(False, "none")
    watch.progress("a")

"""Steps that work on several elements at a time."""

import signal
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from base.artifacts import whole_directory, whole_file
from base.console import UserError
from base.pool import processes
from pipelines.beam import concurrency
from pipelines.beam.concurrency import concurrently
from pipelines.beam.runner import pipeline
from pipelines.beam.steps import seconds_by_step


def times(number: int, factor: int, addends: list[int]) -> list[int]:
    return [number * factor + addend for addend in addends]


def test_is_a_flat_map_with_arguments_and_side_inputs():
    with pipeline() as job:
        addends = job | "Addends" >> beam.Create([[1, 2]])
        found = job | beam.Create(range(50)) | concurrently("times", times, 10, beam.pvalue.AsSingleton(addends))
        assert_that(found, equal_to([10 * number + addend for number in range(50) for addend in (1, 2)]))
    assert list(seconds_by_step(job.result)) == ["times"]


def test_results_keep_the_order_of_the_elements():
    with pipeline() as job:
        found = job | beam.Create([list(range(99))]) | beam.FlatMap(list) | concurrently("times", times, 1, [0])
        gathered = found | beam.combiners.ToList()
        assert_that(gathered, equal_to([list(range(99))]))


def tagged(number: int) -> list[beam.pvalue.TaggedOutput]:
    return [beam.pvalue.TaggedOutput("odd" if number % 2 else "even", number)]


def test_tagged_outputs():
    with pipeline() as job:
        parts = job | beam.Create(range(9)) | concurrently("tagged", tagged).with_outputs("odd", "even")
        assert_that(parts.odd, equal_to([1, 3, 5, 7]), label="odd")
        assert_that(parts.even, equal_to([0, 2, 4, 6, 8]), label="even")


MEETING = threading.Barrier(2)


def meet(number: int) -> list[int]:
    MEETING.wait(timeout=20)  # raises if the other element is not being worked on at the same time
    return [number]


def test_two_elements_are_under_way_at_once(monkeypatch):
    monkeypatch.setattr(concurrency, "CORES", 2)
    concurrency._threads.cache_clear()
    with pipeline() as job:
        assert_that(job | beam.Create([4, 7]) | concurrently("meet", meet), equal_to([4, 7]))
    concurrency._threads.cache_clear()


def refuse(number: int) -> list[int]:
    if number == 3:
        raise UserError("three is refused")
    return [number]


def test_an_error_in_a_thread_ends_the_job():
    with pytest.raises(UserError, match="three is refused"), pipeline() as job:
        _ = job | beam.Create(range(9)) | concurrently("refuse", refuse)


def fail_or_write(name: str, folder: Path) -> list[str]:
    if name == "fails":
        time.sleep(0.1)  # by now the others have begun
        raise UserError("it fails")
    time.sleep(1)
    with whole_file(folder / "sub" / name) as path:
        path.write_text(name)
    return [name]


def test_what_has_begun_ends_before_a_failed_job_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(UserError, match="it fails"),
        whole_directory(tmp_path / "out") as folder,
        pipeline() as job,
    ):
        _ = job | beam.Create(["fails", "1", "2", "3"]) | concurrently("write", fail_or_write, folder)
    started = time.monotonic()
    while time.monotonic() < started + 1.5:  # by then any running call would have ended
        assert list(tmp_path.iterdir()) == []
        time.sleep(0.1)


def with_a_killed_process(number: int) -> list[int]:
    return [processes().submit(signal.raise_signal, signal.SIGKILL).result()]


@pytest.mark.slow
def test_the_death_of_a_helping_process_is_a_user_error(caplog):
    message = r"^a process of this command has died; probably it was killed because the memory ran out"
    with pytest.raises(UserError, match=message), pipeline() as job:
        _ = job | beam.Create([1]) | concurrently("kill", with_a_killed_process)
    assert "Traceback" not in caplog.text

"""Seconds by step."""

import time

import apache_beam as beam

from pipelines.runner import pipeline
from pipelines.steps import seconds_by_step, timed


def nap(seconds: float) -> None:
    with timed("nap"):
        time.sleep(seconds)


def test_seconds_add_up_over_elements():
    with pipeline() as job:
        _ = job | beam.Create([0.02, 0.03]) | beam.Map(nap)
    seconds = seconds_by_step(job.result)
    assert list(seconds) == ["nap"]
    assert seconds["nap"] >= 0.05

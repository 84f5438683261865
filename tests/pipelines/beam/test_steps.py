"""Seconds by step of a job."""

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines.beam.runner import pipeline
from pipelines.beam.steps import add_microseconds, seconds_by_step


def test_seconds_add_up_over_elements():
    with pipeline() as job:
        _ = job | beam.Create([20_000, 30_400]) | beam.Map(lambda time: add_microseconds("nap", time))
    assert seconds_by_step(job.result) == {"nap": 0.05}


class WithoutMetrics(PipelineResult):
    def __init__(self):
        super().__init__(PipelineState.DONE)


def test_a_runner_without_metrics_has_no_seconds():
    assert seconds_by_step(WithoutMetrics()) == {}

"""What is stored is what Beam itself would answer, and values of options stay shared."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.transforms import core, userstate
from apache_beam.transforms.userstate import CombiningValueStateSpec

from pipelines.beam import remembered


class _Step(beam.DoFn):
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def process(self, element: int, power: int = 2, window: object = beam.DoFn.WindowParam):
        yield self.factor * element**power


def free_function(element: int, power: int = 3) -> int:
    return element**power


METHODS = [
    _Step(1).process,
    _Step(2).start_bundle,
    core.CallableWrapperDoFn(free_function).process,
    core.CallableWrapperDoFn(lambda x, y=7: [x, y]).process,
    free_function,
    "text".upper,
]


@pytest.mark.parametrize("method", METHODS, ids=range(len(METHODS)))
def test_arguments_are_those_that_beam_finds(method) -> None:
    assert core.get_function_args_defaults is remembered.arguments_of
    for _ in range(2):
        assert remembered.arguments_of(method) == remembered._inspect(method)


def test_an_answer_that_is_changed_stays_as_it_was() -> None:
    names, defaults = remembered.arguments_of(_Step(1).process)
    names.clear()
    defaults.clear()
    assert remembered.arguments_of(_Step(3).process) == remembered._inspect(_Step(3).process)


def test_views_share_values_and_options_do_not() -> None:
    one, other = (PipelineOptions(["--streaming", f"--direct_num_workers={number}"]) for number in (3, 4))
    assert [options.view_as(DirectOptions).direct_num_workers for options in (one, other)] == [3, 4]
    one.view_as(StandardOptions).streaming = False
    assert not one.view_as(DirectOptions).view_as(StandardOptions).streaming
    assert other.view_as(StandardOptions).streaming


class _Counting(beam.DoFn):
    ASKED = beam.DoFn.StateParam(CombiningValueStateSpec("total", sum))

    def process(self, element: tuple[str, int], total=ASKED):
        total.add(element[1])
        yield total.read()


def test_states_are_those_that_beam_finds() -> None:
    for step in (_Counting(), _Step(1), core.CallableWrapperDoFn(free_function)):
        for _ in range(2):
            found = userstate.get_dofn_specs(step)
            assert found == remembered._specs(step)
            found[0].clear()
    assert userstate.is_stateful_dofn(_Counting())
    assert not userstate.is_stateful_dofn(_Step(1))

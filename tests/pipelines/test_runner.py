import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from pipelines.console import UserError
from pipelines.runner import pipeline


@pytest.mark.parametrize("arguments", [[], ["--runner", "DirectRunner"], ["--runner=FnApiRunner"]])
def test_the_in_process_runner_is_named_so_that_none_is_downloaded(arguments: list[str]) -> None:
    with pipeline(arguments) as p:
        assert type(p.runner) is FnApiRunner
        assert_that(p | beam.Create([3, 1]) | beam.Map(lambda number: number + 1), equal_to([2, 4]))


def test_other_runners_come_by_beams_own_options() -> None:
    p = pipeline(["--runner", "FlinkRunner", "--flink_master", "localhost:8081"])
    assert type(p.runner).__name__ == "FlinkRunner"
    assert p.options.get_all_options()["flink_master"] == "localhost:8081"


def test_a_mistyped_option_is_an_error() -> None:
    with pytest.raises(UserError, match="unknown options: ouptut, top_wrods; --help"):
        pipeline(["--direct_num_workers", "1", "--top_wrods", "3", "--ouptut=x"])

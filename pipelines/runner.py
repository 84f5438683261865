"""How Beam pipelines are run: in this process by default, elsewhere by Beam's own options.

``DirectRunner`` would first try to download another runner's binary, so ``FnApiRunner`` is named. Any Beam option may
follow a command's own options, as in ``--runner FlinkRunner --flink_master localhost:8081``.
"""

from collections.abc import Sequence

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner


def pipeline(beam_arguments: Sequence[str] = ()) -> Pipeline:
    """Return a pipeline on the runner that the Beam arguments name; without one, the in-process runner.

    Args:
        beam_arguments: what a command's own parser left over, in Beam's spelling.
    """
    options = PipelineOptions(list(beam_arguments))
    if options.view_as(StandardOptions).runner in (None, "FnApiRunner", "DirectRunner"):
        options.view_as(StandardOptions).runner = None
        return Pipeline(runner=FnApiRunner(), options=options)
    return Pipeline(options=options)

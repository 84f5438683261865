"""How Beam pipelines are run: in this process by default, elsewhere by Beam's own options.

``DirectRunner`` would first try to download another runner's binary, so ``FnApiRunner`` is named. Any Beam option may
follow a command's own options, as in ``--runner FlinkRunner --flink_master localhost:8081``.
"""

from collections.abc import Sequence

from apache_beam import Pipeline
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.console import UserError


def pipeline(beam_arguments: Sequence[str] = ()) -> Pipeline:
    """Return a pipeline on the runner that the Beam arguments name; without one, the in-process runner.

    Args:
        beam_arguments: what a command's own parser left over, in Beam's spelling.

    Raises:
        UserError: an option that neither the command nor Beam knows, which Beam alone would pass over. Other runners
            bring options of their own, so with them Beam is the judge.
    """
    options = PipelineOptions(list(beam_arguments))
    if options.view_as(StandardOptions).runner in (None, "FnApiRunner", "DirectRunner"):
        unknown = set(options.get_all_options(retain_unknown_options=True)) - set(options.get_all_options())
        if unknown:
            names = ", ".join(sorted(unknown))
            raise UserError(f"unknown options: {names}; --help lists the command's own, all others are Beam's")
        options.view_as(StandardOptions).runner = None
        return Pipeline(runner=FnApiRunner(), options=options)
    return Pipeline(options=options)

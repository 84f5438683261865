"""Run Beam pipelines: in this process by default, or on the runner that Beam's own options name.

``DirectRunner`` would first try to download another runner's binary, so this module names ``FnApiRunner``. Any Beam
option may follow a command's own options, as in ``--runner FlinkRunner --parallelism 4`` (docs/flink.md).
"""

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from apache_beam import Pipeline
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from base.console import USER_ERRORS, UserError
from base.proxies import bypass_for_this_machine
from base.stores import Location, StorePath
from pipelines.beam import remembered, workers  # noqa: F401, both replace functions of Beam's
from pipelines.beam.flink.settings import JOB_SERVER
from pipelines.beam.quiet import STEP, quiet_about_user_errors, user_error_in

CLUSTER = "cluster"  # the value of --runner for the cluster of `make cluster`

bypass_for_this_machine()  # several workers, and a job server, answer on this machine; gRPC would ask a proxy for them


def pipeline(beam_arguments: Sequence[str] = ()) -> Pipeline:
    """Return a pipeline on the runner that the Beam arguments name; without one, the in-process runner.

    User errors of its workers leave the ``with`` block as :class:`UserError`, whatever type the runner turns them into.

    Args:
        beam_arguments: the arguments that the command's own parser left over, in Beam's spelling.

    Raises:
        UserError: a value belongs to no option, or neither the command nor Beam has an option: Beam alone would ignore
            both. (Other runners add their own options, so with them Beam checks the options and only warns.) Or Beam
            lacks the runner, or Flink has no job server.
    """
    options = PipelineOptions(list(beam_arguments))
    standard = options.view_as(StandardOptions)
    parsers: list[argparse.ArgumentParser] = []  # gets Beam's parser, to which Beam then adds the unknown options
    every = options.get_all_options(retain_unknown_options=True, add_extra_args_fn=parsers.append)
    if strays := [text for text in parsers[0].parse_known_args(list(beam_arguments))[1] if text != "--"]:
        raise UserError(f"{' '.join(strays)}: belongs to no option; put it after the option that it is for; see --help")
    if is_in_process(beam_arguments):
        unknown = set(every) - set(options.get_all_options())
        if unknown:
            names = ", ".join(sorted(unknown))
            raise UserError(f"unknown options: {names}; --help lists the command's options, all others are Beam's")
        standard.runner = None
        return _Job(runner=FnApiRunner(), options=options)
    if standard.runner.lower() == CLUSTER:
        # Only here, because other commands need not wait for its libraries.
        from pipelines.beam.flink.runner import ClusterRunner, set_defaults

        set_defaults(options)
        return _Job(runner=ClusterRunner(), options=options)
    if standard.runner.lower() == "flinkrunner":
        _find_job_server(options)
    try:
        return _Job(options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f"--runner {standard.runner}: {error}") from error


def is_in_process(beam_arguments: Sequence[str]) -> bool:
    """Return True if :func:`pipeline` takes the in-process runner, whose workers share this machine's files."""
    runner = PipelineOptions(list(beam_arguments)).view_as(StandardOptions).runner
    return runner is None or runner.lower() in ("fnapirunner", "directrunner")


def check_places(beam_arguments: Sequence[str], paths: Sequence[Location]) -> None:
    """Check that the workers of the runner that the Beam arguments name can reach some paths.

    Raises:
        UserError: the runner is Dataflow, whose workers see no disk of this machine, and a path is on one.
    """
    runner = PipelineOptions(list(beam_arguments)).view_as(StandardOptions).runner or ""
    local = [str(path) for path in paths if not isinstance(path, StorePath)]
    if local and runner.rpartition(".")[2].lower() == "dataflowrunner":
        raise UserError(
            f"{local[0]}: Dataflow's workers can't reach this machine's disks; use gs:// for inputs and output"
        )


def _find_job_server(options: PipelineOptions) -> None:
    """Set the job server of ``make test-flink`` if the options name none; Beam would download one.

    Raises:
        UserError: there is no job server, or no Java to start one.
    """
    if options.view_as(PortableOptions).job_endpoint:
        return
    flink = options.view_as(FlinkRunnerOptions)
    if flink.flink_job_server_jar is None:
        if not JOB_SERVER.is_file():
            raise UserError(
                f"--runner FlinkRunner needs a job server, but {JOB_SERVER} does not exist: run `make test-flink` to "
                "download one, or give --flink_job_server_jar JAR, or --job_endpoint HOST:PORT of a running one"
            )
        flink.flink_job_server_jar = str(JOB_SERVER)
    elif "://" not in flink.flink_job_server_jar and not Path(flink.flink_job_server_jar).is_file():
        raise UserError(f"--flink_job_server_jar {flink.flink_job_server_jar}: no such file")
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise UserError(f"{java}: command not found; Flink's job server needs Java 11 or newer")
    # Suppress the messages that the server starts, stops, or starts again (as where another program took its port).
    # Beam tries three times and raises the last attempt's error.
    logging.getLogger("apache_beam.utils.subprocess_server").setLevel(logging.CRITICAL)


class _Job(Pipeline):
    """A pipeline that raises its workers' user errors as :class:`UserError` and keeps them out of the log."""

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            with quiet_about_user_errors():
                super().__exit__(kind, error, trace)
        except USER_ERRORS as raised:
            raise UserError(str(raised).rpartition(STEP)[0] or str(raised)) from raised
        except grpc.RpcError as raised:
            raise UserError(workers.ENDED) from raised
        except RuntimeError as raised:
            user_error = user_error_in(str(raised))
            if user_error is None:
                raise
            raise user_error from raised

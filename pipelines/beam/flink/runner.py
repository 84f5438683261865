"""Beam's runner for a Flink cluster whose faults must not hurt a job: ``--runner cluster``.

Beam's own runner for Flink asks its job server how a job goes. This one asks the cluster itself, over HTTP:

- When a process of the cluster ends, Flink starts the job's lost parts again. Each such start is a line in the log.
- A user error in a worker, such as a vanished input or a full disk, ends the job at once; Flink alone would try ten
  times.
- A job that the cluster has lost is submitted again, at most twice.
- A cluster that does not answer, or a job in which nothing happens any more, is an error after some minutes.

Whatever ends the command, except SIGKILL, cancels the job.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from apache_beam.metrics.metric import MetricResults
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableMetrics, PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineState
from apache_beam.transforms import environments
from google.protobuf import json_format

from base.console import UserError, log
from pipelines.beam.flink.causes import TRACEBACK, failure, reason_of, traceback_in
from pipelines.beam.flink.patience import PATIENCE, LostError, Patience, Watch
from pipelines.beam.flink.rest import ENDED, Flink
from pipelines.beam.flink.settings import FOLDER, JOB_SERVER, KEEP_WORKERS_MS
from pipelines.beam.flink.submission import Submission
from pipelines.beam.flink.supervisor import Place
from pipelines.beam.flink.worker import COMMANDS_FOLDER
from pipelines.beam.quiet import user_error_in

ROOT = Path(__file__).parents[3]
LOOK_S = 0.5  # seconds between two questions to the cluster
MOST_SUBMISSIONS = 3


class ClusterRunner(PortableRunner):
    """Runs a pipeline on the cluster of `make cluster`, or on that of ``--flink_master HOST:PORT``."""

    def default_environment(self, options: PipelineOptions) -> environments.Environment:
        """Return where workers run: in processes that a TaskManager starts, unless the options name another place."""
        portable = options.view_as(PortableOptions)
        if portable.environment_type:
            return super().default_environment(options)
        variables = {
            "CLICKSIGHT_PYTHON": sys.executable,
            "CLICKSIGHT_ROOT": str(ROOT),
            COMMANDS_FOLDER: os.getcwd(),  # noqa: PTH109 - a text
        }
        command = str(Path(__file__).with_name("worker.sh"))
        return environments.ProcessEnvironment(
            command, env=variables, capabilities=environments.python_sdk_capabilities()
        )

    def run_portable_pipeline(self, pipeline: beam_runner_api_pb2.Pipeline, options: PipelineOptions) -> PipelineResult:
        """Submit a pipeline; return its result, which waits for it."""
        for environment in pipeline.components.environments.values():
            del environment.dependencies[:]  # workers have all packages installed; nothing is sent to them
        flink, java = options.view_as(FlinkRunnerOptions), options.view_as(JobServerOptions).job_server_java_launcher
        options.view_as(StandardOptions).runner = None  # it is no class of Java
        job, address = self._optimize_pipeline(pipeline, options), flink.flink_master

        def submit() -> Submission:
            name = options.view_as(GoogleCloudOptions).job_name = f"clicksight-{uuid.uuid4().hex}"
            flink.flink_master = "[auto]"  # that of Flink's command line
            encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options(retain_unknown_options=True))
            return Submission(
                Path(flink.flink_job_server_jar), java, address, name, job, json_format.MessageToDict(encoded)
            )

        return ClusterResult(Flink(address), submit, flink.parallelism)


def set_defaults(options: PipelineOptions) -> None:
    """Set the options that the user left out: the running cluster's address, its slots, and the job server's jar.

    Raises:
        UserError: no cluster runs here and none is named, or there is no jar or no Java, or an option can't have an
            effect.
    """
    flink, setup = options.view_as(FlinkRunnerOptions), options.view_as(SetupOptions)
    portable = options.view_as(PortableOptions)
    for name in ("requirements_file", "setup_file", "extra_packages", "save_main_session"):
        if getattr(setup, name):
            raise UserError(f"--{name}: has no effect with --runner cluster; install all packages where workers run")
    if flink.flink_master in ("[auto]", "[local]"):
        state = Place(FOLDER).running()
        if state is None or "rest" not in state:
            what = "no cluster runs here" if state is None else "the cluster is about to start or stop"
            raise UserError(
                f"--runner cluster: {what}; start one with `make cluster`, or give --flink_master HOST:PORT"
            )
        flink.flink_master = state["rest"]
        if flink.parallelism < 1:
            flink.parallelism = state["parallelism"]
    elif flink.parallelism < 1:
        raise UserError("--flink_master needs --parallelism N: how many tasks at a time, at most the cluster's slots")
    if int(portable.environment_cache_millis) == 0:
        portable.environment_cache_millis = KEEP_WORKERS_MS
    if flink.flink_job_server_jar is None:
        flink.flink_job_server_jar = str(JOB_SERVER)
    if not Path(flink.flink_job_server_jar).is_file():
        raise UserError(f"{flink.flink_job_server_jar}: no such file; `make cluster` downloads it")
    java = options.view_as(JobServerOptions).job_server_java_launcher
    if shutil.which(java) is None:
        raise UserError(f"{java}: command not found; Flink needs Java 11 or newer")


class ClusterResult(PipelineResult):
    """A job that was submitted to a cluster."""

    def __init__(
        self, flink: Flink, submit: Callable[[], Submission], parallelism: int, patience: Patience = PATIENCE
    ) -> None:
        """Submit the job.

        Args:
            flink: the cluster.
            submit: submits the job, each time under a new name.
            parallelism: the number of slots that the job needs.
            patience: how long to wait for what.
        """
        super().__init__(PipelineState.RUNNING)
        self.flink, self._submit, self.parallelism, self.patience = flink, submit, parallelism, patience
        self._submission = submit()
        self._job = ""  # its id
        self._causes: list[str] = []  # why parts of the job had to start again
        self._metrics: MetricResults | None = None

    def wait_until_finish(self, duration: int | None = None) -> str:
        """Wait until the job has ended; return its state.

        Raises:
            UserError: the user can mend what ended the job.
            RuntimeError: the job failed for another reason.
        """
        try:
            with _sigterm_as_exit():
                self._follow_or_submit_again()
        except BaseException:
            self.cancel()
            raise
        finally:
            self._submission.close()
        self._metrics = self._read_metrics()
        self._state = PipelineState.DONE
        return self._state

    def cancel(self) -> None:
        """Cancel the job, and wait until it has ended."""
        self._submission.close()
        deadline = time.monotonic() + self.patience.end_s
        while time.monotonic() < deadline:
            try:
                job = self._job or self.flink.job_named(self._submission.name)
                if job is None or self.flink.job(job)["state"] in ENDED:
                    break
                self.flink.cancel(job)
            except httpx.HTTPStatusError as error:
                if error.response.status_code == httpx.codes.NOT_FOUND:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(LOOK_S)
        self._state = PipelineState.CANCELLED

    def metrics(self) -> MetricResults:
        """Return the job's counters.

        Raises:
            NotImplementedError: the cluster had forgotten them when the job ended.
        """
        if self._metrics is None:
            raise NotImplementedError("the cluster has no counters of this job")
        return self._metrics

    def _follow_or_submit_again(self) -> None:
        for number in range(1, MOST_SUBMISSIONS + 1):
            try:
                return self._follow()
            except LostError as error:
                if number == MOST_SUBMISSIONS:
                    raise UserError(f"{error}, {number} times") from error
                log.warning("%s; it is submitted again", error)
                self.cancel()
                self._job, self._causes, self._submission = "", [], self._submit()
        return None

    def _follow(self) -> None:
        """Return when the job has ended well.

        Raises:
            LostError, UserError, RuntimeError: it has not.
        """
        watch = Watch(self.patience)
        while True:
            is_submitted = self._submission.has_ended()  # asked first: if it has, the cluster must know the job
            try:
                if not self._job:
                    self._job = self.flink.job_named(self._submission.name) or ""
                job = self.flink.job(self._job) if self._job else None
                found = self.flink.causes(self._job) if self._job else []
                slots = self.flink.overview()["slots-total"]
            except httpx.HTTPError as error:
                is_unknown = isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 404
                watch.no_answer(self.flink.address, is_unknown, error)
                time.sleep(LOOK_S)
                continue
            watch.answered()
            watch.has_slots(slots >= self.parallelism, f"{slots} of the {self.parallelism} slots that the job needs")
            if job is None:
                if is_submitted:
                    reason = self._submission.reason()
                    raise LostError(f"the job could not be submitted to {self.flink.address} ({reason})")
                watch.not_there(self.flink.address)
                time.sleep(LOOK_S)
                continue
            self._check_causes(found, job["state"])
            if job["state"] == "FINISHED":
                return
            if job["state"] == "CANCELED":
                raise UserError(f"the job was cancelled on {self.flink.address}")
            watch.progress(_progress_of(job))
            time.sleep(LOOK_S)

    def _check_causes(self, found: list[str], state: str) -> None:
        """Raise a worker's user error, or why the job has failed; log each other cause of a new start once."""
        for cause in reversed(found):
            if (error := user_error_in(cause)) is not None:
                raise error
            if cause in self._causes:
                continue
            # The same error of a worker's code a second time won't go away; a broken connection has another text.
            is_again = TRACEBACK in cause and traceback_in(cause) in map(traceback_in, self._causes)
            self._causes.append(cause)
            if is_again:
                raise RuntimeError(traceback_in(cause))
            if state != "FAILED":
                log.warning("a part of the job starts again: %s", reason_of(cause))
        if state == "FAILED":
            raise failure(self._causes[-1] if self._causes else "", self.flink.address)

    def _read_metrics(self) -> MetricResults | None:
        try:
            text = self.flink.counters(self._job)
        except httpx.HTTPError:
            return None
        if text is None:
            return None
        answer = json_format.Parse(text, beam_job_api_pb2.GetJobMetricsResponse(), ignore_unknown_fields=True)
        return PortableMetrics(answer)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM end the block with SystemExit, so that the job is cancelled; only possible in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _progress_of(job: dict[str, Any]) -> object:
    """Return something that changes whenever a step of the job reads or writes a record, begins or ends."""
    numbers = ("read-bytes", "write-bytes", "read-records", "write-records")
    steps = [(step["status"], *(step["metrics"].get(name) for name in numbers)) for step in job["vertices"]]
    return json.dumps([job["state"], job.get("status-counts"), steps])

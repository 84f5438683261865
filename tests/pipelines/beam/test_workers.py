import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import sdk_worker

from base.console import UserError
from pipelines.beam.runner import pipeline
from pipelines.beam.workers import ENDED

ROOT = Path(__file__).parents[3]
THREADS = ["--direct_num_workers", "2", "--direct_running_mode", "multi_threading"]
PROCESSES = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]


def refuse(number: int) -> int:
    raise UserError(f"number {number} is refused")


def kill(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def ends(job, seconds: float = 180) -> BaseException | None:
    """Run a job in a thread, which must end in time; return its error."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            job()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "the job waits for ever"
    return raised[0] if raised else None


def run_job(arguments: list[str], function) -> None:
    with pipeline(arguments) as job:
        _ = job | beam.Create(range(8), reshuffle=False) | beam.Map(function)


@pytest.mark.slow
def test_a_worker_that_connects_after_the_job_has_failed_is_not_waited_for(monkeypatch) -> None:
    run, number = sdk_worker.SdkHarness.run, itertools.count()

    def late_second(harness: sdk_worker.SdkHarness) -> None:
        if next(number) % 2:
            time.sleep(2)
        run(harness)

    monkeypatch.setattr(sdk_worker.SdkHarness, "run", late_second)
    for _ in range(
        2
    ):  # a counter of Beam decides which worker gets the first element, so in one of the jobs the late one
        error = ends(lambda: run_job(THREADS, refuse))
        assert isinstance(error, UserError)
        assert str(error) == "number 0 is refused"


@pytest.mark.slow
def test_the_end_of_a_workers_thread_ends_the_job(monkeypatch, capsys) -> None:
    def broken(harness: sdk_worker.SdkHarness) -> None:
        raise MemoryError("no more of it")

    monkeypatch.setattr(sdk_worker.SdkHarness, "run", broken)
    error = ends(lambda: run_job(THREADS, str))
    assert isinstance(error, UserError)
    assert str(error).startswith(f"{ENDED} (no more of it); if it was killed, the memory ran out: use fewer workers")
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_worker_process_ends_the_job(caplog) -> None:
    error = ends(lambda: run_job(PROCESSES, kill))
    assert isinstance(error, UserError)
    assert str(error).startswith(ENDED)
    assert "Traceback" not in caplog.text


@pytest.mark.slow
def test_a_user_error_of_a_worker_process_is_printed_nowhere(capfd) -> None:
    error = ends(lambda: run_job(PROCESSES, refuse))
    assert isinstance(error, UserError)
    assert str(error).endswith(" is refused")
    assert "refused" not in "".join(capfd.readouterr())


def test_a_worker_that_connects_to_a_closed_job_gets_no_work() -> None:
    connection = worker_handlers.ControlConnection()
    waiting = connection.push(worker_handlers.beam_fn_api_pb2.InstructionRequest())
    connection.close()
    connection.set_input(iter(()))
    assert connection.get_req() is worker_handlers.BeamFnControlServicer._DONE_MARKER
    assert not waiting.is_done()


def test_requests_to_a_worker_that_has_ended_are_answered_with_its_error() -> None:
    connection = worker_handlers.ControlConnection()
    before = connection.push(worker_handlers.beam_fn_api_pb2.InstructionRequest())
    connection.fail("killed")
    after = connection.push(worker_handlers.beam_fn_api_pb2.InstructionRequest(instruction_id="mine"))
    assert before.get(timeout=0).error == after.get(timeout=0).error == "killed"


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_workers_are_reached_past_any_proxy(proxy: str) -> None:
    code = f"""
import apache_beam as beam
from pipelines.beam.runner import pipeline
with pipeline({THREADS}) as job:
    job | beam.Create(range(8)) | beam.Map(str)
"""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"), proxy)
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**environment, **proxies}, timeout=180, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

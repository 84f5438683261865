"""What the in-process runner of Beam 2.77 lacks where it has several workers: it must end when one of them ends early.

Beam's runner waits for ever for the answers of a worker that was killed. It also waits for ever, after a failed job,
for a worker that connects only when the job is being closed: nothing stops such a worker. Here the first is an error,
and the second ends at once. Importing this module replaces Beam's own classes.
"""

import queue
import shlex
import sys
import threading
import time
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import grpc
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers

# An error of the job begins with this text if a worker has ended before it had answered all requests.
ENDED = "a worker of Beam has ended before the job"
BROKEN_CHANNEL = "Failed to read inputs in the data plane"  # Beam logs this, with a traceback, when a worker is killed
# Beam's names of the threads that end with a worker.
THREADS = ("run_worker", "beam_control_read", "read_grpc_client_inputs")
END_S = 2  # in which these threads end after a job

# Beam's in-process workers would flush their output once a second, from another thread, even in the middle of an
# element. With several workers, elements then arrive torn. Beam's other workers flush by size only.
worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0

_errors: WeakKeyDictionary[threading.Thread, str] = WeakKeyDictionary()


def note_error(ended: threading.ExceptHookArgs) -> bool:
    """Return True if the thread was one of a worker; its error then becomes a part of the job's error."""
    if ended.thread is None or ended.thread.name not in THREADS:
        return False
    _errors[ended.thread] = str(ended.exc_value)
    return True


def wait_for_threads() -> None:
    """Wait until the threads of a closed job's workers have ended, with their errors, or some seconds have passed."""
    deadline = time.monotonic() + END_S
    for thread in threading.enumerate():
        if thread.name in THREADS:
            thread.join(max(0.0, deadline - time.monotonic()))


class _Connection(worker_handlers.ControlConnection):
    """The runner's connection to a worker; answers requests itself, with an error, once the worker has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._error = ""  # why the worker has ended

    def push(self, request: Any) -> Any:
        """Send a request to the worker; return the future answer."""
        future = super().push(request)
        if self._error and future is not None:
            self._answer(request.instruction_id)
        return future

    def fail(self, error: str) -> None:
        """Answer all requests that have no answer yet, and all later ones, with an error."""
        self._error = error
        for instruction_id in list(self._futures_by_id):
            self._answer(instruction_id)

    def close(self) -> None:
        """Make the worker end, even if it has yet to connect; it then gets none of the waiting requests."""
        if self._state == worker_handlers.BeamFnControlServicer.UNSTARTED_STATE:
            while not self._push_queue.empty():
                try:
                    self._push_queue.get_nowait()
                except queue.Empty:
                    break
            self._push_queue.put(worker_handlers.BeamFnControlServicer._DONE_MARKER)
        super().close()

    def _answer(self, instruction_id: str) -> None:
        future = self._futures_by_id.pop(instruction_id, None)  # the worker may have answered meanwhile
        if future is not None:
            future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=instruction_id, error=self._error))


class _Watched(worker_handlers.GrpcWorkerHandler):
    """A worker whose early end is noticed."""

    def start_worker(self) -> None:
        """Start the worker, and a thread that waits for its end."""
        super().start_worker()
        threading.Thread(target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Close the connections and wait for the worker; if it has ended early, its data channel is broken already."""
        self.control_conn.close()
        with suppress(grpc.RpcError):
            self.data_conn.close()
        self.stop_worker()

    def _watch(self) -> None:
        self.worker_thread.join()
        why = _errors.get(self.worker_thread, "")
        self.control_conn.fail(f"{ENDED} ({why})" if why else ENDED)


@worker_handlers.WorkerHandler.register_environment(python_urns.EMBEDDED_PYTHON_GRPC, bytes)
class _ThreadWorker(_Watched, worker_handlers.EmbeddedGrpcWorkerHandler):
    """A worker in a thread of this process."""


@worker_handlers.WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class _ProcessWorker(_Watched, worker_handlers.SubprocessSdkWorkerHandler):
    """A worker in a process of its own, which runs :mod:`pipelines.beam.worker_process` instead of Beam's program."""

    def __init__(self, beams_program: bytes, *arguments: Any) -> None:
        program = shlex.join([sys.executable, "-m", "pipelines.beam.worker_process"])
        super().__init__(f"exec {program}".encode(), *arguments)  # without `exec` a shell would report a kill


worker_handlers.ControlConnection = _Connection

"""What a Flink cluster answers over HTTP about itself and its jobs."""

from types import TracebackType
from typing import Any

import httpx

from base.proxies import is_this_machine

ANSWER_S = 10  # seconds that the JobManager has for an answer
ENDED = ("FINISHED", "FAILED", "CANCELED")  # states that a job does not leave


class Flink:
    """The HTTP interface of a cluster's JobManager.

    All methods raise ``httpx.HTTPError`` if there is no answer, or an answer of failure: a JobManager that starts
    again first refuses connections, and then answers 503 until it knows its jobs. ``job`` and ``causes`` raise it for a
    job that the cluster doesn't know, with status 404.

    Attributes:
        address: ``http://HOST:PORT``.
    """

    def __init__(self, address: str) -> None:
        self.address = address if "://" in address else f"http://{address}"
        self._client = httpx.Client(
            base_url=self.address, timeout=ANSWER_S, trust_env=not is_this_machine(self.address), follow_redirects=True
        )

    def __enter__(self) -> "Flink":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def overview(self) -> dict[str, Any]:
        """Return the numbers of TaskManagers, of slots and of jobs by state."""
        return self._get("/overview")

    def jobs(self) -> list[dict[str, Any]]:
        """Return id (``jid``), name, state, ``start-time`` in ms, and numbers of ``tasks`` by state, of each job."""
        return list(self._get("/jobs/overview")["jobs"])

    def job_named(self, name: str) -> str | None:
        """Return the id of the job that was started last under a name, or None."""
        jobs = [job for job in self.jobs() if job["name"] == name]
        return str(max(jobs, key=lambda job: int(job["start-time"]))["jid"]) if jobs else None

    def job(self, job: str) -> dict[str, Any]:
        """Return a job's state, the numbers of its tasks by state, and each step's records and bytes."""
        return self._get(f"/jobs/{job}")

    def causes(self, job: str) -> list[str]:
        """Return the stack traces of what made a job, or parts of it, start again or fail; the latest first."""
        history = self._get(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        entries = [one for entry in history for one in (entry, *entry.get("concurrentExceptions", []))]
        return [str(entry.get("stacktrace", "")) for entry in entries]

    def counters(self, job: str) -> str | None:
        """Return what Beam has counted in a job, as the JSON text of a ``GetJobMetricsResponse``; None if nothing."""
        for counter in self._get(f"/jobs/{job}/accumulators")["user-task-accumulators"]:
            if counter["name"] == "__metricscontainers":
                return str(counter["value"])
        return None

    def cancel(self, job: str) -> None:
        """Ask the cluster to end a job; a job that has ended, or is unknown, stays as it is."""
        answer = self._client.patch(f"/jobs/{job}", params={"mode": "cancel"})
        if answer.status_code not in (404, 409):
            answer.raise_for_status()

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._client.get(path)
        answer.raise_for_status()
        content = answer.json()
        if not isinstance(content, dict):
            raise httpx.DecodingError(f"{self.address}{path}: not a mapping", request=answer.request)
        return content

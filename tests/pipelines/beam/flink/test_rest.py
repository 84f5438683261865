import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import ClassVar

import httpx
import pytest

from pipelines.beam.flink.rest import Flink

JOBS = [
    {"jid": "one", "name": "mine", "start-time": 30, "state": "FINISHED"},
    {"jid": "two", "name": "mine", "start-time": 200, "state": "RUNNING"},
    {"jid": "three", "name": "other", "start-time": 900, "state": "RUNNING"},
]
ANSWERS = {
    "/overview": {"slots-total": 3},
    "/jobs/overview": {"jobs": JOBS},
    "/jobs/two": {"state": "RUNNING"},
    "/jobs/two/exceptions": {
        "exceptionHistory": {
            "entries": [
                {"stacktrace": "latest", "concurrentExceptions": [{"stacktrace": "beside it"}]},
                {"stacktrace": "first"},
            ]
        }
    },
    "/jobs/one/exceptions": {},
    "/jobs/two/accumulators": {"user-task-accumulators": [{"name": "__metricscontainers", "value": "{}"}]},
    "/jobs/one/accumulators": {"user-task-accumulators": []},
    "/jobs/list": [],
}


class Handler(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.answer(200 if self.path in ANSWERS else 404, ANSWERS.get(self.path, {}))

    def do_PATCH(self) -> None:
        self.asked.append(self.path)
        self.answer({"/jobs/two": 202, "/jobs/one": 409}.get(self.path.partition("?")[0], 503), {})

    def answer(self, status: int, content: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flink]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # must not be asked for an address of this machine
    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    with Flink(f"127.0.0.1:{server.server_port}") as flink:
        yield flink
    server.shutdown()
    server.server_close()


def test_of_equal_names_the_job_that_was_started_last_is_found(flink: Flink) -> None:
    assert flink.job_named("mine") == "two"
    assert flink.job_named("nobody's") is None


def test_causes_come_with_those_at_the_same_time_the_latest_first(flink: Flink) -> None:
    assert flink.causes("two") == ["latest", "beside it", "first"]
    assert flink.causes("one") == []


def test_state_slots_and_counters(flink: Flink) -> None:
    assert flink.job("two")["state"] == "RUNNING"
    assert flink.overview()["slots-total"] == 3
    assert flink.counters("two") == "{}"
    assert flink.counters("one") is None


def test_an_unknown_job_is_an_error_with_status_404(flink: Flink) -> None:
    with pytest.raises(httpx.HTTPStatusError) as raised:
        flink.job("unknown")
    assert raised.value.response.status_code == 404


def test_an_answer_of_another_form_is_an_error(flink: Flink) -> None:
    with pytest.raises(httpx.HTTPError, match="not a mapping"):
        flink.job("list")


def test_a_job_that_has_ended_may_be_cancelled(flink: Flink) -> None:
    Handler.asked.clear()
    flink.cancel("two")
    flink.cancel("one")
    assert Handler.asked == ["/jobs/two?mode=cancel", "/jobs/one?mode=cancel"]
    with pytest.raises(httpx.HTTPStatusError):
        flink.cancel("three")

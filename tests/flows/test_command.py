"""The exit code and the last lines of a flow that was started from a terminal."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from base.console import UserError
from flows import command, walk
from flows.command import run_here


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @contextlib.contextmanager
    def server() -> Iterator[str]:
        yield "http://127.0.0.1:1"

    monkeypatch.setattr(command, "server", server)
    monkeypatch.setattr(command, "interrupt_on_hangup", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.chdir(tmp_path)


def raising(error: BaseException) -> Callable[[], State[Any]]:
    def flow() -> State[Any]:
        raise error

    return flow


def exit_code(flow: Callable[[], State[Any]], check: Callable[[], object] = lambda: None) -> int | str | None:
    try:
        run_here("reproduce", flow, check)
    except SystemExit as ended:
        return ended.code
    return 0


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (Completed(message="2 stages ran"), 0),
        (Failed(message="stage train failed"), 1),
        (Cancelled(message="it was cancelled"), 1),
    ],
)
def test_the_exit_code_is_that_of_the_work(state: State[Any], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: state) == code
    *_, last, took = capsys.readouterr().err.splitlines()
    assert last == f"{state.name}: {state.message}"
    assert took.startswith("took 0 s; all output: .state/logs/reproduce-")


@pytest.mark.parametrize(
    ("error", "code", "last_line"),
    [
        (UserError("dvc.yaml: no such stage"), 2, "error: dvc.yaml: no such stage"),
        (KeyboardInterrupt(), 130, "interrupted; what is finished stays, the next run goes on from there"),
    ],
)
def test_what_ends_a_flow_early_has_a_code_of_its_own(
    error: BaseException, code: int, last_line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(raising(error)) == code
    assert capsys.readouterr().err.splitlines()[-1] == last_line


def test_a_mistake_ends_before_the_flow_starts() -> None:
    started: list[bool] = []

    def flow() -> State[Any]:
        started.append(True)
        return Completed()

    def check() -> None:
        raise UserError("params.yaml: not YAML")

    assert exit_code(flow, check) == 2
    assert not started


@pytest.mark.parametrize(
    ("state", "code"), [(Completed(), 0), (Failed(message="stage train failed"), 1), (Cancelled(), 130)]
)
def test_without_its_server_the_exit_code_is_still_that_of_the_work(
    state: State[Any], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    def flow() -> State[Any]:
        walk.ended_as.set(state)
        raise httpx.ConnectError("connection refused")

    monkeypatch.setattr("os._exit", leave)
    assert exit_code(flow) == code

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dvc_projects import is_alive
from family import family, listening
from playwright.sync_api import Page, sync_playwright
from prefect.settings import PREFECT_API_URL, temporary_settings
from served import Served, serve, until, write_project

from flows.serve import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECRET = "hush-hush-0815"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Yield a tiny project that is served as `make ui` serves one, on its own port.

    Its environment names proxies that don't exist: the server, the page's runs and their logs are reached nevertheless.
    """
    proxies = {"http_proxy": "http://127.0.0.1:9", "ALL_PROXY": "socks5h://127.0.0.1:9"}
    with serve(write_project(tmp_path_factory.mktemp("served")), DATABASE_PASSWORD=SECRET, **proxies) as it:
        yield it


@pytest.fixture
def browser_page(served: Served) -> Iterator[Page]:
    """Yield a browser's page in which a person has entered the password."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        page.goto(served.address)
        page.get_by_placeholder("admin:pass").fill(served.password)
        page.get_by_role("button", name="Login").click()
        page.get_by_text("Dashboard").first.wait_for()
        yield page
        browser.close()


def look(page: Page, name: str) -> None:
    """Save a screenshot for a person to look at, if the environment variable CLICKSIGHT_SCREENSHOTS names a folder."""
    if folder := os.environ.get("CLICKSIGHT_SCREENSHOTS"):
        time.sleep(2)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.mark.slow
def test_a_schedule_runs_by_itself(served: Served) -> None:
    deployment = served.deployment("reproduce/often")
    (schedule,) = deployment["schedules"]
    assert schedule["schedule"]["interval"] == 15
    wanted = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    (run, *_) = until(lambda: served.post("flow_runs/filter", **wanted))
    assert run["auto_scheduled"]
    assert run["name"] == "reproduce draw"
    assert (served.root / "drawn.txt").read_text() == "1\n"
    # Switch the schedule off, which also deletes the runs that are scheduled already.
    path = f"deployments/{deployment['id']}/schedules/{schedule['id']}"
    served.ask("PATCH", path, {"active": False}).raise_for_status()


@pytest.mark.slow
def test_a_deployment_run_from_the_api_shows_everything(served: Served) -> None:
    run = served.start("reproduce/workspace", cpu_slots=1)
    state = served.final_state(run)
    assert state["name"] == "Completed", state["message"]
    assert json.loads(served.artifact("metrics"))[0] == {"file": "data/evaluations/flat-3.json", "target.accuracy": 0.3}
    assert served.artifact("report-shapes-table-viii") == (served.root / "table.md").read_text()
    assert served.artifact("report-shapes-sides-plot").startswith("data:image/png;base64,")
    assert (served.root / "data/report/index.html").as_uri() in served.artifact("report")
    assert served.artifact("progress") == 100.0
    assert served.get("artifacts/progress/latest")["description"] == "10 of 10 stages have ended"
    again = served.final_state(served.start("reproduce/workspace"))
    assert again["message"] == "10 stages: 0 ran, 10 were up to date"
    history = served.post("artifacts/filter", artifacts={"key": {"any_": ["metrics"]}})
    assert len({artifact["flow_run_id"] for artifact in history}) >= 2


@pytest.mark.slow
def test_a_sweep_from_the_page_in_a_browser(served: Served, browser_page: Page) -> None:
    page, identity = browser_page, served.deployment("sweep/shapes")["id"]
    (served.root / "seed.txt").write_text("2\n")
    (served.root / "trained").unlink(missing_ok=True)
    page.goto(f"{served.address}/deployments/deployment/{identity}")
    page.get_by_role("button", name="Run", exact=True).click()
    look(page, "1-deployment")
    page.get_by_text("Custom run").click()
    # the list of runs offers the runs that dvc.yaml declares
    page.get_by_text("No items selected").first.locator("xpath=ancestor::button").focus()
    page.keyboard.press("ArrowDown")
    for run in ("flat-3", "flat-4", "round-4", "round-3"):
        page.get_by_text(run, exact=True).wait_for()
    look(page, "2-form")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.get_by_text("flat", exact=True).wait_for(state="hidden")  # otherwise the click would only close the list
    with page.expect_response("**/create_flow_run") as answer:
        page.get_by_role("button", name="Submit").click()
    assert answer.value.ok
    page.locator("a[href*='/runs/flow-run/']").first.click()  # in the list of runs
    page.wait_for_url("**/runs/flow-run/**")
    page.get_by_text("Completed", exact=True).first.wait_for()
    look(page, "3-run")
    assert sorted((served.root / "trained").read_text().split()) == ["round-3"]
    rows = json.loads(served.artifact("sweep-shapes"))
    assert rows == [{"method": "round", "sides": 3, "seed": 7, "outcome": "Completed", "target.accuracy": 0.3}]
    page.goto(f"{served.address}/artifacts/key/sweep-shapes")
    page.get_by_text("Study shapes: 1 evaluations").first.wait_for()
    look(page, "4-history-of-an-artifact")
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    page.get_by_text("target.accuracy").first.wait_for()
    look(page, "5-artifact")
    for number, key in enumerate(("report-shapes-sides-plot", "metrics", "report"), 6):
        page.goto(f"{served.address}/artifacts/key/{key}")
        page.locator("a[href*='/artifacts/artifact/']").first.click()
        page.wait_for_url("**/artifacts/artifact/**")
        if key == "report-shapes-sides-plot":
            picture = page.locator("img[src^='data:image/png']").first
            picture.wait_for()
            assert picture.evaluate("image => image.naturalWidth") == 160
        look(page, f"{number}-{key}")


@pytest.mark.slow
def test_what_is_not_declared_is_refused(served: Served) -> None:
    identity = served.deployment("sweep/shapes")["id"]
    answer = served.ask("POST", f"deployments/{identity}/create_flow_run", {"parameters": {"runs": ["round-5"]}})
    assert answer.status_code == httpx.codes.CONFLICT
    assert "'round-5' is not one of ['round-3', 'round-4', 'flat-3', 'flat-4']" in answer.text


@pytest.mark.slow
def test_cancelling_ends_the_stage_and_the_run_can_go_on(served: Served) -> None:
    (served.root / "hang").touch()
    (served.root / "seed.txt").write_text("3\n")
    run = served.start("reproduce/workspace", targets=["evaluate_shapes"])
    pid = int(until(lambda: (served.root / "pid").exists() and (served.root / "pid").read_text()))
    served.post(f"flow_runs/{run}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    until(lambda: not is_alive(pid), 60)
    assert served.final_state(run)["name"] == "Cancelled"
    (served.root / "hang").unlink()
    state = served.final_state(served.start("reproduce/workspace", targets=["evaluate_shapes"]))
    assert state["message"] == "9 stages: 8 ran, 1 were up to date"


@pytest.mark.slow
def test_secrets_of_the_environment_appear_nowhere(served: Served) -> None:
    graph = (served.root / "dvc.yaml").read_text()
    (served.root / "dvc.yaml").write_text(
        graph + "  leaky: {cmd: 'echo password $DATABASE_PASSWORD for $HOME; env | sort; exit 3', outs: [leak]}\n"
    )
    run = served.start("reproduce/workspace", targets=["leaky"])
    state = served.final_state(run)
    (served.root / "dvc.yaml").write_text(graph)
    assert state["name"] == "Failed"
    assert "stage leaky failed with exit code 3" in state["message"]
    logs = until(lambda: "password ***" in (lines := served.logs(run)) and lines)
    everything: list[Any] = [state, logs, served.post("artifacts/filter"), served.post("task_runs/filter")]
    assert SECRET not in json.dumps(everything)
    assert SECRET not in (served.root / ".state/prefect/server.log").read_text()


def listens_on_this_machine_only_and_ends_with_all_it_started(served: Served, how: signal.Signals) -> None:
    root = served.root
    (root / "hang").touch()
    deployment = served.deployment("reproduce/workspace")
    parameters = deployment["parameter_openapi_schema"]["properties"]
    assert parameters["cpu_slots"]["anyOf"][0] == {"minimum": 1, "type": "integer"}
    assert "its whole matrix" in parameters["targets"]["description"]
    assert "<html" in httpx.get(served.address, follow_redirects=True, timeout=60).text
    served.start("reproduce/workspace", targets=["train_shapes@round-3-7"])
    pid = int(until(lambda: (root / "pid").exists() and (root / "pid").read_text()))
    started = family(served.process.pid)
    assert {host for host, _ in listening(served.process.pid)} == {"127.0.0.1"}
    served.end(how)
    until(lambda: not is_alive(pid))
    until(lambda: not any(is_alive(process.pid) for process in started))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(served.address.rpartition(":")[2]))) != 0


@pytest.mark.slow
def test_a_hangup_ends_all_it_started(tmp_path: Path) -> None:
    root = write_project(tmp_path)
    (root / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    with serve(root) as served:
        listens_on_this_machine_only_and_ends_with_all_it_started(served, signal.SIGHUP)


@pytest.mark.slow
def test_sigterm_ends_all_it_started(served: Served) -> None:
    """End this file's server; the tests that ask it stand above."""
    (served.root / "seed.txt").write_text("4\n")  # the training is not up to date
    (served.root / "pid").unlink(missing_ok=True)
    listens_on_this_machine_only_and_ends_with_all_it_started(served, signal.SIGTERM)


def test_mistakes_end_before_a_server_starts(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}\n")
    with pytest.raises(SystemExit) as exit_:
        main(["--deployments", "mine.yaml"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == (
        "error: mine.yaml: no such file; run from the repository root or give one with --deployments\n"
    )


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("mine\x1b[2J.yaml", None, ["mine\\x1b[2J.yaml: no such file; "]),
        ("a\nerror: b\x9b.yaml", None, ["a", "error: b\\x9b.yaml: no such file; "]),
        (
            "two.yaml",
            '- {name: a, flow: reproduce, "\\e]0;x\\a": 1}\n- {name: b, flow: reproduce, "c\\u202e": 2}\n',
            ["two.yaml: 0.\\x1b]0;x\\x07 = 1: ", "two.yaml: 1.c\\u202e = 2: "],
        ),
    ],
)
def test_mistakes_do_not_control_the_terminal(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, shown: list[str]
) -> None:
    if text is not None:
        (project / name).write_text(text)
    with pytest.raises(SystemExit):
        main(["--deployments", name])
    lines = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    assert [line[: len(f"error: {start}")] for line, start in zip(lines, shown, strict=True)] == [
        f"error: {start}" for start in shown
    ]


def test_a_servers_address_does_not_control_the_terminal(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}\n")
    (project / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    monkeypatch.setattr("flows.serve.server", lambda **_: contextlib.nullcontext("http://a\x1b[2J\nb"))
    monkeypatch.setattr("flows.serve.serve", lambda *_, **__: None)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"}):
        main([])
    assert capsys.readouterr().out == "The flows' page: http://a\\x1b[2J\\nb\nCtrl-C ends it.\n"

"""The flows' server refuses other pages, other names of this machine, and clients without the password."""

import asyncio
import base64
import functools
import html
import http.server
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from dvc_projects import ROOT, new_project
from family import listening
from playwright.sync_api import Page, sync_playwright
from served import Served, Server, serve, until, write_project
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REFUSED = (httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
NOBODY = 65534
OWN, EVIL = "own", "evil"
# Of hundreds of requests; to make a client takes 40 ms. It keeps no connection, as each request is another client's.
CLIENT = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
HANGING = "stages: {a: {cmd: 'touch began; while [ ! -e go ]; do sleep 0.1; done; touch a', outs: [a]}}\n"


class Target:
    """A server to attack, and the deployment that the attack tries to take over.

    Args:
        server: a client that has the password.
        root: the workspace, which contains the password's file.
        deployment: the deployment's id.
    """

    def __init__(self, server: Server, root: Path, deployment: str) -> None:
        self.server, self.root, self.deployment = server, root, deployment
        self.address = server.api.removesuffix("/api")
        self.marker = root / "owned"

    @property
    def auth_string(self) -> str:
        return (self.root / ".state/prefect/password").read_text().strip()

    @property
    def steps(self) -> tuple[tuple[str, str, Any], ...]:
        """The attack's requests: replace the deployment's steps by a shell step, start a run, find the deployment."""
        shell = {"prefect.deployments.steps.run_shell_script": {"script": f"touch {self.marker}"}}
        path = f"deployments/{self.deployment}"
        return (
            ("PATCH", path, {"pull_steps": [shell]}),
            ("POST", f"{path}/create_flow_run", {}),
            ("POST", "deployments/filter", {}),
            ("GET", path, None),
        )

    def state(self) -> tuple[Any, int]:
        """Return what an attack would change: the deployment's steps and the number of its runs."""
        steps = self.server.get(f"deployments/{self.deployment}")["pull_steps"]
        return steps, self.server.post("flow_runs/count", deployments={"id": {"any_": [self.deployment]}})


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    """Yield a folder that every user of this machine may read, unlike pytest's folders."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def served(workspace: Path) -> Iterator[Served]:
    """Yield a server as `make ui` starts it, without schedules."""
    root = write_project(workspace / "served")
    (root / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    with serve(root) as it:
        yield it


@pytest.fixture(scope="module")
def page_target(served: Served) -> Target:
    return Target(served, served.root, served.deployment("reproduce/workspace")["id"])


@pytest.fixture(scope="module")
def flow_target(workspace: Path) -> Iterator[Target]:
    """Yield the server of a running `flows.reproduce`, with a deployment that another client has added."""
    root = workspace / "running"
    new_project(root, has_database=False)
    (root / "dvc.yaml").write_text(HANGING)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    flow = subprocess.Popen(
        [sys.executable, "-m", "flows.reproduce"],
        cwd=root,
        env={**own, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    try:
        until(lambda: (root / "began").exists() or flow.poll() is not None)
        password = (root / ".state/prefect/password").read_text().strip()
        ((_, port),) = listening(flow.pid)
        server = Server(f"http://127.0.0.1:{port}/api", password)
        identity = server.post("flows/", name="reproduce")["id"]
        deployment = server.post("deployments/", name="taken", flow_id=identity, pull_steps=[{"own": {}}])["id"]
        yield Target(server, root, deployment)
    finally:
        (root / "go").touch()
        assert flow.wait(180) == 0


@pytest.fixture(params=["make ui", "flows.reproduce"])
def target(request: pytest.FixtureRequest) -> Target:
    return request.getfixturevalue("page_target" if request.param == "make ui" else "flow_target")


def basic(auth_string: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(auth_string.encode()).decode()}"}


@pytest.mark.parametrize("has_type", [True, False], ids=["JSON", "no type"])
@pytest.mark.parametrize(
    ("origin", "host"), [("", ""), ("https://evil.example", ""), ("null", ""), ("http://127.0.0.1:1", ""), ("", EVIL)]
)
@pytest.mark.parametrize("password", ["", "wrong", "right"])
def test_a_request_from_elsewhere_is_refused(
    target: Target, origin: str, host: str, password: str, has_type: bool
) -> None:
    """Refuse it even with the password, which a browser may send by itself for another page or another host name."""
    auth_string = {"": "", "wrong": "clicksight:guessed", "right": target.auth_string}[password]
    headers = {"Content-Type": "application/json"} if has_type else {}
    headers |= basic(auth_string) if auth_string else {}
    headers |= {"Origin": origin} if origin else {}
    headers |= {"Host": "evil.example"} if host else {}
    if password == "right":
        headers |= target.server.csrf_headers()
    before = target.state()
    is_own = password == "right" and not origin and not host
    for method, path, content in target.steps[2:] if is_own else target.steps:
        body = b"" if content is None else json.dumps(content).encode()
        answer = CLIENT.request(method, f"{target.server.api}/{path}", content=body, headers=headers)
        # The request that is allowed succeeds, so the refusals of the others have the tested reason.
        assert answer.is_success if is_own else answer.status_code in REFUSED, answer.text
    assert target.state() == before
    assert not target.marker.exists()


@pytest.mark.parametrize("path", ["", "v2/", "ui-settings", "docs", "enter", "api/health", "api/ready", "api/version"])
def test_by_another_name_or_from_another_page_nothing_is_answered(target: Target, path: str) -> None:
    for headers, status in (
        ({"Host": "evil.example"}, httpx.codes.BAD_REQUEST),
        ({"Host": "127.0.0.1.evil.example:4200"}, httpx.codes.BAD_REQUEST),
        ({"Origin": "https://evil.example"}, httpx.codes.FORBIDDEN),
    ):
        answer = CLIENT.get(f"{target.address}/{path}", headers=headers)
        assert answer.status_code == status
        assert len(answer.text) < 50
        assert "access-control-allow-origin" not in answer.headers


def test_what_is_answered_without_a_password_is_no_secret(page_target: Target) -> None:
    """All API paths except the health checks need the password; the API's description isn't served without it."""
    paths = page_target.server.get("openapi.json")["paths"]
    assert len(paths) > 100
    opened = set()
    for path, methods in paths.items():
        for method in methods:
            address = f"{page_target.server.api}{path.replace('{', '').replace('}', '')}"
            answer = CLIENT.request(method.upper(), address, params={"client": "x"})
            if answer.status_code not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                opened.add((method, path))
    assert opened == {("get", "/health"), ("get", "/ready")}
    for path in ("docs", "redoc", "openapi.json"):
        assert CLIENT.get(f"{page_target.address}/{path}").status_code == httpx.codes.NOT_FOUND


def test_a_change_wants_a_token_too(target: Target) -> None:
    """A browser may send a login by itself after an address contained it once; it sends no CSRF token."""
    before = target.state()
    for method, path, content in target.steps[:2]:
        answer = CLIENT.request(method, f"{target.server.api}/{path}", json=content, headers=basic(target.auth_string))
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "CSRF" in answer.text
    assert target.state() == before


def test_the_page_may_ask_by_both_names_of_this_machine(page_target: Target) -> None:
    for name in ("127.0.0.1", "localhost"):
        origin = page_target.address.replace("127.0.0.1", name)
        asked = {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization"}
        answer = CLIENT.options(f"{page_target.server.api}/flows/", headers={"Origin": origin, **asked})
        assert answer.headers["access-control-allow-origin"] == origin
        assert CLIENT.get(f"{origin}/api/health").is_success


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"])
def test_a_web_socket_wants_the_password_and_the_own_page(target: Target, path: str) -> None:
    address = f"{target.server.api.replace('http', 'ws')}/{path}"

    async def ask(token: str, headers: dict[str, str]) -> str:
        try:
            async with connect(
                address, subprotocols=["prefect"], additional_headers=headers, open_timeout=None
            ) as socket:  # type: ignore[list-item]
                await socket.send(json.dumps({"type": "auth", "token": token}))
                return str(json.loads(await socket.recv())["type"])
        except InvalidStatus as refused:
            return str(refused.response.status_code)
        except ConnectionClosed as closed:
            return str(closed.rcvd and closed.rcvd.code)

    def asked(token: str, **headers: str) -> str:
        return asyncio.run(asyncio.wait_for(ask(token, headers), 120))

    right = target.auth_string
    assert asked(right) == "auth_success"
    assert asked(right, Origin=target.address) == "auth_success"
    assert asked("guessed") == "1008"
    assert asked("") == "1008"
    assert asked(right, Origin="https://evil.example") == "403"
    assert asked(right, Host="evil.example") == "400"


def test_another_user_can_neither_read_the_password_nor_find_it(target: Target) -> None:
    """The password is readable in no file, no command line and no environment of a process."""
    home, secret = target.root / ".state/prefect", target.auth_string.partition(":")[2]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "password").stat().st_mode) == 0o600
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) & 0o077 for file in home.glob("prefect.db*")}
    assert "prefect.db" in modes
    assert not any(modes.values())
    for process in psutil.process_iter(["cmdline"]):
        assert secret not in " ".join(process.info["cmdline"] or ())
    logs_with_secret = [file for file in home.rglob("*.log") if secret in file.read_text()]
    assert logs_with_secret == []
    if os.geteuid() == 0:  # only root can run commands as another user
        assert as_nobody(f"cat {target.root}/dvc.yaml") == (target.root / "dvc.yaml").read_text()
        assert as_nobody(f"cat {home}/password {home}/prefect.db {home}/open.html; ls {home}") == ""
        assert "PATH=" in as_nobody("cat /proc/self/environ")
        assert secret not in as_nobody("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline")


def as_nobody(command: str) -> str:
    """Run a shell command as another user of this machine; return its output."""
    done = subprocess.run(
        ["sh", "-c", command], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    return done.stdout


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        yield page
        browser.close()


@pytest.fixture(scope="module")
def evil_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield the address of another web server on this machine, and its folder."""
    folder = tmp_path_factory.mktemp("evil")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_address[1]}", folder
        site.shutdown()


ATTACK = """
async ({address, steps, login}) => {
  const results = [];
  for (const [method, path, content] of steps)
    for (const mode of ["cors", "no-cors"])
      for (const headers of [{}, {"Content-Type": "application/json"}, login])
        for (const credentials of ["omit", "include"])
          try {
            const body = content === null ? undefined : new Blob([JSON.stringify(content)]);
            const answer = await fetch(`${address}/api/${path}`, {method, mode, headers, credentials, body});
            results.push(answer.type === "opaque" ? "opaque" : `read ${answer.status}`);
          } catch (error) { results.push("failed"); }
  for (const path of ["events/in", "events/out", "logs/out"])
    results.push(await new Promise(resolve => {
      const socket = new WebSocket(`${address.replace("http", "ws")}/api/${path}`, ["prefect"]);
      socket.onopen = () => resolve("opened");
      socket.onerror = () => resolve("failed");
    }));
  const frame = document.createElement("iframe");
  frame.src = address;
  document.body.append(frame);
  await new Promise(resolve => { frame.onload = resolve; });
  return results;
}
"""


def test_a_page_of_another_port_gets_nowhere(target: Target, browser_page: Page, evil_site: tuple[str, Path]) -> None:
    """Requests of such a page fail even with the login and a CSRF token."""
    site, folder = evil_site
    (folder / "index.html").write_text("<p>Look, a kitten")
    before = target.state()
    login = {**basic(target.auth_string), **target.server.csrf_headers()}
    browser_page.goto(site)
    results = browser_page.evaluate(ATTACK, {"address": target.address, "steps": target.steps, "login": login})
    assert results.count("failed") >= 4
    assert set(results) <= {"failed", "opaque"}
    assert [frame.url for frame in browser_page.frames[1:]] == ["chrome-error://chromewebdata/"]  # can't be framed
    assert target.state() == before
    # A form navigates to the server, for which browsers need no permission.
    for number, (_, path, content) in enumerate(target.steps[:3]):
        text = html.escape(json.dumps({**content, "x": 1})[:-2])  # the field's "=" is part of the JSON's last entry
        form = f"{target.deployment}-{number}.html"  # a name of its own, as the browser may keep the last form
        (folder / form).write_text(
            f"<form method=post enctype=text/plain action='{target.address}/api/{path}'>"
            f"<input name='{text}' value='1}}'></form><script>document.forms[0].submit()</script>"
        )
        with browser_page.expect_navigation(url=f"{target.address}/**") as navigation:
            browser_page.goto(f"{site}/{form}")
        answer = navigation.value
        assert answer is not None
        assert answer.status == httpx.codes.FORBIDDEN
    assert target.state() == before
    assert not target.marker.exists()


def test_the_file_that_opens_the_page_brings_the_password(served: Served, browser_page: Page) -> None:
    """`make ui` opens this file where there is a screen; no requested address contains the password."""
    file = served.root / ".state/prefect/open.html"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().partition("clicksight:")[2].partition('"')[0]
    assert served.root.joinpath(".state/prefect/password").read_text().strip() == f"clicksight:{secret}"
    addresses: list[str] = []
    browser_page.on("request", lambda request: addresses.append(request.url))
    browser_page.goto(file.as_uri())
    browser_page.get_by_text("Dashboard").first.wait_for()
    assert f"{served.address}/enter" in addresses
    assert not any(secret in address for address in addresses)
    for wrong in ("", "clicksight:guessed"):
        answer = CLIENT.post(f"{served.address}/enter", data={"password": wrong})
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert "localStorage" not in answer.text
    assert CLIENT.post(f"{served.address}/enter", content=b"x" * 2000).status_code == 413
    assert CLIENT.post(f"{served.address}/enter", headers={"Host": "evil.example"}).status_code == 400


def test_the_page_runs_its_own_scripts_only(page_target: Target) -> None:
    """HTML in an artifact's Markdown can't run a script."""
    policy = CLIENT.get(page_target.address).headers["content-security-policy"].split("; ")
    assert {"script-src 'self' 'unsafe-eval'", "object-src 'none'", "frame-ancestors 'none'"} <= set(policy)


def test_with_the_password_the_attack_is_one(page_target: Target) -> None:
    """The attack works with the password, so the tests above could fail."""
    server, (change, start, *_) = page_target.server, page_target.steps
    server.ask(*change).raise_for_status()
    server.ask(*start).raise_for_status()
    until(page_target.marker.exists)

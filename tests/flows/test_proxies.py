"""The environment names proxies that don't exist; our own server is reached nevertheless.

The page and the runs that it starts: test_serve.py.
"""

import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

DEAD = "127.0.0.1:9"
ONE_STAGE = "stages: {a: {cmd: touch a, outs: [a]}}\n"


def without_settings() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PREFECT_") and not name.lower().endswith("_proxy")
    }


def reproduce(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (root / "dvc.yaml").write_text(ONE_STAGE)
    return subprocess.run(
        [sys.executable, "-m", "flows.reproduce"], cwd=root, env={**without_settings(), **environment},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "proxies",
    [
        {"http_proxy": f"http://{DEAD}", "https_proxy": f"http://{DEAD}", "ALL_PROXY": f"socks5://{DEAD}"},
        {"HTTP_PROXY": f"http://{DEAD}", "all_proxy": f"socks://{DEAD}/", "NO_PROXY": "intern.example"},
    ],
    ids=["socks5", "NO_PROXY"],
)
def test_a_flow_reaches_its_own_server(project: Path, proxies: dict[str, str]) -> None:
    ended = reproduce(project, **proxies)
    assert ended.returncode == 0, ended.stderr
    assert "Completed: 1 stages: 1 ran" in ended.stderr
    assert (project / "a").exists()


class Proxy(socketserver.StreamRequestHandler):
    """Notes the first line of a request, and hangs up."""

    asked: list[str]

    def handle(self) -> None:
        self.asked.append(self.rfile.readline().decode().strip())


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a proxy, and what it is asked for."""
    handler = type("Noting", (Proxy,), {"asked": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
        server.shutdown()


def test_another_server_is_still_asked_by_the_proxy(project: Path, proxy: tuple[str, list[str]]) -> None:
    address, asked = proxy
    ended = reproduce(project, http_proxy=address, PREFECT_API_URL="http://prefect.example:4200/api")
    assert ended.returncode == 2
    assert "no Prefect server answers on http://prefect.example:4200 (" in ended.stderr
    assert asked[0] == "GET http://prefect.example:4200/api/admin/version HTTP/1.1"


def test_a_proxy_that_cannot_be_used_for_another_server_is_one_line(project: Path) -> None:
    ended = reproduce(project, ALL_PROXY="socks4://proxy:1080", PREFECT_API_URL="http://prefect.example:4200/api")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: the Prefect server on http://prefect.example:4200 cannot be reached (")
    assert "socks4" in line
    assert line.endswith("name the server in NO_PROXY, or unset PREFECT_API_URL to have a server of your own")


@pytest.mark.parametrize("command", [["flows.reproduce"], ["flows.serve", "--no-browser"]])
def test_a_server_that_does_not_answer_is_one_line(project: Path, command: list[str]) -> None:
    (project / "dvc.yaml").write_text(ONE_STAGE)
    (project / "deployments.yaml").write_text("- {name: workspace, flow: reproduce}\n")
    ended = subprocess.run(
        [sys.executable, "-m", *command], cwd=project, capture_output=True, text=True, timeout=180, check=False,
        env={**without_settings(), "PREFECT_API_URL": f"http://{DEAD}/api"},
    )  # fmt: skip
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("log: ")]
    assert line.startswith(f"error: no Prefect server answers on http://{DEAD} (")
    assert line.endswith("; start it, or unset PREFECT_API_URL to have one for the moment")


@pytest.mark.parametrize("path", ["", "/missing"])
def test_an_address_that_is_not_the_apis_is_one_line(prefect_server: str, project: Path, path: str) -> None:
    wrong = f"{prefect_server.removesuffix('/api')}{path}"
    ended = reproduce(project, PREFECT_API_URL=wrong)
    assert ended.returncode == 2
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("log: ")]
    assert line.startswith(f"error: {wrong} answers with ")
    assert line.endswith("PREFECT_API_URL must be the address of the API, as in http://127.0.0.1:4200/api")

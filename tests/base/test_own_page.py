"""A server answers its own page alone."""

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from base.own_page import OwnPageOnly

OWN = "http://127.0.0.1:8000"


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()

    @app.get("/{name}")
    async def _answer(name: str) -> str:
        return name

    return TestClient(OwnPageOnly(app, [OWN], "default-src 'none'", ["/closed"]), base_url=OWN)


@pytest.mark.parametrize("headers", [{}, {"Origin": OWN}])
def test_the_own_page_is_answered_with_a_policy(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/open", headers=headers)
    assert (answer.status_code, answer.json()) == (200, "open")
    assert answer.headers["content-security-policy"] == "default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8001", "https://127.0.0.1:8000", "http://evil.example", "null", ""]
)
def test_another_page_is_refused(client: TestClient, origin: str) -> None:
    assert client.get("/open", headers={"Origin": origin}).status_code == 403


def test_several_origins_are_all_the_own_or_refused(client: TestClient) -> None:
    headers = [("Origin", OWN), ("Origin", "http://evil.example")]
    assert client.get("/open", headers=headers).status_code == 403


def test_closed_paths_have_no_answer(client: TestClient) -> None:
    assert client.get("/closed").status_code == 404

import os
from urllib.request import getproxies, proxy_bypass

import httpx
import pytest

from base.proxies import bypass_for_this_machine, forget_unusable_proxies, is_this_machine


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):  # what the tested code sets is undone
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def proxy_for(url: str) -> bool:
    """Return whether httpx would ask a proxy for a URL."""
    with httpx.Client() as client:
        return client._transport_for_url(httpx.URL(url)) is not client._transport


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"no_proxy": "intern.example"},
        {"NO_PROXY": "intern.example, 127.0.0.1"},
        {"no_proxy": "", "NO_PROXY": "a.example"},
    ],
)
def test_this_machine_is_reached_directly_and_others_by_the_proxy(before, monkeypatch) -> None:
    for name, value in {"http_proxy": "http://proxy:3128", "all_proxy": "http://proxy:3128", **before}.items():
        monkeypatch.setenv(name, value)
    bypass_for_this_machine()
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert not proxy_for(f"http://{host}:4200/api/health")
        assert not proxy_for(f"https://{host}/")
    assert proxy_bypass("127.0.0.1:4200")
    assert proxy_for("http://prefect.example:4200/api/health")
    assert not proxy_bypass("prefect.example")
    if "intern.example" in str(before):
        assert not proxy_for("http://intern.example/")


def test_a_second_call_changes_nothing(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "a.example,*")
    bypass_for_this_machine()
    once = dict(os.environ)
    bypass_for_this_machine()
    assert dict(os.environ) == once
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "a.example,*,127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    "proxy", ["socks://127.0.0.1:1080/", "socks4://proxy:1080", "SOCKS5://proxy:1080", "ftp://proxy"]
)
def test_proxies_that_httpx_cannot_use_are_forgotten_and_others_stay(proxy, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("http_proxy", "proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    forget_unusable_proxies()
    assert {name: value for name, value in getproxies().items() if name != "no"} == {
        "http": "proxy:3128", "https": "http://proxy:3128",
    }  # fmt: skip
    httpx.Client().close()


def test_a_socks_proxy_stays_where_httpx_has_what_it_needs(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "socksio" or None)
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy:1080")
    forget_unusable_proxies()
    assert os.environ["ALL_PROXY"] == "socks5://proxy:1080"


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("", True),
        ("http://127.0.0.1:4200/api", True),
        ("http://localhost:4200/api", True),
        ("http://[::1]:4200/api", True),
        ("http://localhost.example/api", False),
        ("https://api.prefect.cloud/api", False),
        ("http://[broken", False),
    ],
)
def test_what_is_this_machine(url: str, is_ours: bool) -> None:
    assert is_this_machine(url) == is_ours

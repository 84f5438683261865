"""The proxies that the environment names; connections to this machine itself must not use them."""

import importlib.util
import os
from urllib.parse import urlsplit

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
NO_PROXY = ("no_proxy", "NO_PROXY")  # some programs read the first, some the second


def bypass_for_this_machine() -> None:
    """Add this machine's own addresses to NO_PROXY, for this process and for all processes that it starts."""
    before = [os.environ.get(name) for name in NO_PROXY]
    for name, own, other in zip(NO_PROXY, before, reversed(before), strict=True):
        listed = own if own is not None else other
        hosts = [host.strip() for host in (listed or "").split(",")]
        os.environ[name] = ",".join(dict.fromkeys(host for host in (*hosts, *THIS_MACHINE) if host))


def is_this_machine(url: str) -> bool:
    """Return True if a URL leads to this machine, or is empty (then the command starts the server itself)."""
    try:
        return not url or urlsplit(url).hostname in THIS_MACHINE
    except ValueError:  # not a URL
        return False


def forget_unusable_proxies() -> None:
    """Remove proxies that httpx cannot use: it would refuse to make any client, even for an address in NO_PROXY."""
    schemes = ["", "http", "https"] + ["socks5", "socks5h"] * (importlib.util.find_spec("socksio") is not None)
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            scheme, separator, _ = os.environ[name].partition("://")
            if separator and scheme.lower() not in schemes:
                del os.environ[name]

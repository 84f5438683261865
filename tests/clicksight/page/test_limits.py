"""Places are bounded and given back."""

import asyncio

import pytest
from fastapi import HTTPException, Request

from clicksight.page import limits
from clicksight.page.limits import Limits


def request(parts: list[bytes] | None = None, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Request:
    """Return a request whose body comes in parts; it never ends if there are none."""
    coming = iter(parts or [])

    async def receive() -> dict:
        part = next(coming, None)
        if part is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": part, "more_body": part != b""}

    return Request({"type": "http", "headers": list(headers), "client": ("127.0.0.1", 1)}, receive)


def test_a_place_is_given_back_also_after_an_error() -> None:
    async def use() -> None:
        some = Limits("100/minute", most_waiting=2)
        async with some.place(request()), some.place(request()):
            with pytest.raises(HTTPException) as full:
                async with some.place(request()):
                    pass
            assert full.value.status_code == 503
        with pytest.raises(KeyError):
            async with some.place(request()):
                raise KeyError
        async with some.place(request()), some.place(request()):
            pass

    asyncio.run(use())


def test_the_body_is_all_its_parts() -> None:
    assert asyncio.run(Limits().body(request([b"ab", b"c", b""]))) == b"abc"


def test_a_body_that_never_comes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.05)
    with pytest.raises(HTTPException) as slow:
        asyncio.run(Limits().body(request([b"ab"])))
    assert slow.value.status_code == 408


@pytest.mark.parametrize(
    "asked",
    [request([b"abc", b"d", b""]), request([b"", b""], ((b"content-length", b"4"),))],
    ids=["sent", "announced"],
)
def test_a_body_is_too_long_by_what_is_sent_or_announced(asked: Request) -> None:
    with pytest.raises(HTTPException) as long:
        asyncio.run(Limits(most_bytes=3).body(asked))
    assert long.value.status_code == 413


def test_a_rate_is_a_number_and_a_time() -> None:
    with pytest.raises(ValueError, match="rate"):
        Limits("often")

"""What one page answers at a time: sizes, rates and waiting requests, so that its memory is bounded and nobody starves.

Every request that makes work takes a place among the `MOST_WAITING`; without a free one it is refused at once (503).
One address may send so many of them in a minute (429). A body is read up to a size (413), and not for ever (408).
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException, Request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

MOST_BYTES = 20_000_000  # of a picture
MOST_WAITING = 24
BODY_SECONDS = 30.0
RATE = "600/minute"
MOST_LETTERS = 500  # of a query, tag list or name


class Limits:
    """The limits of a page.

    Args:
        rate: requests of one address, as in ``600/minute``.
        most_waiting: requests that are read or worked on at a time.
        most_bytes: of a body.

    Raises:
        ValueError: the rate isn't written like that.
    """

    def __init__(self, rate: str = RATE, most_waiting: int = MOST_WAITING, most_bytes: int = MOST_BYTES) -> None:
        self._rate = parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._most_waiting, self._most_bytes = most_waiting, most_bytes
        self._waiting = 0

    @asynccontextmanager
    async def place(self, request: Request) -> AsyncIterator[None]:
        """Hold a place for a request.

        Raises:
            HTTPException: there is none, or the address sends too many.
        """
        address = request.client.host if request.client else ""
        if not self._limiter.hit(self._rate, address):
            raise HTTPException(429, "Too many requests; wait a minute", {"Retry-After": "60"})
        if self._waiting >= self._most_waiting:
            raise HTTPException(503, "Busy; try again in a moment", {"Retry-After": "1"})
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def body(self, request: Request) -> bytes:
        """Return a request's body.

        Raises:
            HTTPException: it is empty, too long, or takes too long to come.
        """
        if int(request.headers.get("content-length", 0)) > self._most_bytes:
            raise self._too_long
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    body += part
                    if len(body) > self._most_bytes:
                        raise self._too_long
        except TimeoutError:
            raise HTTPException(408, "The picture took too long to come") from None
        if not body:
            raise HTTPException(400, "No picture was sent")
        return bytes(body)

    @property
    def _too_long(self) -> HTTPException:
        return HTTPException(413, f"The file is too large; at most {self._most_bytes // 1_000_000} MB")

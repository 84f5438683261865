"""Lets a server on this machine answer its own page alone, not any page that happens to be open in the browser."""

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ["127.0.0.1", "localhost"]  # of this machine, for TrustedHostMiddleware


class OwnPageOnly:
    """Refuses requests of other pages, and says to browsers what the server's own page may do.

    Args:
        app: the application that answers the other requests.
        origins: the page's addresses, for example ``http://127.0.0.1:4200``.
        policy: the Content-Security-Policy of every answer; with ``frame-ancestors 'none'`` no page can frame it.
        closed: paths that have no answer.
    """

    def __init__(self, app: ASGIApp, origins: Collection[str], policy: str, closed: Collection[str] = ()) -> None:
        self._app, self._origins, self._policy, self._closed = app, frozenset(origins), policy, frozenset(closed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = self._policy
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif not self._origins.issuperset(Headers(scope=scope).getlist("origin")):
            await PlainTextResponse("Another page may not ask here", 403)(scope, receive, send)
        elif scope["path"] in self._closed:
            await PlainTextResponse("Not here", 404)(scope, receive, send)
        else:
            await self._app(scope, receive, send_with_policy)

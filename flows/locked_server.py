"""Prefect's server, for this machine's own clients and its own page only.

    python -m flows.locked_server HANDLE      # a socket that listens already; flows/server.py starts it

The password, CSRF tokens and CORS are Prefect's settings. They leave open what Prefect answers without a password (is
it healthy, the page's files, its settings), under any name that leads here. So a request is refused before Prefect
sees it

- whose Host is not this machine's own (400): another site's name that was made to lead to 127.0.0.1 (DNS rebinding);
- whose Origin is not the page's (403): another page, also where a browser asks nobody first (forms, WebSockets).

The page can't be framed by another one, and runs no script but its own: Markdown in artifacts may hold HTML.

One address is added, which keeps the password for the page in a browser that brings it (flows/entrance.py).
"""

import base64
import hmac
import json
import secrets
import sys
from collections.abc import Sequence
from socket import socket
from urllib.parse import parse_qs

import uvicorn
from fastapi.datastructures import Headers
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.requests import Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.entrance import FIELD, PATH

NAMES = ["127.0.0.1", "localhost"]
# unsafe-eval and blob: the graph of a run compiles its shaders, and works in the background.
POLICY = "; ".join(
    (
        "script-src 'self' 'unsafe-eval'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    )
)
# What describes the API is made anew for everybody who asks, which takes seconds; with the password it is under /api.
CLOSED = frozenset({"/docs", "/docs/oauth2-redirect", "/openapi.json", "/redoc"})
LARGEST_FORM = 1024  # bytes
# Prefect's page keeps the password in its storage under this name, in base64.
KEEP = """\
<!DOCTYPE html>
<script nonce="{nonce}">localStorage.setItem("prefect-password", {password}); location.replace("/")</script>
"""


class Entrance:
    """Takes the password from a form, and answers with a page that keeps it in the browser and leads on.

    A form may come from anywhere: it changes nothing here, and who sends it knows the password already.

    Args:
        app: what answers everything else.
        auth_string: the password, as in ``user:password``.
    """

    def __init__(self, app: ASGIApp, auth_string: str) -> None:
        self._app, self._auth_string = app, auth_string.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST":
            await (await self._enter(Request(scope, receive)))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _enter(self, request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_FORM:
                return PlainTextResponse("Too long", 413)
        given = parse_qs(body.decode(errors="replace")).get(FIELD, [""])[0]
        if not hmac.compare_digest(given.encode(), self._auth_string):
            return PlainTextResponse("Not the password of this server", 401)
        nonce, password = secrets.token_urlsafe(), base64.b64encode(self._auth_string).decode()
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; frame-ancestors 'none'"
        return HTMLResponse(
            KEEP.format(nonce=nonce, password=json.dumps(password)),
            headers={"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
        )


class OwnPageOnly:
    """Refuses what other pages send, and keeps the own one from being framed by them.

    Args:
        app: what answers the rest.
        origins: the page's addresses, as in ``http://127.0.0.1:4200``.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = POLICY
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif not self._origins.issuperset(Headers(scope=scope).getlist("origin")):
            await PlainTextResponse("Another page may not ask here", 403)(scope, receive, send)
        elif scope["path"] in CLOSED:
            await PlainTextResponse("Not here", 404)(scope, receive, send)
        else:
            await self._app(scope, receive, send_with_policy)


def locked(app: ASGIApp, origins: Sequence[str], auth_string: str) -> ASGIApp:
    """Return an app that answers only under this machine's own names, and only to the page at these addresses.

    Args:
        app: Prefect's, which asks for the password.
        origins: the page's addresses, as in ``http://127.0.0.1:4200``.
        auth_string: the password, as in ``user:password``.
    """
    return TrustedHostMiddleware(
        Entrance(OwnPageOnly(app, origins), auth_string), allowed_hosts=NAMES, www_redirect=False
    )


def main(argv: Sequence[str]) -> None:
    """Serve until a signal says to end.

    Raises:
        ValueError: no password is set, without which everybody could run code here.
    """
    settings = get_current_settings().server
    auth_string = settings.api.auth_string
    if auth_string is None:
        raise ValueError("PREFECT_SERVER_API_AUTH_STRING is not set")
    config = uvicorn.Config(
        locked(create_app(final=True), settings.api.cors_allowed_origins.split(","), auth_string.get_secret_value()),
        log_level=settings.logging_level.lower(),
        proxy_headers=False,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
    )
    uvicorn.Server(config).run(sockets=[socket(fileno=int(argv[0]))])


if __name__ == "__main__":
    main(sys.argv[1:])

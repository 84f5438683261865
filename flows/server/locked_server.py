"""Prefect's server, restricted to clients on this machine and to its own page.

    python -m flows.server.locked_server HANDLE  # HANDLE: a listening socket; flows/server/lifetime.py runs this

The password, CSRF tokens and CORS are settings of Prefect. With them, Prefect still answers some requests without a
password (health, the page's files and settings), under any host name that leads to this machine. Therefore a request
is refused before Prefect sees it

- if its Host is not this machine's own (400): another site's name may resolve to 127.0.0.1 (DNS rebinding);
- if its Origin is not the page's (403): another page sent it, perhaps one of those requests for which browsers ask no
  permission first (forms, WebSockets).

Other pages can't show this page in a frame (`base.own_page`). The page runs only its own scripts, because Markdown in
artifacts may contain HTML.

One address is added: it takes the password from a form and stores it in the browser for the page
(flows/server/entrance.py).
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
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.requests import Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.types import ASGIApp, Receive, Scope, Send

from base.own_page import NAMES, OwnPageOnly
from flows.server.entrance import FIELD, PATH

# unsafe-eval and blob: the graph of a run compiles its shaders, and uses background workers.
POLICY = "; ".join(
    (
        "script-src 'self' 'unsafe-eval'",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    )
)
# The API's description is built at each request, which takes seconds. With the password it is available under /api.
CLOSED = frozenset({"/docs", "/docs/oauth2-redirect", "/openapi.json", "/redoc"})
LARGEST_FORM = 1024  # bytes
# Prefect's page stores the password in base64 under this name.
STORE_PASSWORD = """\
<!DOCTYPE html>
<script nonce="{nonce}">localStorage.setItem("prefect-password", {password}); location.replace("/")</script>
"""


class Entrance:
    """Takes the password from a form; the answer is a page that stores it in the browser and opens Prefect's page.

    The form may come from any page: it changes nothing on the server, and its sender already knows the password.

    Args:
        app: the application that answers all other requests.
        auth_string: the login, in the form ``user:password``.
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
            STORE_PASSWORD.format(nonce=nonce, password=json.dumps(password)),
            headers={"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"},
        )


def locked(app: ASGIApp, origins: Sequence[str], auth_string: str) -> ASGIApp:
    """Return an app that answers only under this machine's own names, and of all pages only to those at ``origins``.

    Args:
        app: Prefect's application, which requires the password.
        origins: the page's addresses, for example ``http://127.0.0.1:4200``.
        auth_string: the login, in the form ``user:password``.
    """
    return TrustedHostMiddleware(
        Entrance(OwnPageOnly(app, origins, POLICY, CLOSED), auth_string), allowed_hosts=NAMES, www_redirect=False
    )


def main(argv: Sequence[str]) -> None:
    """Serve until a signal ends the process.

    Raises:
        ValueError: no password is set; without one every user of the machine could run code as this user.
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

"""What stands before every page: who may ask, from where, and what a browser may do with it.

On loopback the Host header has to be a loopback name, so that a foreign page cannot reach the app
through a name of its own (DNS rebinding). Beyond loopback everything needs the key. Writes need the
same-site token: a cookie that only our pages can read back, and so keeps across restarts.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
TOKEN_HEADER = "x-annoloop-token"
MOST_BYTES = 4_000_000
"""Largest body of a write."""

ENTRANCE = "/enter"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Guard:
    """ASGI middleware. `key` is None on loopback; `cookie` names this app's cookies."""

    app: ASGIApp
    cookie: str
    key: str | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        token = request.cookies.get(f"{self.cookie}_token", "")
        fresh = len(token) != 43
        token = secrets.token_urlsafe(32) if fresh else token
        scope.setdefault("state", {})["token"] = token

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                is_static = request.url.path.startswith("/static/")
                headers.setdefault("Cache-Control", "no-cache" if is_static else "no-store")
                if fresh:
                    headers.append("Set-Cookie", self.baked("token", token))
            await send(message)

        refused = self._refusal(request, token)
        await (refused or self.app)(scope, receive, answer)

    def baked(self, name: str, value: str) -> str:
        """A cookie that no script reads and no other site sends along."""
        return f"{self.cookie}_{name}={value}; Path=/; HttpOnly; SameSite=Strict"

    def is_key(self, said: str) -> bool:
        return self.key is not None and secrets.compare_digest(said.encode(), self.key.encode())

    def _refusal(self, request: Request, token: str) -> Response | None:
        host = urlsplit(f"//{request.headers.get('host', '')}")
        if self.key is None and host.hostname not in LOOPBACK:
            return PlainTextResponse("This app answers to localhost only.", 421)
        path = request.url.path
        is_open = self.key is None or path == ENTRANCE or path.startswith("/static/")
        if not (is_open or self.is_key(request.cookies.get(f"{self.cookie}_key", ""))):
            if request.method in _READS and not path.startswith("/api/"):
                return RedirectResponse(ENTRANCE, 303)
            return _said(401, "this browser has not given the key", "Open the start page.")
        if request.method in _READS:
            return None
        if not _same_origin(request, host.netloc):
            return _said(403, "a page of another site asked for this", "Use the app's own pages.")
        if path != ENTRANCE and not secrets.compare_digest(
            request.headers.get(TOKEN_HEADER, "").encode(), token.encode()
        ):
            return _said(403, "the same-site token is missing or wrong", "Load the page again.")
        length = request.headers.get("content-length", "")
        if not length.isdigit() or int(length) > MOST_BYTES:
            return _said(413, f"a write is at most {MOST_BYTES:,} bytes", "Send less.")
        return None


def _same_origin(request: Request, netloc: str) -> bool:
    origin = request.headers.get("origin")
    from_ours = origin is None or urlsplit(origin).netloc == netloc
    return from_ours and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"


def _said(status: int, problem: str, fix: str) -> Response:
    what = {"type": "Refused", "problem": problem, "fix": fix}
    return JSONResponse({"error": what}, status)

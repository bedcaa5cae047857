"""What stands before every page: who may ask, from where, and what a browser may do with it.

On loopback the Host header has to be a loopback name, so that a foreign page cannot reach the app
through a name of its own (DNS rebinding). Beyond loopback everything needs a key: one opens all
pages, the other the label pages only, since the others show which images are golden. Writes need
the same-site token: a cookie that only our pages can read back, and so keeps across restarts.
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
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_READS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Keys:
    """What people on other machines give: for `everything`, or for `labelling` alone."""

    everything: str
    labelling: str


@dataclass(frozen=True)
class Guard:
    """ASGI middleware. `keys` is None on loopback; `cookie` names this app's cookies."""

    app: ASGIApp
    cookie: str
    keys: Keys | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        token = request.cookies.get(f"{self.cookie}_token", "")
        fresh = len(token) != 43
        token = secrets.token_urlsafe(32) if fresh else token
        role = self.role(request.cookies.get(f"{self.cookie}_key", ""))
        scope.setdefault("state", {}).update(token=token, labels_only=role == "label")

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

        refused = self._refusal(request, token, role)
        await (refused or self.app)(scope, receive, answer)

    def baked(self, name: str, value: str) -> str:
        """A cookie that no script reads and no other site sends along."""
        return f"{self.cookie}_{name}={value}; Path=/; HttpOnly; SameSite=Strict"

    def role(self, said: str) -> str | None:
        """What a key opens: `all`, `label`, or nothing; on loopback nobody needs one."""
        if self.keys is None:
            return "all"
        for key, role in ((self.keys.everything, "all"), (self.keys.labelling, "label")):
            if secrets.compare_digest(said.encode(), key.encode()):
                return role
        return None

    def _refusal(self, request: Request, token: str, role: str | None) -> Response | None:
        host = urlsplit(f"//{request.headers.get('host', '')}")
        if self.keys is None and host.hostname not in LOOPBACK:
            return PlainTextResponse("This app answers to localhost only.", 421)
        path = request.url.path
        is_page = request.method in _READS and not path.startswith("/api/")
        if not (path == ENTRANCE or path.startswith("/static/")):
            if role is None:
                missing = "this browser has not given the key"
                return _sent(is_page, ENTRANCE) or _said(401, missing, "Open the start page.")
            if role == "label" and not _is_labelling(path):
                theirs = "this key opens the label pages only"
                return _sent(is_page, "/label") or _said(403, theirs, "Ask for the other key.")
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


def _is_labelling(path: str) -> bool:
    """Closing a batch is for those who run the loop."""
    return path.startswith(("/label", "/api/label/")) and not path.endswith("/close")


def _sent(is_page: bool, address: str) -> Response | None:
    return RedirectResponse(address, 303) if is_page else None


def _same_origin(request: Request, netloc: str) -> bool:
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if origin == "null":  # a browser that hides where a form was: then only its own word counts
        return site == "same-origin"
    from_ours = origin is None or urlsplit(origin).netloc == netloc
    return from_ours and site in (None, "same-origin")


def _said(status: int, problem: str, fix: str) -> Response:
    what = {"type": "Refused", "problem": problem, "fix": fix}
    return JSONResponse({"error": what}, status)

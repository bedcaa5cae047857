"""The app as a whole: its routes, what stands before them, and the process that serves it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from annoloop import errors, report
from annoloop.app import dashboard, label, overview
from annoloop.app import map as map_page
from annoloop.app.guard import LOOPBACK, Guard, Keys
from annoloop.app.jobs import Jobs
from annoloop.app.pages import Pages, routes

if TYPE_CHECKING:
    from annoloop.project import Project

STATIC = Path(__file__).parent / "static"
PARTS = Path(report.__file__).parent / "templates" / "parts.css"
"""What the report's page writes into itself, the app serves."""

_STATUS: tuple[tuple[type[errors.AnnoloopError], int], ...] = (
    (errors.TakenError, 409),
    (errors.BusyError, 503),
    (errors.StorageError, 503),
    (errors.BatchClosedError, 410),
    (errors.BatchError, 404),
    (errors.InputError, 422),
)
"""First match counts; 503 is what a page tries again by itself. Other expected failures are 409."""


def make_app(project: Project, *, port: int, keys: Keys | None = None) -> Guard:
    """The app of a project. Without `keys` it answers to loopback names only."""
    jobs = Jobs(project.folder)
    pages = Pages(project, jobs)

    async def expected(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.AnnoloopError)
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 409)
        return _failed(request, status, error)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = errors.InputError(error.detail.lower(), fix="Go on from the start page.")
        return _failed(request, error.status_code, said)

    async def bug(request: Request, _error: Exception) -> Response:
        fix = "Please report it with the lines that `annoloop app` printed."
        return _failed(request, 500, errors.AnnoloopError("this is a bug in annoloop", fix=fix))

    def _failed(request: Request, status: int, error: errors.AnnoloopError) -> Response:
        if request.url.path.startswith("/api/"):
            what = {"type": type(error).__name__, "problem": error.problem, "fix": error.fix}
            return JSONResponse({"error": what}, status)
        return pages.render(request, "error.html", status, error=error)

    app = Starlette(
        routes=[
            *routes(pages, lambda: guard),
            *overview.routes(project, pages, jobs),
            *dashboard.routes(project, pages),
            *label.routes(project, pages),
            *map_page.routes(project, pages),
            Route("/static/parts.css", lambda _: FileResponse(PARTS)),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={errors.AnnoloopError: expected, HTTPException: refused, 500: bug},
    )
    # Browsers share the cookies of all ports of a host, and somebody may run two apps.
    guard = Guard(app, cookie=f"annoloop_{port}", keys=keys)
    return guard


def serve(project: Project, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until interrupted. Beyond loopback everything needs a key, made here if not set."""
    import socket

    import uvicorn

    keys = None
    if host not in LOOPBACK:
        ours = project.settings.app
        keys = Keys(
            ours.key or secrets.token_urlsafe(16), ours.label_key or secrets.token_urlsafe(16)
        )
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        raise errors.InputError(
            f"cannot listen on {host} port {port} ({error})", fix="Name another `--port`."
        ) from error
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    say(f"{project.folder.name} is at http://{shown}:{port} (end it with Ctrl+C)")
    if keys is not None:
        say(f"the key for those who label: {keys.labelling}")
        say(f"the key for those who run the loop: {keys.everything}")
    app = make_app(project, port=port, keys=keys)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, proxy_headers=False
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])

"""Pages that are written on the server: what all of them show, and the entrance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from annoloop.app.guard import ENTRANCE, Guard
from annoloop.app.jobs import Jobs
from annoloop.render_text import counted
from annoloop.report.environment import environment

if TYPE_CHECKING:
    from annoloop.project import Project

NAVIGATION: tuple[tuple[str, str], ...] = (
    ("/", "Overview"),
    ("/label", "Label"),
    ("/failures", "Failures"),
    ("/batches", "Batches"),
    ("/map", "Map"),
    ("/golden", "Golden"),
    ("/history", "History"),
)
"""Address and name of each page in the head of all pages."""


class Pages:
    """Templates with what all of them show: the project's name, the navigation, the token."""

    def __init__(self, project: Project, jobs: Jobs) -> None:
        self._project = project
        self._jobs = jobs
        self._templates = environment("annoloop.app")

    def render(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        text = self._templates.get_template(template).render(
            project=self._project.folder.name,
            navigation=NAVIGATION[1:2] if request.state.labels_only else NAVIGATION,
            labels_only=request.state.labels_only,
            here=request.url.path,
            token=request.state.token,
            job=self._jobs.view(),
            **values,
        )
        return HTMLResponse(counted(text), status)


def routes(pages: Pages, guard: Callable[[], Guard]) -> list[Route]:
    """The entrance, for those who come from other machines."""

    async def entrance(request: Request) -> Response:
        if request.method == "GET":
            return pages.render(request, "enter.html", refused=False)
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        said = form.get("key", [""])[0]
        if guard().role(said) is None:
            return pages.render(request, "enter.html", 403, refused=True)
        response = RedirectResponse("/", 303)
        response.headers.append("Set-Cookie", guard().baked("key", said))
        return response

    return [Route(ENTRANCE, entrance, methods=["GET", "POST"])]

"""The label page and what it asks of the server; nothing in it tells a golden image from a pick."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from annoloop.app.bodies import asked
from annoloop.app.pages import Pages
from annoloop.app.pictures import for_browser
from annoloop.desk import Desk
from annoloop.results_label import Work

if TYPE_CHECKING:
    from annoloop.project import Project


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)


class _Person(_Body):
    who: str = Field(max_length=200)


class _Claim(_Person):
    number: int | None = None
    after: int = Field(0, ge=0)


class _Work(_Person):
    boxes: list[tuple[float, float, float, float, float, float, float]]
    seconds: float
    tab: str = Field(max_length=64)
    revision: int = Field(ge=0)
    why: str | None = Field(None, max_length=2000)

    def work(self) -> Work:
        return Work(tuple(self.boxes), self.seconds, self.tab, self.revision, self.why)


class _Answer(_Work):
    answer: str


def routes(project: Project, pages: Pages) -> list[Route]:
    """The page, its images, and its reads and writes under /api/label/BATCH/."""
    desk = Desk(project)

    async def batches(request: Request) -> Response:
        now = await run_in_threadpool(project.status)
        return pages.render(request, "label_list.html", batches=[b for b in now.batches if b.open])

    async def page(request: Request) -> Response:
        setup = await run_in_threadpool(desk.setup, request.path_params["batch"])
        return pages.render(request, "label.html", setup=setup)

    def image(request: Request) -> Response:
        batch, number = _place(request)
        data, kind = for_browser(desk.image(batch, number).uri)
        # No date, name or hash of the file: they could tell where an image comes from.
        return Response(data, media_type=kind, headers={"Cache-Control": "private, max-age=3600"})

    def setup(request: Request) -> Any:
        return asdict(desk.setup(request.path_params["batch"]))

    def queue(request: Request, body: _Person) -> Any:
        return asdict(desk.queue(request.path_params["batch"], body.who))

    def claim(request: Request, body: _Claim) -> Any:
        batch = request.path_params["batch"]
        found = desk.claim(batch, body.who, number=body.number, after=body.after)
        return None if found is None else asdict(found)

    def draft(request: Request, body: _Work) -> Any:
        return asdict(desk.save(*_place(request), body.who, body.work()))

    def answer(request: Request, body: _Answer) -> Any:
        work = body.work()
        return asdict(desk.answer(*_place(request), body.who, answer=body.answer, work=work))

    def close(request: Request, body: _Person) -> Any:
        theirs = type(project)(project.folder, who=body.who.strip() or None)
        return asdict(theirs.annotate_close(request.path_params["batch"]))

    at = "/api/label/{batch}"
    return [
        Route("/label", batches),
        Route("/label/{batch}", page),
        Route("/label/{batch}/image/{number:int}", image),
        Route(f"{at}/setup", lambda request: JSONResponse(setup(request))),
        Route(f"{at}/queue", asked(_Person, queue), methods=["POST"]),
        Route(f"{at}/claim", asked(_Claim, claim), methods=["POST"]),
        Route(f"{at}/close", asked(_Person, close), methods=["POST"]),
        Route(f"{at}/{{number:int}}/draft", asked(_Work, draft), methods=["POST"]),
        Route(f"{at}/{{number:int}}/answer", asked(_Answer, answer), methods=["POST"]),
    ]


def _place(request: Request) -> tuple[str, int]:
    return request.path_params["batch"], request.path_params["number"]

"""The start page: where the loop stands, what is next to do, and the steps that it starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from annoloop.app.bodies import asked
from annoloop.app.dashboard import course_of
from annoloop.app.jobs import Jobs
from annoloop.app.offers import OFFERS, Offer, order
from annoloop.app.pages import Pages
from annoloop.report import collect, figures
from annoloop.results import StatusResult

if TYPE_CHECKING:
    from annoloop.project import Project


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid")
    who: str = Field("", max_length=200)
    form: dict[str, str] = Field(default_factory=dict)


class _Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


def routes(project: Project, pages: Pages, jobs: Jobs) -> list[Route]:
    """The page, and /api/steps/VERB, /api/job, /api/job/stop."""

    async def overview(request: Request) -> Response:
        now = await run_in_threadpool(project.status)
        seen = jobs.view()
        ours = seen is not None and seen.state == "running"
        elsewhere = None if ours else await run_in_threadpool(project.busy)
        return pages.render(request, "overview.html", elsewhere=elsewhere, **_shown(now))

    def start(request: Request, wish: _Wish) -> Any:
        wanted = order(request.path_params["verb"], wish.form, project.status())
        return asdict(jobs.start(wanted, who=wish.who.strip() or None))

    def job(_request: Request) -> Response:
        seen = jobs.view()
        return JSONResponse(None if seen is None else asdict(seen))

    def busy(_request: Request) -> Response:
        return JSONResponse(project.busy())

    def stop(_request: Request, _nothing: _Nothing) -> Any:
        jobs.stop()
        return {}

    return [
        Route("/", overview),
        Route("/api/steps/{verb}", asked(_Wish, start), methods=["POST"]),
        Route("/api/job", job),
        Route("/api/busy", busy),
        Route("/api/job/stop", asked(_Nothing, stop), methods=["POST"]),
    ]


def _shown(now: StatusResult) -> dict[str, Any]:
    offers = [offer for offer in OFFERS if offer.possible(now)]
    return {
        "data": now,
        "headline": collect.headline(now),
        "next_offers": next_offers(now.next_step, offers),
        "offers": offers,
        "waiting": [batch for batch in now.batches if batch.open],
        "progress": figures.progress(now.pool),
        "patterns": figures.PATTERNS,
        "figures": figures.loop(course_of(now)),
    }


def next_offers(said: str, offers: Sequence[Offer]) -> list[tuple[Offer, dict[str, str]]]:
    """The offers whose commands the sentence about what is next names, and what it fills in."""
    found = []
    for command in re.findall(r"`(annoloop [^`]+)`", said):
        for offer in offers:
            form = filled(offer, command)
            if form is not None:
                found.append((offer, form))
    return found


def filled(offer: Offer, command: str) -> dict[str, str] | None:
    """What a command line fills into the form of a verb; None if it asks for more, or another."""
    words, own = shlex.split(command), shlex.split(offer.command)
    if words[: len(own)] != own:
        return None
    rest = words[len(own) :]
    places = [field for field in offer.fields if field.flag is None]
    flags = {field.flag: field for field in offer.fields if field.flag is not None}
    found = {}
    while rest:
        field = flags.get(rest[0]) or (places.pop(0) if places and rest[0][0] != "-" else None)
        if field is None:
            return None
        if field.flag is not None:
            rest.pop(0)
        value = rest.pop(0) if rest and field.kind != "yes" else "yes"
        # The sentence says `--accept "why"`: the reason itself is for the person to give.
        if field.kind != "text":
            found[field.name] = value
    # `annoloop train` and `annoloop train --folds 5` are two forms: each is told by what it needs.
    lacks = any(one.needed and one.flag and one.name not in found for one in offer.fields)
    return None if lacks else found

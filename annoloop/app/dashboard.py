"""The pages that show where the loop stands: what was picked and why, where the model fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from annoloop.app.pages import Pages
from annoloop.app.pictures import for_browser, placeholder
from annoloop.errors import InputError
from annoloop.images import thumbnail_jpeg
from annoloop.records import Box, Sample
from annoloop.report import collect, figures
from annoloop.report.charts import Chart
from annoloop.report.control_chart import control_chart
from annoloop.results import IterationRow, StatusResult
from annoloop.results_failures import FailuresResult, FailureView
from annoloop.results_golden import GoldenPrelabelsResult
from annoloop.results_models import ImageView

if TYPE_CHECKING:
    from annoloop.project import Project

PAGE = 48
"""Pictures on one page of a gallery."""

SIDE = 320
"""Longest side of a thumbnail in pixels."""

GROUPS = 30
"""Rows of the table of failure groups."""

PRELABELS = {
    "agreement": "agreement with the model (F1)",
    "boxes": "boxes an image",
    "confirmed": "share of the model's boxes kept",
    "foreseen": "share of the boxes that the model had",
    "unchanged": "share of the model's boxes kept unchanged",
    "missed": "golden: share of objects missed",
    "spurious": "golden: share of boxes too many",
    "seconds": "seconds an image",
}
"""What `golden prelabels` measures, in words."""

_CACHED = {"Cache-Control": "private, max-age=3600"}
"""For pictures: images hardly ever change, and a gallery that is scrolled back asks for nothing."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Course:
    """What the figures of the loop are drawn from."""

    iterations: tuple[IterationRow, ...]
    metric: str
    target: float | None
    outlook: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Part(Sequence[T]):
    """One page of a longer list; pages count from 1."""

    items: Sequence[T]
    number: int
    total: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: Any) -> Any:
        return self.items[place]

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE))


def part(items: Sequence[T], request: Request) -> Part[T]:
    """The page that `?page=` names, the nearest one where it names none."""
    said = request.query_params.get("page", "1")
    asked = int(said) if said.isdecimal() and len(said) < 9 else 1
    number = min(max(1, asked), max(1, -(-len(items) // PAGE)))
    return Part(items[(number - 1) * PAGE : number * PAGE], number, len(items))


@dataclass(frozen=True, slots=True)
class Shown:
    """An image with the boxes that are drawn over it, and whatever is said below it."""

    image: ImageView
    truth: tuple[Box, ...]
    predicted: tuple[Box, ...]
    about: Any


def course_of(now: StatusResult) -> Course:
    return Course(now.iterations, now.metric, now.target, (now.decided or {}).get("outlook"))


class Dashboard:
    """What each page shows, read from the project; safe to call from several threads."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._turn = Lock()
        self._known: tuple[int, FailuresResult, list[Chart]] | None = None
        self._swayed: tuple[int, GoldenPrelabelsResult] | None = None

    def history(self) -> dict[str, Any]:
        now = self._project.status()
        return {
            "data": now,
            "figures": figures.loop(course_of(now)),
            "history": self._project.history(),
        }

    def failures(self, request: Request) -> dict[str, Any]:
        kind = request.query_params.get("type")
        name = request.query_params.get("class")
        evaluation = self._project.newest_evaluation()
        if evaluation is None:
            return {"found": None, "kind": kind, "name": name}
        found, drawn = self._weakness(evaluation)
        classes = self._project.status().classes
        chosen = [
            view
            for view in collect.spread(found.failures, len(found.failures))
            if (kind is None or view.failure.type == kind)
            and (name is None or classes[view.failure.class_id] == name)
        ]
        shown = part(chosen, request)
        views = self._project.gallery(
            {v.failure.sample_id for v in shown} | {one.sample_id for one in found.worst}
        )
        return {
            "found": found,
            "kind": kind,
            "name": name,
            "failures": shown,
            "cards": [_failure(view, views[view.failure.sample_id]) for view in shown],
            "worst": [_whole(views[one.sample_id], one) for one in found.worst],
            "groups": found.groups[:GROUPS],
            "groups_in_all": len(found.groups),
            "changes": found.changes,
            "linked": True,
            "weak_figures": drawn,
        }

    def _weakness(self, evaluation: int) -> tuple[FailuresResult, list[Chart]]:
        """The failures of an evaluation and their figures, which it decides for good."""
        with self._turn:
            if self._known is None or self._known[0] != evaluation:
                found = self._project.failures()
                drawn = figures.weakness(collect.weakness(self._project, found))
                self._known = evaluation, found, drawn
            return self._known[1:]

    def batches(self) -> dict[str, Any]:
        newest_first = reversed(self._project.batch_list().batches)
        # How many golden images travel in a batch would help to find them.
        return {
            "batches": [
                (one, {name: n for name, n in one.by_source.items() if name != "golden"})
                for one in newest_first
            ]
        }

    def batch(self, request: Request) -> dict[str, Any]:
        made = self._project.batch_show(request.path_params["name"])
        source = request.query_params.get("source")
        chosen = [one for one in made.picks if source is None or one.source == source]
        shown = part(chosen, request)
        views = self._project.gallery({one.sample_id for one in shown})
        return {
            "made": made,
            "source": source,
            "sources": dict(Counter(one.source for one in made.picks)),
            "picks": shown,
            "cards": [_whole(views[one.sample_id], one, predicted=False) for one in shown],
        }

    def golden(self) -> dict[str, Any]:
        now = self._project.status()
        stats = self._project.golden_stats()
        return {
            "now": now,
            "stats": stats,
            "plan": self._project.golden_plan(),
            "prelabels": self._prelabels(now),
            "words": PRELABELS,
            "control": control_chart(collect.golden_points(stats)),
            "cards": [_whole(one.image, one) for one in self._project.golden_conflicts()],
        }

    def _prelabels(self, now: StatusResult) -> GoldenPrelabelsResult:
        """What the model's boxes do: drawn anew only when a batch was closed."""
        closed = sum(not batch.open for batch in now.batches)
        with self._turn:
            if self._swayed is None or self._swayed[0] != closed:
                self._swayed = closed, self._project.golden_prelabels()
            return self._swayed[1]

    def sample(self, request: Request) -> dict[str, Any]:
        return {"one": self._project.sample(request.path_params["sample"])}

    def thumbnail(self, request: Request) -> Response:
        return self._picture(request, lambda one: (_thumbnail(one.uri, one.sha256), "image/jpeg"))

    def whole(self, request: Request) -> Response:
        return self._picture(request, lambda one: for_browser(one.uri))

    def _picture(self, request: Request, drawn: Callable[[Sample], tuple[bytes, str]]) -> Response:
        """Bytes and media type of an image; where it cannot be read a placeholder says so."""
        image = self._project.image(request.path_params["sample"])
        try:
            data, kind = drawn(image)
        except InputError:
            return Response(placeholder(image.width, image.height), media_type="image/svg+xml")
        return Response(data, media_type=kind, headers=_CACHED)


def routes(project: Project, pages: Pages) -> list[Route]:
    """The pages, each a template with what one reading of the project found."""
    board = Dashboard(project)

    def page(template: str, read: Any, *, asks: bool) -> Any:
        async def endpoint(request: Request) -> Response:
            found = await run_in_threadpool(read, *((request,) if asks else ()))
            return pages.render(request, template, **found)

        return endpoint

    return [
        Route("/history", page("history.html", board.history, asks=False)),
        Route("/failures", page("gallery.html", board.failures, asks=True)),
        Route("/batches", page("batches.html", board.batches, asks=False)),
        Route("/batches/{name}", page("batch.html", board.batch, asks=True)),
        Route("/golden", page("golden.html", board.golden, asks=False)),
        Route("/sample/{sample}", page("sample.html", board.sample, asks=True)),
        Route("/thumb/{sample}", board.thumbnail),
        Route("/image/{sample}", board.whole),
    ]


@lru_cache(maxsize=2000)
def _thumbnail(uri: str, _content: str) -> bytes:
    return thumbnail_jpeg(uri, side=SIDE)


def _failure(view: FailureView, image: ImageView) -> Shown:
    truth, predicted = collect.boxes_of(view, image)
    return Shown(image, truth, predicted, view)


def _whole(image: ImageView, about: Any, *, predicted: bool = True) -> Shown:
    return Shown(image, image.labels, image.predicted if predicted else (), about)

"""The report as one HTML file: it loads nothing, runs nothing, and may be mailed.

`ReportData` is all that the page shows; `render_page` reads image files for thumbnails and nothing
else. Every text is escaped: a class named `<script>` is a word.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annoloop.errors import InputError
from annoloop.images import thumbnail_jpeg
from annoloop.records import Box
from annoloop.render_text import counted
from annoloop.report import figures
from annoloop.report.control_chart import GoldenPoint, control_chart
from annoloop.report.environment import environment
from annoloop.report.pr_chart import ClassCurve
from annoloop.results import IterationRow, PoolProgress
from annoloop.results_failures import ChangesView, GroupView

THUMBNAILS = 24
"""Pictures of one batch, and pictures of failures."""

GROUPS = 12
"""Rows of the table of failure groups."""

SIDE = 320
"""Longest side of a thumbnail in pixels."""

PICTURE_BYTES = 5_000_000
"""All pictures of a page together, as they stand in it; what comes later is shown without one."""

GREEN, RED = "#2fe07a", "#c8102e"
"""Labels and truth, solid; predictions, dashed: light and dark too, so that grey tells them."""


@dataclass(frozen=True, slots=True)
class PickCard:
    """One pick of a batch; `uri` is where the image lies, `boxes` its labels, if it has any."""

    path: str
    uri: str
    source: str
    rank: int
    score: float
    reason: str
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchCards:
    """A batch, open or closed, with all its picks in order, and who did what to it when.

    The times are ISO 8601; `annotators` are those who answered.
    """

    name: str
    open: bool
    picks: tuple[PickCard, ...]
    annotators: tuple[str, ...] = ()
    made_at: str | None = None
    closed_at: str | None = None
    embedder: str | None = None
    """The vectors that it was chosen by."""


@dataclass(frozen=True, slots=True)
class FailureCard:
    """One failure: `text` says what went wrong, `price` is in AP50 (0 … 1)."""

    path: str
    uri: str
    type: str
    text: str
    price: float
    truth: tuple[Box, ...] = ()
    predicted: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class WorstCard:
    """One image of mine with all its boxes, right, wrong and missed; `at_least` of them wrong."""

    path: str
    uri: str
    tp: int
    fp: int
    fn: int
    at_least: float
    truth: tuple[Box, ...] = ()
    predicted: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Weakness:
    """Where the newest model fails: over the iterations, by class, in groups, on whole images.

    `by_class` are failures by class of each iteration (name, counts); `curves` are of the classes
    on gauge at the operating point `min_score`.
    """

    by_class: tuple[tuple[str, Mapping[str, int]], ...] = ()
    curves: tuple[ClassCurve, ...] = ()
    min_score: float = 0.0
    groups: tuple[GroupView, ...] = ()
    changes: ChangesView | None = None
    worst: tuple[WorstCard, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportData:
    """What the page shows: iterations and batches oldest first, failures worst first.

    `metric` names the number that `target` and each row's `metric` are values of. Backticks in
    sentences mark commands and names.
    """

    project: str
    generated_at: str
    headline: str
    next_step: str
    metric: str
    target: float | None
    pool: PoolProgress
    outlook: Mapping[str, Any] | None = None
    iterations: tuple[IterationRow, ...] = ()
    batches: tuple[BatchCards, ...] = ()
    failures: tuple[FailureCard, ...] = ()
    weakness: Weakness = Weakness()
    golden: tuple[GoldenPoint, ...] = ()
    golden_reason: str | None = None
    prelabels: str | None = None
    conflicts: tuple[FailureCard, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Shown:
    """A card with its picture as a data: URI, or why there is none."""

    card: Any
    picture: str | None
    why: str


@dataclass(frozen=True, slots=True)
class _Batch:
    cards: BatchCards
    sources: Mapping[str, int]
    shown: Sequence[_Shown]


class _Album:
    """Thumbnails until the page is full."""

    def __init__(self, room: int) -> None:
        self._room = room

    def show(
        self, card: PickCard | FailureCard | WorstCard, boxes: Sequence[tuple[Box, str]]
    ) -> _Shown:
        if self._room <= 0:
            return _Shown(card, None, "left out to keep this page small")
        try:
            jpeg = thumbnail_jpeg(card.uri, side=SIDE, boxes=boxes, dashed=(RED,))
        except InputError:
            return _Shown(card, None, "cannot be read")
        uri = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
        self._room -= len(uri)
        return _Shown(card, uri, "")


def render_page(data: ReportData) -> str:
    """The whole page as text, under 6 MB however much data there is.

    An image that cannot be read is shown as a placeholder with its name.
    """
    templates = environment()
    album = _Album(PICTURE_BYTES)
    failures = data.failures[:THUMBNAILS]
    text = templates.get_template("page.html").render(
        data=data,
        conflicts=[album.show(one, _failure_boxes(one)) for one in data.conflicts[:THUMBNAILS]],
        control=control_chart(data.golden),
        failures=[album.show(one, _failure_boxes(one)) for one in failures],
        worst=[album.show(one, _failure_boxes(one)) for one in data.weakness.worst],
        groups=data.weakness.groups[:GROUPS],
        changes=data.weakness.changes,
        groups_in_all=len(data.weakness.groups),
        linked=False,
        weak_figures=figures.weakness(data.weakness),
        failures_in_all=max(len(data.failures), _newest_failures(data)),
        batches=[_batch(album, batch) for batch in reversed(data.batches)],
        patterns=figures.PATTERNS,
        progress=figures.progress(data.pool),
        figures=figures.loop(data),
    )
    return counted(text)


def _newest_failures(data: ReportData) -> int:
    evaluated = [row for row in data.iterations if row.metric is not None]
    return sum(evaluated[-1].failures.values()) if evaluated else 0


def _failure_boxes(card: FailureCard | WorstCard) -> list[tuple[Box, str]]:
    return [(b, GREEN) for b in card.truth] + [(b, RED) for b in card.predicted]


def _batch(album: _Album, batch: BatchCards) -> _Batch:
    sources: dict[str, int] = {}
    for pick in batch.picks:
        sources[pick.source] = sources.get(pick.source, 0) + 1
    shown = [
        album.show(pick, [(box, GREEN) for box in pick.boxes]) for pick in batch.picks[:THUMBNAILS]
    ]
    return _Batch(batch, sources, shown)

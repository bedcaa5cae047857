"""What `history` and `sample` answer: the JSON keys."""

from __future__ import annotations

from dataclasses import dataclass

from annoloop.records import Box


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of an iteration as it was done last: when (ISO 8601), by whom, what came out."""

    step: str
    at: str
    who: str
    said: str


@dataclass(frozen=True, slots=True)
class IterationView:
    """One iteration: its batch, and its steps in the order they were done."""

    name: str
    batch: str
    opened_at: str
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class EventView:
    """One line of the audit log; `target` is what it was done to."""

    at: str
    who: str
    what: str
    target: str
    said: str


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """Iterations oldest first; the newest events first, of `events_in_all`."""

    iterations: tuple[IterationView, ...]
    events: tuple[EventView, ...]
    events_in_all: int


@dataclass(frozen=True, slots=True)
class BoxView:
    """One box (x, y, width, height in pixels) with the name of its class, and a model's score."""

    box: Box
    class_name: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class PlaceView:
    """A batch that holds the sample, and why."""

    batch: str
    source: str
    rank: int
    score: float
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class AnswerView:
    """One answer of one person; `seconds` where the time was taken."""

    batch: str
    annotator: str
    answer: str
    boxes: int
    at: str
    seconds: float | None
    origin: str
    why: str | None
    started_from: str | None = None
    """The model whose boxes the person started from, `blank` where they saw none of the batch's."""


@dataclass(frozen=True, slots=True)
class SampleView:
    """All that is known of one image.

    `labels` are those that count today, by `labels_from` (a person, or `reference`); `predicted`
    are the boxes of `model` from its operating point on. Being hidden in an open batch is not told.
    """

    id: str
    path: str
    uri: str
    width: int
    height: int
    group: str | None
    split: str | None
    half: str | None
    status: str
    why: str | None
    labels: tuple[BoxView, ...]
    labels_from: str | None
    predicted: tuple[BoxView, ...]
    model: str | None
    batches: tuple[PlaceView, ...]
    answers: tuple[AnswerView, ...]
    failures: tuple[str, ...]

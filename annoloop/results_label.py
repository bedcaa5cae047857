"""What labelling in the local app answers: setup, tasks, saves; none of it tells a golden image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Row = Sequence[float]
"""One box on its way to and from a browser: class id, x, y, width, height, flags, suggested."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a browser sends: the boxes of one image, what the person says, and how long it took.

    `tab` names the browser tab, `revision` is the newest save that it knows of.
    """

    boxes: tuple[Row, ...]
    seconds: float
    tab: str
    revision: int
    why: str | None = None


@dataclass(frozen=True, slots=True)
class ClassView:
    """A class and its rules."""

    name: str
    min_side: float
    most: int | None


@dataclass(frozen=True, slots=True)
class LabelSetup:
    """`people`: how many answer each image, None where everybody does (qualification passes)."""

    batch: str
    kind: str
    open: bool
    total: int
    people: int | None
    classes: tuple[ClassView, ...]
    suggests: bool
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How many images of the batch have an answer, and how many of them this person's."""

    total: int
    answered: int
    mine: int


@dataclass(frozen=True, slots=True)
class TaskView:
    """One image to label. `boxes` come from `draft`, `answer`, `labels`, `model` or `nothing`."""

    number: int
    width: int
    height: int
    boxes: tuple[Row, ...]
    origin: str
    answer: str | None
    why: str | None
    seconds: float
    revision: int
    upcoming: tuple[int, ...]
    standing: Standing


@dataclass(frozen=True, slots=True)
class SavedView:
    """What is on the disk now."""

    revision: int
    at: str
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class QueueView:
    """One word a task, in order: `mine`, `draft`, `free`, `held` or `done` (by others).

    `drafts` counts images on which anybody has drawn without answering.
    """

    states: tuple[str, ...]
    standing: Standing
    drafts: int

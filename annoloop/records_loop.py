"""What a data set of another tool says of its own loop; standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annoloop.records import Box, Split, Status


@dataclass(frozen=True, slots=True)
class Drawn:
    """A box as it stands there: its class by name, x, y, width, height as shares of the image.

    `score` is that of a detection, None for what people drew.
    """

    name: str
    shares: Box
    crowd: bool = False
    score: float | None = None


@dataclass(frozen=True, slots=True)
class LoopBoxes:
    """The boxes of one sample: trusted ones, and those that people drew.

    None where nobody has looked, or nobody said so; no boxes where somebody looked and there is
    nothing to draw.
    """

    reference: tuple[Drawn, ...] | None = None
    human: tuple[Drawn, ...] | None = None


@dataclass(frozen=True, slots=True)
class LoopSample:
    """One sample and how far it is. `file` is a full path; `split` is None where none was made.

    `batches` are the numbers of the batches that it was picked for, `answered` of those that it was
    answered in; `sources` say what picked it, `reason` why the last time. `waiting` marks it as
    sent out. `failures` are the kinds of failure that an evaluation put on the image. `tags`
    are all of the loop's tags, as they stand there; a `silent` sample has neither tags nor status
    there, and what is said of it is said of its group.
    """

    external_id: str
    file: str
    split: Split | None = None
    status: Status = Status.UNLABELED
    group: str | None = None
    batches: tuple[int, ...] = ()
    answered: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()
    waiting: bool = False
    reason: str | None = None
    score: float | None = None
    failures: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """What another tool shows of one sample; None where it shows nothing."""

    status: str | None = None
    tags: tuple[str, ...] = ()
    reason: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Mirrored:
    """What another tool shows of the loop: samples by external id, what is told of the whole, the
    saved views, and the names of the fields that a sample can have."""

    samples: Mapping[str, Shown]
    info: Mapping[str, Any]
    views: frozenset[str]
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class ForeignLoop:
    """A whole data set but for boxes and vectors, which are read in parts.

    `samples` come in the data set's order. `vectors` is the name of the embedder that stands for
    theirs, None where none has any; `group` names the field that samples are grouped by, `human`
    that of people's boxes, if there is one. `golden_history` and `evaluations` are kept
    as they were written. `notes` say what was found and is not taken over.
    """

    name: str
    classes: tuple[str, ...]
    samples: tuple[LoopSample, ...]
    vectors: str | None = None
    group: str | None = None
    human: str | None = None
    golden_history: tuple[Mapping[str, Any], ...] = ()
    evaluations: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

"""The words of annoloop as frozen records; standard library only. GLOSSARY.md explains them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Box = tuple[float, float, float, float]
"""x, y, width, height in absolute pixels, origin at the top left."""


class Split(StrEnum):
    """Where a sample belongs; fixed once the splits are locked."""

    TEST = "test"
    VAL = "val"
    GOLDEN = "golden"
    POOL = "pool"


class Half(StrEnum):
    """The two fixed halves of val: failures come from `mine`, the metric from `gauge`."""

    MINE = "mine"
    GAUGE = "gauge"


class Status(StrEnum):
    """How far a sample is on its way to a label."""

    UNLABELED = "unlabeled"
    SELECTED = "selected"
    ANNOTATED = "annotated"
    PENDING = "pending"
    SKIPPED = "skipped"


class Answer(StrEnum):
    """What a person said about one image. `empty` is an answer, not a gap."""

    COMPLETE = "complete"
    EMPTY = "empty"
    UNSURE = "unsure"
    UNUSABLE = "unusable"


class BatchKind(StrEnum):
    """Only `select` moves pool status and opens an iteration."""

    SELECT = "select"
    VAL = "val"
    GOLDEN = "golden"
    TEST = "test"
    REVIEW = "review"
    RELABEL = "relabel"


class FailureType(StrEnum):
    """Exactly one type for each wrong thing a model did (TIDE, arXiv 2008.08115)."""

    MISSED = "missed"
    BACKGROUND = "background"
    CLASS = "class"
    LOCATION = "location"
    CLASS_LOCATION = "class+location"
    DUPLICATE = "duplicate"


class GoldenVerdict(StrEnum):
    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    INSUFFICIENT = "insufficient"


class StopVerdict(StrEnum):
    CONTINUE = "continue"
    FIX_LABELS = "fix_labels"
    STOP_TARGET = "stop_target"
    STOP_AMBIGUITY = "stop_ambiguity"
    STOP_PLATEAU = "stop_plateau"
    STOP_BUDGET = "stop_budget"
    STOP_POOL_EMPTY = "stop_pool_empty"

    @property
    def stops(self) -> bool:
        """True when the loop should not open another batch."""
        return self is not StopVerdict.CONTINUE


def sample_id(relative_path: str) -> str:
    """The stable id of a sample: 16 hex digits of the BLAKE2b of its relative POSIX path."""
    return hashlib.blake2b(relative_path.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Label:
    """One box with a class. `class_id` is the position in the schema.

    `crowd` is COCO's `iscrowd`, `difficult` is Pascal VOC's flag; both are ignored by metrics and
    never trained on as an object or as background.
    """

    class_id: int
    box: Box
    crowd: bool = False
    difficult: bool = False

    @property
    def ignored(self) -> bool:
        return self.crowd or self.difficult


@dataclass(frozen=True, slots=True)
class Detection:
    """One predicted box with its class and its score in [0, 1]."""

    class_id: int
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class Schema:
    """The ordered class list; the order is the id."""

    classes: tuple[str, ...]

    def index(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.classes)}


@dataclass(frozen=True, slots=True)
class Sample:
    """One image. `path` is relative to the image root (POSIX); `uri` is where it lies:
    stored relative to the image root (or as a URL), loaded as a full path."""

    id: str
    path: str
    uri: str
    width: int
    height: int
    sha256: str
    group: str | None = None
    split: Split | None = None
    half: Half | None = None
    status: Status = Status.UNLABELED
    why: str | None = None
    external_id: str | None = None
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Annotation:
    """One person's answer for one sample in one batch; a correction is a newer annotation."""

    sample_id: str
    batch: str
    annotator: str
    answer: Answer
    labels: tuple[Label, ...] = ()
    why: str | None = None
    seconds: float | None = None
    origin: str = "files"
    at: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """The trusted labels of a sample; a correction is a newer version."""

    sample_id: str
    labels: tuple[Label, ...]
    source: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class Pick:
    """One sample of a batch and why it is there. `score` is the source's own scale."""

    sample_id: str
    source: str
    rank: int
    score: float
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A source that could not fill its quota, and who took over."""

    source: str
    asked: int
    got: int
    refilled_by: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Selection:
    """A batch before it is taken: picks in order, quotas, shortfalls, and what to know about it."""

    picks: tuple[Pick, ...]
    asked: int
    quotas: Mapping[str, int]
    shortfalls: tuple[Shortfall, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    name: str
    kind: BatchKind
    open: bool
    created_at: str
    closed_at: str | None
    asked: int
    seed: int
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """One wrong thing a model did on an image of `mine`.

    For `missed` the box and class are the truth's; for all others they are the prediction's.
    `truth_class_id` and `iou` describe the nearest true box, where there is one. `price` is the
    AP50 gained if every failure of this type were fixed, shared over the failures of the type.
    """

    sample_id: str
    type: FailureType
    class_id: int
    box: Box
    score: float | None = None
    truth_class_id: int | None = None
    iou: float = 0.0
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageResult:
    """True positives, false positives and misses of one image at IoU 0.5."""

    sample_id: str
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """The twelve COCO numbers (fractions; NaN where undefined is None) and AP per class."""

    summary: Mapping[str, float | None]
    per_class: Mapping[str, float | None]
    images: int
    boxes: int
    detections: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something odd in a foreign file: where, what, and what we did about it."""

    file: str
    row: str
    what: str
    action: str


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """One image of a foreign data set. `path` is as written there; class ids index its classes.

    `reviewed` is True where the format says that a person looked (a COCO `"reviewed": true`, an
    existing YOLO or VOC file), False where it says nobody did, None where it says nothing.
    """

    path: str
    labels: tuple[Label, ...] = ()
    width: int | None = None
    height: int | None = None
    reviewed: bool | None = None
    external_id: str | None = None
    sample_id: str | None = None
    answer: Answer | None = None
    why: str | None = None
    seconds: float | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForeignDataset:
    """What a reader found: classes in their order, images, and what was odd."""

    classes: tuple[str, ...]
    images: tuple[ForeignImage, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """What a project is made of: images, and labels for some of them if there are any.

    With `adopt_labels` the labels of pool samples enter as annotated batch v0; without, they are
    reference labels, which serve val, golden, test and the oracle only. `dataset` is the name of a
    FiftyOne dataset, `view` one of its saved views; `labels` is then its field of reference boxes,
    `images` a folder that holds all its files.
    """

    images: str | None = None
    labels: str | None = None
    format: str | None = None
    classes: tuple[str, ...] = ()
    adopt_labels: bool = False
    dataset: str | None = None
    view: str | None = None


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """One image on its way out to a trainer, an annotator or a file."""

    sample_id: str
    path: str
    file: str
    width: int
    height: int
    labels: tuple[Label, ...] = ()
    reviewed: bool = False
    group: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a trainer made: where it lies, how long it took, what it wants remembered."""

    trainer: str
    folder: str
    seconds: float
    details: Mapping[str, Any] = field(default_factory=dict)

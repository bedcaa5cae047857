"""What `train --folds` and `suspects` answer: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from annoloop.records import Box


@dataclass(frozen=True, slots=True)
class FoldsResult:
    """`sizes`: images of each fold; `kept` of the `folds` were predicted by an earlier run.

    `model` is the name under which the predictions are stored; the models themselves are not kept.
    """

    model: str
    trainer: str
    folds: int
    kept: int
    sizes: tuple[int, ...]
    images: int
    boxes: int
    detections: int
    seed: int
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SuspectView:
    """One label that may be wrong, or one object that may lack a label (`missing`).

    `box` (x, y, width, height in pixels) and `class_name` are the label's, for `missing` the
    model's; `proposed_*` are what the model says instead. `suspicion`, from 0 to 1, ranks and
    is no probability (docs/evaluation.md).
    """

    path: str
    sample_id: str
    kind: str
    class_name: str
    box: Box
    proposed_class_name: str | None
    proposed_box: Box | None
    score: float
    suspicion: float
    text: str


@dataclass(frozen=True, slots=True)
class SuspectImage:
    """One image and the sum of the suspicions of its labels."""

    path: str
    sample_id: str
    suspects: int
    suspicion: float


@dataclass(frozen=True, slots=True)
class SuspectsResult:
    """Likeliest first. `images` of the training set were looked at, with `labels` labels."""

    model: str
    images: int
    labels: int
    by_kind: Mapping[str, int]
    worst: tuple[SuspectImage, ...]
    suspects: tuple[SuspectView, ...]
    notes: tuple[str, ...] = ()

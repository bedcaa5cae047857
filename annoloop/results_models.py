"""What the verbs about models, failures and verdicts return: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annoloop.records import Box
from annoloop.results_metrics import ImageCounts


@dataclass(frozen=True, slots=True)
class TrainResult:
    model: str
    trainer: str
    folder: str
    images: int
    empty_images: int
    boxes: int
    boxes_by_class: Mapping[str, int]
    seed: int
    seconds: float
    details: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PredictResult:
    model: str
    images: int
    detections: int
    seconds: float
    without_prelabels: int | None = None
    """`batch predict`: images that stay blank all the same (`annotate.without_prelabels`)."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """`gauge` decides, `val` is all of val, failures come from `mine`; `test` only if opened.

    `noise`: how sure the stop metric on gauge is (value, sd, 95 % interval) by resampling images;
    `gain`: how much better the model is than that of the iteration before, in pairs.
    `details`: classes with their curves, confusion, calibration and TIDE on gauge (core.details).
    `slices`: the twelve numbers of parts of val, where they were asked for. `per_image`: all of val
    at the operating point.
    """

    model: str
    split: str
    min_score: float
    gauge: Mapping[str, Any] | None
    noise: Mapping[str, Any] | None
    gain: Mapping[str, Any] | None
    val: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    test_opened: int
    details: Mapping[str, Any] | None
    slices: Mapping[str, Mapping[str, float | int | None]]
    per_image: tuple[ImageCounts, ...]
    failures: Mapping[str, int]
    unseen_classes: tuple[str, ...]
    without_reference: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExplainResult:
    """`details` of the newest evaluated model on gauge, as in `EvaluateResult`."""

    iteration: str
    model: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImageView:
    """Where an image lies, the boxes that people drew, and those of the newest model."""

    sample_id: str
    path: str
    uri: str
    width: int
    height: int
    labels: tuple[Box, ...]
    predicted: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class DecideResult:
    iteration: str
    verdict: str
    reason: str
    numbers: Mapping[str, Any]

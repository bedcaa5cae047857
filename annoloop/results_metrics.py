"""What `metrics` is asked for and what it returns: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class MetricsWish:
    """What `metrics` tells besides the twelve numbers.

    `by` (slices) and `group` (what is resampled together) are `folder`, `column:NAME` of the
    images' rows, or `rule:REGEX` of their file names.
    """

    details: bool = False
    interval: bool = False
    against: Path | None = None
    by: str | None = None
    group: str | None = None
    min_score: float | None = None


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """One image (its path) at the operating point: IoU 0.5, detections from the score on."""

    image: str
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A number with its 95 % interval and standard deviation, by resampling images."""

    value: float
    low: float
    high: float
    sd: float


@dataclass(frozen=True, slots=True)
class MetricsResult:
    """COCO's twelve numbers and AP per class; the rest where it was asked for, else None.

    `details` has classes (with their curves), confusion, calibration, tide and `per_image`;
    `slices` the twelve numbers of each; `intervals` AP and AP50 by name; `gains` what the model of
    `--against` has more than this one, on the same images; `voc` Pascal VOC's AP.
    """

    summary: Mapping[str, float | None]
    per_class: Mapping[str, float | None]
    images: int
    boxes: int
    detections: int
    min_score: float | None = None
    details: Mapping[str, Any] | None = None
    per_image: Sequence[ImageCounts] | None = None
    voc: Mapping[str, Any] | None = None
    slices: Mapping[str, Mapping[str, float | int | None]] | None = None
    intervals: Mapping[str, Interval] | None = None
    gains: Mapping[str, Interval] | None = None

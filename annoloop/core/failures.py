"""What a model did wrong, box by box, with exactly one type each, as TIDE (arXiv 2008.08115)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from annoloop.core.box_columns import columns
from annoloop.core.details import tide
from annoloop.core.evaluation import coco_evaluator
from annoloop.core.matching import (
    Detections,
    MatchedImage,
    Truth,
    match_image,
    refuse_unknown_images,
)
from annoloop.errors import SettingsError
from annoloop.records import Failure, FailureType, ImageResult

ORDER = {kind: position for position, kind in enumerate(FailureType)}


def find_failures(
    truth: Truth,
    detections: Detections,
    *,
    min_score: float,
    prices: Mapping[FailureType, float] | None = None,
    fg_iou: float = 0.5,
    bg_iou: float = 0.1,
) -> tuple[Failure, ...]:
    """Every wrong thing of the detections with at least `min_score`, each of exactly one type.

    A detection that is no true positive (`match_image`) is, by the first rule that holds (in the
    order of tidecv, the authors' program):
    `location` (best IoU with its class in [bg, fg)), `class` (IoU ≥ fg with another class),
    `duplicate` (IoU ≥ fg with a truth of its class, which a better detection has taken),
    `class+location` (IoU ≥ bg with another class), else `background`. A truth that nothing
    matched is `missed`, unless a location or class failure lies on it and so explains it.
    Detections that lie by half or more in an ignored truth of their class are no failures, and
    ignored truth is never missed.

    `truth_class_id` and `iou` name the truth that decided the type; for `background` the nearest
    one, if any; a `missed` one carries its own class and the best IoU of any detection with it.
    `price` is the type's price shared over its failures. Sorted by sample, type, class, score
    (best first) and box. Raises InputError for detections of unknown images and SettingsError
    unless 0 < bg_iou < fg_iou ≤ 1.
    """
    if not 0 < bg_iou < fg_iou <= 1:
        raise SettingsError(
            f"IoU thresholds {bg_iou} (background) and {fg_iou} (match) make no sense",
            fix="use 0 < background < match ≤ 1, as 0.1 and 0.5",
        )
    refuse_unknown_images(truth, detections)
    found: list[Failure] = []
    for sample in sorted(truth):
        kept = [d for d in detections.get(sample, ()) if d.score >= min_score]
        image = match_image(truth[sample], kept, iou=fg_iou)
        found += sorted(_of_image(sample, image, fg=fg_iou, bg=bg_iou), key=_place)
    if prices is None:
        return tuple(found)
    counts = Counter(failure.type for failure in found)
    return tuple(
        replace(failure, price=prices.get(failure.type, 0.0) / counts[failure.type])
        for failure in found
    )


def _of_image(sample: str, image: MatchedImage, *, fg: float, bg: float) -> Iterator[Failure]:
    # One empty column more, so that images without truth need no case of their own.
    iou = np.pad(image.iou, ((0, 0), (0, 1)))
    same = np.pad(image.same_class, ((0, 0), (0, 1)))
    own, other = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
    explained: set[int] = set()
    for row in np.flatnonzero(image.wrong).tolist():
        best_own, best_other = float(own[row].max()), float(other[row].max())
        if bg <= best_own < fg:
            kind, target = FailureType.LOCATION, int(own[row].argmax())
        elif best_other >= fg:
            kind, target = FailureType.CLASS, int(other[row].argmax())
        elif best_own >= fg:
            kind, target = FailureType.DUPLICATE, int(own[row].argmax())
        elif best_other >= bg:
            kind, target = FailureType.CLASS_LOCATION, int(other[row].argmax())
        else:
            kind, target = FailureType.BACKGROUND, int(iou[row].argmax())
        if kind in (FailureType.LOCATION, FailureType.CLASS):
            explained.add(target)
        detection, overlap = image.detections[row], float(iou[row, target])
        yield Failure(
            sample,
            kind,
            detection.class_id,
            detection.box,
            score=detection.score,
            truth_class_id=image.truth[target].class_id if overlap > 0 else None,
            iou=overlap,
        )
    matched = set(image.match.tolist())
    nearest = image.iou.max(axis=0, initial=0.0)
    for column, label in enumerate(image.truth):
        if column not in matched and column not in explained:
            yield Failure(
                sample,
                FailureType.MISSED,
                label.class_id,
                label.box,
                truth_class_id=label.class_id,
                iou=float(nearest[column]),
            )


def _place(failure: Failure) -> tuple[int, int, float, tuple[float, ...]]:
    return ORDER[failure.type], failure.class_id, -(failure.score or 0.0), failure.box


def tide_prices(
    truth: Truth,
    detections: Detections,
    *,
    classes: Sequence[str],
) -> dict[FailureType, float]:
    """ΔAP50 of each type: how much AP50 (a fraction) rises when all its errors are repaired.

    By hotcoco's TIDE at IoU 0.5 and 0.1 over all detections, whatever their score; difficult truth
    counts as an ignore region. Raises InputError as `evaluate`.
    """
    given = columns(truth, detections, classes=classes)
    evaluator = coco_evaluator(given, difficult_as_crowd=True)
    gains = tide(evaluator).gains
    return {kind: gains[kind] for kind in FailureType}


def high_fn(results: Sequence[ImageResult], *, top: int = 10) -> tuple[str, ...]:
    """Sample ids of the `top` images with most misses, most first; none without a miss."""
    ranked = sorted((-image.fn, image.sample_id) for image in results if image.fn > 0)
    return tuple(sample for _, sample in ranked[:top])


def high_fp(results: Sequence[ImageResult], *, top: int = 10) -> tuple[str, ...]:
    """Sample ids of the `top` images with most false alarms, most first; none without one."""
    ranked = sorted((-image.fp, image.sample_id) for image in results if image.fp > 0)
    return tuple(sample for _, sample in ranked[:top])


def describe(failure: Failure, classes: Sequence[str]) -> str:
    """A failure in words, as "`cup` called `mug`"; `classes` are the schema's names in order."""
    said = f"`{classes[failure.class_id]}`"
    true = said if failure.truth_class_id is None else f"`{classes[failure.truth_class_id]}`"
    return {
        FailureType.MISSED: f"missed {true}",
        FailureType.BACKGROUND: f"background taken for {said}",
        FailureType.CLASS: f"{true} called {said}",
        FailureType.LOCATION: f"{said} badly placed",
        FailureType.CLASS_LOCATION: f"{true} badly placed and called {said}",
        FailureType.DUPLICATE: f"{said} found twice",
    }[failure.type]

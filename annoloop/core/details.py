"""What lies behind the twelve numbers: classes, sizes, confusion, calibration, TIDE, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.box_columns import Columns
from annoloop.core.evaluation import SUMMARY, coco_evaluator, metrics_of, or_none
from annoloop.core.weighted_ap import ApTable, tabulate
from annoloop.errors import InputError
from annoloop.records import FailureType, Metrics

TIDE_NAMES = {
    FailureType.MISSED: "Miss",
    FailureType.BACKGROUND: "Bkg",
    FailureType.CLASS: "Cls",
    FailureType.LOCATION: "Loc",
    FailureType.CLASS_LOCATION: "Both",
    FailureType.DUPLICATE: "Dupe",
}
IOU = 0.5
ALL, SMALL, MEDIUM, LARGE = range(4)
"""COCO's object sizes: all, below 32², up to 96², above, in px² of the label's area."""


@dataclass(frozen=True, slots=True)
class ClassDetail:
    """One class: AP as fractions (None without truth), and counts at the operating point.

    `curve` is the interpolated precision at IoU 0.5 at recalls 0, 0.01 … 1; `precision`, `recall`
    and `f1` are those of the operating point, on or below it.
    """

    name: str
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar100: float | None
    boxes: int
    detections: int
    tp: int
    fp: int
    fn: int
    precision: float | None
    recall: float | None
    f1: float | None
    curve: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Confusion:
    """`matrix` (k + 1, k + 1): rows are the truth, columns what was said, the last is nothing."""

    classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    iou: float
    min_score: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores are from the share that is right at IoU 0.5; `bins` of equal width.

    `ece` weighs the gaps by detections, `mce` is the largest.
    """

    ece: float
    mce: float
    bins: tuple[Mapping[str, float], ...]


@dataclass(frozen=True, slots=True)
class Tide:
    """AP50, what it would gain if all errors of a type were repaired, and how many there are.

    TIDE (arXiv 2008.08115) at IoU 0.5 and 0.1 over all detections, whatever their score.
    """

    ap50: float
    gains: Mapping[str, float]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Explained:
    """What a model does at its operating point `min_score`, and over all its scores."""

    min_score: float
    classes: tuple[ClassDetail, ...]
    confusion: Confusion
    calibration: Calibration
    tide: Tide


@dataclass(frozen=True, slots=True)
class Details:
    """Everything about one model on one set of images; `slices` by name of the slice."""

    metrics: Metrics
    explained: Explained
    slices: Mapping[str, Mapping[str, float | int | None]]


def details(
    given: Columns, *, min_score: float, slices: Mapping[str, Sequence[Any]] | None = None
) -> Details:
    """Measure and explain, by hotcoco; `slices` are image ids by name.

    Counts and the confusion matrix take detections from `min_score` on; AP, calibration and TIDE
    take all. What lies on ignored truth is nowhere in the confusion matrix.
    Raises InputError for a slice with images that `given` does not have.
    """
    evaluator = coco_evaluator(given)
    regions = coco_evaluator(given, difficult_as_crowd=True) if given.difficult.any() else evaluator
    metrics = metrics_of(evaluator, given)
    table = tabulate(given)
    explained = Explained(
        min_score=min_score,
        classes=_classes(evaluator.eval, table, min_score),
        confusion=_confusion(_real(evaluator, given, table), given.classes, min_score),
        calibration=_calibration(evaluator.calibration(n_bins=10, iou_threshold=IOU)),
        tide=tide(regions),
    )
    return Details(metrics, explained, _slices(evaluator, given, slices or {}))


def tide(evaluator: Any) -> Tide:
    """TIDE's error types of an evaluator that has run."""
    found = evaluator.tide_errors(pos_thr=IOU, bg_thr=0.1)
    return Tide(
        ap50=float(found["ap_base"]),
        # Interpolating the precision can turn a repair into a tiny loss; TIDE calls that nothing.
        gains={str(t): max(float(found["delta_ap"][name]), 0.0) for t, name in TIDE_NAMES.items()},
        counts={str(t): int(found["counts"].get(name, 0)) for t, name in TIDE_NAMES.items()},
    )


def _classes(
    accumulated: Mapping[str, Any], table: ApTable, min_score: float
) -> tuple[ClassDetail, ...]:
    # precision (10 IoU, 101 recalls, class, size, cap), recall (10 IoU, class, size, cap)
    precision, recall = accumulated["precision"][..., -1], accumulated["recall"][..., -1]
    found = []
    for kind, name in enumerate(table.classes):
        rows = slice(int(table.first[kind]), int(table.first[kind + 1]))
        counted = table.scores[rows] >= min_score
        at_half = table.what[0, rows][counted]
        tp, fp = int((at_half == 1).sum()), int((at_half == 0).sum())
        boxes = int(table.positives[:, kind].sum())
        at_sizes = [or_none(precision[:, :, kind, size].mean()) for size in range(4)]
        found.append(
            ClassDetail(
                name=name,
                ap=at_sizes[ALL],
                ap50=or_none(precision[0, :, kind, ALL].mean()),
                ap75=or_none(precision[5, :, kind, ALL].mean()),
                ap_small=at_sizes[SMALL],
                ap_medium=at_sizes[MEDIUM],
                ap_large=at_sizes[LARGE],
                ar100=or_none(recall[:, kind, ALL].mean()),
                boxes=boxes,
                detections=rows.stop - rows.start,
                tp=tp,
                fp=fp,
                fn=boxes - tp,
                precision=_share(tp, tp + fp),
                recall=_share(tp, boxes),
                f1=_share(2 * tp, tp + fp + boxes) if boxes else None,
                curve=_curve(precision[0, :, kind, ALL]),
            )
        )
    return tuple(found)


def _curve(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(values.tolist()) if values[0] >= 0 else ()


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _real(evaluator: Any, given: Columns, table: ApTable) -> Any:
    """An evaluator without ignored truth and without the detections that lie on it."""
    ignored = given.crowd | given.difficult
    if not ignored.any():
        return evaluator
    kept = np.sort(table.row[table.what[0] != 2])
    return coco_evaluator(
        replace(
            given,
            truth=given.truth[~ignored],
            area=given.area[~ignored],
            crowd=given.crowd[~ignored],
            difficult=given.difficult[~ignored],
            found=given.found[kept],
            scores=given.scores[kept],
        )
    )


def _confusion(evaluator: Any, classes: tuple[str, ...], min_score: float) -> Confusion:
    made = evaluator.confusion_matrix(iou_thr=IOU, min_score=min_score)
    rows = tuple(tuple(row) for row in made["matrix"].tolist())
    return Confusion(classes, rows, iou=IOU, min_score=min_score)


def _calibration(made: Mapping[str, Any]) -> Calibration:
    bins = tuple({key: float(value) for key, value in one.items()} for one in made["bins"])
    return Calibration(float(made["ece"]), float(made["mce"]), bins)


def _slices(
    evaluator: Any, given: Columns, slices: Mapping[str, Sequence[Any]]
) -> dict[str, Mapping[str, float | int | None]]:
    if not slices:
        return {}
    place = {key: position for position, key in enumerate(given.images)}
    unknown = [key for keys in slices.values() for key in keys if key not in place]
    if unknown:
        raise InputError(
            f"a slice names {len(unknown):,} images that are not evaluated, first {unknown[0]!r}",
            fix="slice by images that are evaluated",
        )
    # hotcoco adds an entry of its own for all images: names must not meet it.
    asked = {f"slice {name}": [place[key] for key in keys] for name, keys in slices.items()}
    boxes = np.bincount(given.truth[:, 0].astype(np.int64), minlength=len(place))
    made = evaluator.slice_by(asked)
    return {
        name: {
            "images": len(keys),
            "boxes": int(boxes[asked[f"slice {name}"]].sum()),
            **{key: or_none(made[f"slice {name}"][key]) for key in SUMMARY},
        }
        for name, keys in slices.items()
    }

"""Detection metrics: COCO's numbers by hotcoco, counts per image, and the operating point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.box_columns import BOX, CLASS, IMAGE, MAX_DETECTIONS, Columns, columns
from annoloop.core.coco_columns import coco_columns
from annoloop.core.matching import Detections, Truth, match_image, refuse_unknown_images
from annoloop.records import ImageResult, Metrics

SUMMARY = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip
"""COCO's twelve numbers, in its order."""


OUTSIDE_ALL_SIZES = 1e11  # px²: COCO's largest size range ends at 1e10
DEFAULT_THRESHOLD = 0.5


def coco_metrics(truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> Metrics:
    """COCO's box metrics of a ground-truth document and a results list, both parsed JSON.

    The numbers are those of pycocotools (`COCOeval`, "bbox") to the last bit. `boxes` counts all
    annotations, crowds included. Raises InputError as `coco_columns`.
    """
    return measure(coco_columns(truth, detections))


def evaluate(truth: Truth, detections: Detections, *, classes: Sequence[str]) -> Metrics:
    """COCO's box metrics by sample id; every image of `truth` counts, with or without boxes.

    Images are taken in the order of their ids and boxes in the order given (it decides between
    equal scores, as in pycocotools). Object sizes (APs, APm, APl) are those of the boxes.
    `measure` says what else holds. Raises InputError as `columns`.
    """
    return measure(columns(truth, detections, classes=classes))


def measure(given: Columns) -> Metrics:
    """COCO's box metrics by hotcoco.

    At most 100 detections an image and class count. A class without truth has AP None and is left
    out of the mean; a class that was never predicted has AP 0. `boxes` counts all labels, ignored
    ones included. Crowd labels are passed as COCO's `iscrowd`. Difficult labels follow Pascal VOC:
    detections of the class with sufficient IoU, however many, are neither right nor wrong, and
    nobody misses the box; `coco_evaluator` says how they are passed.
    """
    return metrics_of(coco_evaluator(given), given)


def metrics_of(evaluator: Any, given: Columns) -> Metrics:
    """The numbers of an evaluator made from `given`; it is accumulated on the way."""
    evaluator.accumulate()
    evaluator.summary_lines()  # computes the statistics; summarize() would print them
    results = evaluator.results(per_class=True)
    return Metrics(
        summary={name: or_none(results["metrics"][name]) for name in SUMMARY},
        per_class={name: or_none(results["per_class"].get(name, -1.0)) for name in given.classes},
        images=len(given.images),
        boxes=len(given.truth),
        detections=len(given.found),
    )


def or_none(value: float) -> float | None:
    """COCO writes -1 for what is undefined."""
    return None if value < 0 else float(value)


def per_image(
    truth: Truth, detections: Detections, *, min_score: float, iou: float = 0.5
) -> tuple[ImageResult, ...]:
    """True positives, false positives and misses of each image of `truth`, by sample id.

    Detections below `min_score` do not take part. `match_image` says what ignored truth does.
    Raises InputError for detections of unknown images.
    """
    refuse_unknown_images(truth, detections)
    results = []
    for sample in sorted(truth):
        kept = [d for d in detections.get(sample, ()) if d.score >= min_score]
        image = match_image(truth[sample], kept, iou=iou)
        tp, fp = int(image.positive.sum()), int(image.wrong.sum())
        results.append(ImageResult(sample, tp=tp, fp=fp, fn=len(image.truth) - tp))
    return tuple(results)


def operating_point(truth: Truth, detections: Detections, *, iou: float = 0.5) -> float:
    """The score threshold with the best F1 over all boxes of all images (micro average).

    Detections with at least this score count. Of equal F1 the higher threshold wins; 0.5 when
    nothing matches at all. Greedy matching goes by falling score, so what stays above a threshold
    is matched as if the rest were not there: one matching serves all thresholds.
    Raises InputError for detections of unknown images.
    """
    refuse_unknown_images(truth, detections)
    images = [match_image(truth[sample], rows, iou=iou) for sample, rows in detections.items()]
    right = np.concatenate([[], *(image.positive[~image.absorbed] for image in images)])
    scores = np.concatenate([[], *(image.scores[~image.absorbed] for image in images)])
    positives = sum(not label.ignored for rows in truth.values() for label in rows)
    return best_threshold(scores, right > 0, positives=positives)


def best_threshold(
    scores: NDArray[np.float64], right: NDArray[np.bool_], *, positives: int
) -> float:
    """The score (n,) from which detections have the best F1, given which are `right` (n,).

    Of equal F1 the higher wins; 0.5 where none is right.
    """
    if not right.any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores)
    scores, tp = scores[order], np.cumsum(right[order])
    last = np.append(scores[1:] != scores[:-1], True)  # equal scores pass a threshold together
    f1 = 2 * tp[last] / (np.flatnonzero(last) + 1 + positives)
    return float(scores[last][np.argmax(f1)])


def coco_evaluator(given: Columns, *, difficult_as_crowd: bool = False) -> Any:
    """A `hotcoco.COCOeval` on which `evaluate()` has run.

    COCO has no flag for "difficult": pycocotools overwrites `ignore` with `iscrowd`. But it ignores
    truth whose area lies outside the size range in question, so a difficult box gets an area
    outside all of them. Such a box absorbs one detection only, where Pascal VOC sets no limit:
    hence it is given once for each detection of its class in the image. With `difficult_as_crowd`
    it is passed as a crowd instead, for TIDE, to which any other box is a possible target.
    """
    from hotcoco import COCO, COCOeval

    known, found, area, crowd, difficult = (
        given.truth, given.found, given.area, given.crowd, given.difficult,
    )  # fmt: skip
    if difficult_as_crowd:
        crowd = crowd | difficult
    elif difficult.any():
        area = np.where(difficult, OUTSIDE_ALL_SIZES, area)
        rows = np.repeat(np.arange(len(known)), _copies(known, found, difficult=difficult))
        known, crowd, area = known[rows], crowd[rows], area[rows]
    coco = COCO.from_arrays(
        [{"id": position} for position in range(len(given.images))],
        [{"id": position, "name": name} for position, name in enumerate(given.classes)],
        known[:, IMAGE].astype(np.int64),
        known[:, CLASS].astype(np.int64),
        known[:, BOX],
        area=area,
        iscrowd=crowd,
    )
    results = coco.load_res(
        np.column_stack((found[:, IMAGE], found[:, BOX], given.scores, found[:, CLASS]))
    )
    evaluator = COCOeval(coco, results, "bbox")
    evaluator.evaluate()
    return evaluator


def _copies(
    known: NDArray[np.float64], found: NDArray[np.float64], *, difficult: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How often each label is passed: a difficult one once for each detection it might absorb."""
    rivals = Counter(map(tuple, found[:, :2].tolist()))
    copies = np.ones(len(known), dtype=np.int64)
    for row in np.flatnonzero(difficult).tolist():
        copies[row] = min(max(rivals[tuple(known[row, :2].tolist())], 1), MAX_DETECTIONS)
    return copies

"""Detection metrics: COCO's numbers by hotcoco, counts per image, and the operating point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.box_columns import BOX, CLASS, IMAGE, MAX_DETECTIONS, columns
from annoloop.core.matching import Detections, Truth, match_image, refuse_unknown_images
from annoloop.errors import InputError
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
    annotations, crowds included; one without `area` has that of its box. Raises InputError naming
    the row for documents that are not COCO, for results of unknown images or categories, and for
    categories that occur twice.
    """
    from hotcoco import COCO, COCOeval

    try:
        document = _ground_truth(truth)
        names = {row["id"]: row["name"] for row in document["categories"]}
        rows = _results(detections, images={row["id"] for row in document["images"]}, names=names)
        known = COCO(document)
        evaluator = COCOeval(known, known.load_res(rows), "bbox")
        evaluator.evaluate()
    except (ValueError, TypeError) as error:
        raise InputError(
            f"this is not COCO ground truth with COCO results: {error}",
            fix="repair the row that is named; ids are whole numbers",
        ) from error
    return _metrics(
        evaluator,
        names.values(),
        images=len(document["images"]),
        boxes=len(document["annotations"]),
        detections=len(rows),
    )


def evaluate(truth: Truth, detections: Detections, *, classes: Sequence[str]) -> Metrics:
    """COCO's box metrics by sample id; every image of `truth` counts, with or without boxes.

    Images are taken in the order of their ids and boxes in the order given (it decides between
    equal scores, as in pycocotools). At most 100 detections an image and class count. Object sizes
    (APs, APm, APl) are those of the boxes. A class without truth has AP None and is left out of
    the mean; a class that was never predicted has AP 0. `boxes` counts all labels, ignored ones
    included. Crowd labels are passed as COCO's `iscrowd`. Difficult labels follow Pascal VOC:
    detections of the class with sufficient IoU, however many, are neither right nor wrong, and
    nobody misses the box; `coco_evaluator` says how they are passed.

    Raises InputError for detections of unknown images, for class ids outside `classes`, and for
    coordinates or scores that are not finite.
    """
    evaluator = coco_evaluator(truth, detections, classes=classes)
    return _metrics(
        evaluator,
        classes,
        images=len(truth),
        boxes=sum(len(rows) for rows in truth.values()),
        detections=sum(len(rows) for rows in detections.values()),
    )


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
    if not right.any():
        return DEFAULT_THRESHOLD
    scores = np.concatenate([[], *(image.scores[~image.absorbed] for image in images)])
    positives = sum(not label.ignored for rows in truth.values() for label in rows)
    order = np.argsort(-scores)
    scores, tp = scores[order], np.cumsum(right[order])
    last = np.append(scores[1:] != scores[:-1], True)  # equal scores pass a threshold together
    f1 = 2 * tp[last] / (np.flatnonzero(last) + 1 + positives)
    return float(scores[last][np.argmax(f1)])


def coco_evaluator(
    truth: Truth,
    detections: Detections,
    *,
    classes: Sequence[str],
    difficult_as_crowd: bool = False,
) -> Any:
    """A `hotcoco.COCOeval` on which `evaluate()` has run; input and errors as for `evaluate`.

    COCO has no flag for "difficult": pycocotools overwrites `ignore` with `iscrowd`. But it ignores
    truth whose area lies outside the size range in question, so a difficult box gets an area
    outside all of them. Such a box absorbs one detection only, where Pascal VOC sets no limit:
    hence it is given once for each detection of its class in the image. With `difficult_as_crowd`
    it is passed as a crowd instead, for TIDE, to which any other box is a possible target.
    """
    from hotcoco import COCO, COCOeval

    given = columns(truth, detections, classes=classes)
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
        [{"id": position, "name": name} for position, name in enumerate(classes)],
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


def _ground_truth(truth: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What is measured of a document; exporters fill the other fields freely, hotcoco minds."""
    document = truth if isinstance(truth, Mapping) else {}
    tables = {
        key: _objects(document.get(key), f"the ground truth's {key!r}")
        for key in ("images", "categories", "annotations")
    }
    categories = [
        {"id": row.get("id"), "name": str(row.get("name"))} for row in tables["categories"]
    ]
    if min(len({row[key] for row in categories}) for key in ("id", "name")) < len(categories):
        raise InputError(
            "a category id or name occurs twice in the ground truth",
            fix="merge the categories: metrics are reported by name",
        )
    annotations = []
    for number, row in enumerate(tables["annotations"]):
        box, area = _box(row, f"annotations[{number}]"), row.get("area")
        annotations.append(
            {
                "id": number + 1,
                "image_id": row.get("image_id"),
                "category_id": row.get("category_id"),
                "bbox": box,
                "area": box[2] * box[3] if area is None else area,
                "iscrowd": int(bool(row.get("iscrowd"))),
            }
        )
    images = [{"id": row.get("id")} for row in tables["images"]]
    return {"images": images, "categories": categories, "annotations": annotations}


def _results(
    detections: Sequence[Mapping[str, Any]], *, images: Container[Any], names: Container[Any]
) -> list[dict[str, Any]]:
    """The results' rows, where hotcoco would pass over in silence what fits no truth."""
    rows = []
    for number, row in enumerate(_objects(detections, "the detections")):
        where = f"detections[{number}]"
        image, category, score = row.get("image_id"), row.get("category_id"), row.get("score")
        if image not in images or category not in names:
            raise InputError(
                f"{where}: image {image!r} or category {category!r} is not in the ground truth",
                fix="remove such results, or map them to the ids of the ground truth",
            )
        if not _is_finite(score):
            raise InputError(f"{where}: score is {score!r}", fix="each result needs a finite score")
        box = _box(row, where)
        rows.append({"image_id": image, "category_id": category, "bbox": box, "score": score})
    return rows


def _objects(rows: Any, what: str) -> Sequence[Mapping[str, Any]]:
    if isinstance(rows, list | tuple) and all(isinstance(row, Mapping) for row in rows):
        return rows
    raise InputError(
        f"{what}: not a list of objects",
        fix="ground truth is a COCO document with images, annotations and categories; detections "
        "are COCO results, a list of objects with image_id, category_id, bbox and score",
    )


def _box(row: Mapping[str, Any], where: str) -> Sequence[float]:
    box = row.get("bbox")
    if isinstance(box, list | tuple) and len(box) == 4 and all(map(_is_finite, box)):
        return box
    raise InputError(
        f"{where}: bbox is {box!r}", fix="a bbox is four finite numbers: x, y, width, height"
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _metrics(
    evaluator: Any, classes: Iterable[str], *, images: int, boxes: int, detections: int
) -> Metrics:
    evaluator.accumulate()
    evaluator.summary_lines()  # computes the statistics; summarize() would print them
    results = evaluator.results(per_class=True)
    summary = {name: _or_none(results["metrics"][name]) for name in SUMMARY}
    per_class = {name: _or_none(results["per_class"].get(name, -1.0)) for name in classes}
    return Metrics(summary, per_class, images=images, boxes=boxes, detections=detections)


def _or_none(value: float) -> float | None:
    """COCO writes -1 for what is undefined."""
    return None if value < 0 else float(value)

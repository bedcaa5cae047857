"""COCO ground truth and results, as parsed JSON, checked row by row and laid out as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.box_columns import Columns
from annoloop.errors import InputError

Row = Mapping[str, Any]
Places = dict[Any, int]
Floats = NDArray[np.float64]


def coco_columns(truth: Row, detections: Sequence[Row]) -> Columns:
    """The columns of a ground-truth document and a results list.

    Images and categories stand by ascending id (numbers or text), as in pycocotools; `images` are
    their ids. An annotation without `area` has that of its box; `ignore` and `difficult` mean
    nothing to COCO, `iscrowd` does. Raises InputError naming the row for documents that are not
    COCO, for rows of unknown images or categories, and for ids and names that occur twice.
    """
    document = truth if isinstance(truth, Mapping) else {}
    tables = {
        key: _objects(document.get(key), f"the ground truth's {key!r}")
        for key in ("images", "categories", "annotations")
    }
    images, kinds = (_places(tables[key], key) for key in ("images", "categories"))
    named = {row["id"]: str(row.get("name")) for row in tables["categories"]}
    if len(set(named.values())) < len(named):
        raise InputError(
            "a category name occurs twice in the ground truth",
            fix="merge the categories: metrics are reported by name",
        )
    known = tables["annotations"]
    rows = _objects(detections, "the detections")
    boxes = _table(known, "annotations", images, kinds)
    return Columns(
        images=tuple(images),
        classes=tuple(named[key] for key in kinds),
        truth=boxes,
        area=_areas(known, boxes),
        crowd=np.array([bool(row.get("iscrowd")) for row in known], dtype=bool),
        difficult=np.zeros(len(known), dtype=bool),
        found=_table(rows, "detections", images, kinds),
        scores=_scores(rows),
    )


def _table(rows: Sequence[Row], what: str, images: Places, kinds: Places) -> Floats:
    """Position of the image, of the category, and the box of each row: (n, 6)."""
    try:
        places = [(images[row["image_id"]], kinds[row["category_id"]]) for row in rows]
        boxes = _numbers([row["bbox"] for row in rows])
    except (KeyError, TypeError, ValueError):
        boxes = None
    if boxes is None or (len(rows) and boxes.shape != (len(rows), 4)):
        for number, row in enumerate(rows):  # all at once is ten times faster, one by one tells
            _refuse(row, f"{what}[{number}]", images, kinds)
        raise InputError(f"{what}: boxes cannot be read", fix=_BOX)
    return np.hstack((np.array(places, dtype=np.float64).reshape(-1, 2), boxes.reshape(-1, 4)))


def _numbers(values: list[Any]) -> Floats | None:
    """As an array; None where one is no finite number (text that reads like one is none)."""
    found = np.array(values) if values else np.empty(0)
    if found.dtype.kind not in "fi" or not np.isfinite(found).all():
        return None
    return found.astype(np.float64)


def _places(rows: Sequence[Row], what: str) -> Places:
    """id → position in the order of the ids."""
    keys = [row.get("id") for row in rows]
    for number, key in enumerate(keys):
        if isinstance(key, bool) or not isinstance(key, int | str):
            raise InputError(
                f"{what}[{number}]: id is {key!r}", fix="ids are whole numbers, or text"
            )
    ordered = sorted(keys, key=lambda key: (isinstance(key, str), key))
    places = {key: place for place, key in enumerate(ordered)}
    if len(places) < len(keys):
        twice = next(key for key, after in pairwise(ordered) if key == after)
        raise InputError(
            f"{what}: id {twice!r} occurs twice in the ground truth", fix="give each row its own id"
        )
    return places


_BOX = "a bbox is four finite numbers: x, y, width, height"


def _refuse(row: Row, where: str, images: Places, kinds: Places) -> None:
    image, kind, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
    try:
        _ = images[image], kinds[kind]
    except (KeyError, TypeError):
        raise InputError(
            f"{where}: image {image!r} or category {kind!r} is not in the ground truth",
            fix="remove such rows, or map them to the ids of the ground truth",
        ) from None
    if not (isinstance(box, list | tuple) and len(box) == 4 and all(map(_is_finite, box))):
        raise InputError(f"{where}: bbox is {box!r}", fix=_BOX)


def _areas(rows: Sequence[Row], boxes: Floats) -> Floats:
    written = [row.get("area") for row in rows]
    own = (boxes[:, 4] * boxes[:, 5]).tolist()
    found = _numbers([o if w is None else w for w, o in zip(written, own, strict=True)])
    if found is None:
        number = next(n for n, w in enumerate(written) if not (w is None or _is_finite(w)))
        raise InputError(
            f"annotations[{number}]: area is {written[number]!r}",
            fix="an area is a finite number of px²",
        )
    return found


def _scores(rows: Sequence[Row]) -> Floats:
    written = [row.get("score") for row in rows]
    found = _numbers(written)
    if found is None:
        number = next(n for n, score in enumerate(written) if not _is_finite(score))
        raise InputError(
            f"detections[{number}]: score is {written[number]!r}",
            fix="each result needs a finite score",
        )
    return found


def _objects(rows: Any, what: str) -> Sequence[Row]:
    if isinstance(rows, list | tuple) and all(isinstance(row, dict) for row in rows):
        return rows
    raise InputError(
        f"{what}: not a list of objects",
        fix="ground truth is a COCO document with images, annotations and categories; detections "
        "are COCO results, a list of objects with image_id, category_id, bbox and score",
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)

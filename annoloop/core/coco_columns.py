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
    known = [
        _row(row, f"annotations[{number}]", images, kinds)
        for number, row in enumerate(tables["annotations"])
    ]
    areas = [
        _area(row, place, f"annotations[{number}]")
        for number, (row, place) in enumerate(zip(tables["annotations"], known, strict=True))
    ]
    crowd = np.array([bool(row.get("iscrowd")) for row in tables["annotations"]], dtype=bool)
    rows = _objects(detections, "the detections")
    found = [_row(row, f"detections[{number}]", images, kinds) for number, row in enumerate(rows)]
    return Columns(
        images=tuple(images),
        classes=tuple(named[key] for key in kinds),
        truth=_table(known),
        area=np.array(areas, dtype=np.float64),
        crowd=crowd,
        difficult=np.zeros(len(known), dtype=bool),
        found=_table(found),
        scores=np.array([_score(row, number) for number, row in enumerate(rows)], np.float64),
    )


def _table(rows: Sequence[tuple[float, ...]]) -> NDArray[np.float64]:
    return np.array(rows, dtype=np.float64).reshape(-1, 6)


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


def _row(row: Row, where: str, images: Places, kinds: Places) -> tuple[float, ...]:
    """Position of the image, of the category, and the box."""
    image, kind = row.get("image_id"), row.get("category_id")
    try:
        places = images[image], kinds[kind]
    except (KeyError, TypeError):
        raise InputError(
            f"{where}: image {image!r} or category {kind!r} is not in the ground truth",
            fix="remove such rows, or map them to the ids of the ground truth",
        ) from None
    box = row.get("bbox")
    if isinstance(box, list | tuple) and len(box) == 4 and all(map(_is_finite, box)):
        return (*places, *box)
    raise InputError(
        f"{where}: bbox is {box!r}", fix="a bbox is four finite numbers: x, y, width, height"
    )


def _area(row: Row, place: tuple[float, ...], where: str) -> float:
    area = row.get("area")
    if area is None:
        return place[4] * place[5]
    if not _is_finite(area):
        raise InputError(f"{where}: area is {area!r}", fix="an area is a finite number of px²")
    return float(area)


def _score(row: Row, number: int) -> float:
    score = row.get("score")
    if not _is_finite(score):
        raise InputError(
            f"detections[{number}]: score is {score!r}", fix="each result needs a finite score"
        )
    return float(score)  # type: ignore[arg-type]


def _objects(rows: Any, what: str) -> Sequence[Row]:
    if isinstance(rows, list | tuple) and all(isinstance(row, Mapping) for row in rows):
        return rows
    raise InputError(
        f"{what}: not a list of objects",
        fix="ground truth is a COCO document with images, annotations and categories; detections "
        "are COCO results, a list of objects with image_id, category_id, bbox and score",
    )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)

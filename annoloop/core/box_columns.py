"""Truth and detections of many images as columns of numbers: what metrics compute on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import Detections, Truth, refuse_unknown_images
from annoloop.errors import InputError

IMAGE, CLASS, BOX = 0, 1, slice(2, 6)
"""Columns that labels and detections share."""

MAX_DETECTIONS = 100  # an image and class: COCO's largest cap


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Boxes of `images` (ids, ascending) with `classes` (names; the position is the class id).

    `truth` (n, 6) and `found` (m, 6): position of the image, class id, x, y, width, height in
    pixels, in the order given within an image. `area` (n,) decides about COCO's object sizes;
    `crowd`, `difficult` (n,); `scores` (m,).
    """

    images: tuple[Any, ...]
    classes: tuple[str, ...]
    truth: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    found: NDArray[np.float64]
    scores: NDArray[np.float64]


def columns(truth: Truth, detections: Detections, *, classes: Sequence[str]) -> Columns:
    """The columns of all images of `truth`, by ascending id.

    Raises InputError for detections of unknown images, for class ids outside `classes`, and for
    coordinates or scores that are not finite.
    """
    refuse_unknown_images(truth, detections)
    ids = tuple(sorted(truth))
    known = _numbers([truth[i] for i in ids], lambda t: (t.crowd, t.difficult))
    found = _numbers([detections.get(i, ()) for i in ids], lambda d: (d.score, 0.0))
    for what, rows in (("label", known), ("detection", found)):
        _refuse_nonsense(what, rows, ids=ids, classes=len(classes))
    crowd = known[:, 6] > 0
    return Columns(
        images=ids,
        classes=tuple(classes),
        truth=known[:, :6],
        area=known[:, 4] * known[:, 5],
        crowd=crowd,
        difficult=(known[:, 7] > 0) & ~crowd,
        found=found[:, :6],
        scores=found[:, 6],
    )


def _numbers(
    rows: Sequence[Sequence[Any]], rest: Callable[[Any], tuple[float, float]]
) -> NDArray[np.float64]:
    """Labels or detections of many images → (n, 8): image, class, x, y, width, height, two more."""
    flat = (
        (image, one.class_id, *one.box, *rest(one))
        for image, of_image in enumerate(rows)
        for one in of_image
    )
    return np.fromiter(chain.from_iterable(flat), dtype=np.float64).reshape(-1, 8)


def _refuse_nonsense(
    what: str, rows: NDArray[np.float64], *, ids: Sequence[str], classes: int
) -> None:
    known = (rows[:, CLASS] >= 0) & (rows[:, CLASS] < classes)
    bad = np.flatnonzero(~known | ~np.isfinite(rows).all(axis=1))
    if len(bad):
        image, class_id, *numbers = rows[bad[0]].tolist()
        raise InputError(
            f"a {what} of sample {ids[int(image)]!r} has class {class_id:g} and numbers {numbers}; "
            f"{len(bad):,} such in all",
            fix=f"class ids run from 0 to {classes - 1}, boxes and scores are finite numbers",
        )

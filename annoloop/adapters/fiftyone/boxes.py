"""Boxes as FiftyOne keeps them, and as we read and write them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from annoloop.errors import InputError
from annoloop.records_loop import Drawn


def drawn_of(
    names: Any, boxes: Any, crowds: Any, *, where: Callable[[], str]
) -> tuple[Drawn, ...] | None:
    """One sample's objects; None where it has none to read. Raises InputError for a broken one,
    and asks then where that is."""
    if names is None:
        return None
    made = []
    for name, box, crowd in zip(names, boxes, crowds, strict=True):
        if not isinstance(name, str):
            raise InputError(f"{where()}: an object has no label", fix="Give it one, or remove it.")
        try:
            x, y, w, h = (float(value) for value in box)
        except (TypeError, ValueError):
            x = y = w = h = math.nan
        if not all(map(math.isfinite, (x, y, w, h))):
            raise InputError(
                f"{where()}: the box of an object {name!r} is {box!r:.80}",
                fix="FiftyOne's boxes are four shares of the image: x, y, width, height.",
            )
        made.append(Drawn(name, (x, y, w, h), bool(crowd)))
    return tuple(made)


def as_stored(boxes: Sequence[Drawn]) -> dict[str, Any]:
    """A Detections as it lies in the database; without boxes an empty list, not nothing.

    FiftyOne's own objects cost half a millisecond a box to make and to check, these a hundredth.
    """
    from bson import ObjectId

    found = []
    for one in boxes:
        row: dict[str, Any] = {
            "_id": ObjectId(),
            "_cls": "Detection",
            "attributes": {},
            "tags": [],
            "label": one.name,
            "bounding_box": [float(share) for share in one.shares],
        }
        if one.score is not None:
            row["confidence"] = float(one.score)
        if one.crowd:
            row["iscrowd"] = 1
        found.append(row)
    return {"_cls": "Detections", "detections": found}

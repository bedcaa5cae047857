"""Boxes as FiftyOne keeps them, and as we read and write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from annoloop.errors import InputError
from annoloop.records_loop import Drawn


def drawn_of(names: Any, boxes: Any, crowds: Any, *, where: str) -> tuple[Drawn, ...] | None:
    """One sample's objects; None where it has none to read. Raises InputError for a broken one."""
    if names is None:
        return None
    made = []
    for name, box, crowd in zip(names, boxes, crowds, strict=True):
        if not isinstance(name, str):
            raise InputError(f"{where}: an object has no label", fix="Give it one, or remove it.")
        try:
            x, y, w, h = (float(value) for value in box)
        except (TypeError, ValueError):
            x = y = w = h = math.nan
        if not all(map(math.isfinite, (x, y, w, h))):
            raise InputError(
                f"{where}: the box of an object {name!r} is {box!r:.80}",
                fix="FiftyOne's boxes are four shares of the image: x, y, width, height.",
            )
        made.append(Drawn(name, (x, y, w, h), bool(crowd)))
    return tuple(made)


def detections(boxes: Sequence[Drawn]) -> Any:
    """The same as FiftyOne's Detections; without boxes an empty list, not nothing."""
    import fiftyone

    return fiftyone.Detections(
        detections=[
            fiftyone.Detection(
                label=one.name,
                bounding_box=list(one.shares),
                confidence=one.score,
                **({"iscrowd": 1} if one.crowd else {}),
            )
            for one in boxes
        ]
    )

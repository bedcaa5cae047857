"""Pascal VOC's AP, to compare with published VOC numbers; COCO's is what we decide by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.box_columns import CLASS, IMAGE, Columns
from annoloop.core.matching import iou_matrix

PIXEL = np.array([0.0, 0.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True)
class VocAp:
    """AP of each class by both of VOC's rules, and their means; None for a class without truth."""

    iou: float
    eleven_point: dict[str, float | None]
    every_point: dict[str, float | None]
    mean_eleven_point: float | None
    mean_every_point: float | None


def voc_ap(given: Columns, *, iou: float = 0.5) -> VocAp:
    """VOC's AP at one IoU threshold: 11 points (to 2009), and the area under the curve (from 2010).

    By falling score, a detection is right if the truth of its class that it overlaps most reaches
    `iou` and no earlier detection has that one; on ignored truth it does not count, elsewhere it is
    wrong. Unlike COCO it never falls back on its second-best truth. As in VOC's program a box ends
    with its last pixel, so it is one pixel wider and higher than its width and height. Of equal
    scores the image that comes first counts first.
    """
    eleven: dict[str, float | None] = {}
    every: dict[str, float | None] = {}
    for kind, name in enumerate(given.classes):
        recall, precision = _curve(given, kind, iou)
        if recall is None:
            eleven[name] = every[name] = None
            continue
        best = np.maximum.accumulate(precision[::-1])[::-1]
        reached = np.searchsorted(recall, np.linspace(0, 1, 11), side="left")
        eleven[name] = float(np.append(best, 0.0)[reached].mean())
        every[name] = float((np.diff(recall, prepend=0.0) * best).sum())
    return VocAp(iou, eleven, every, _mean(eleven), _mean(every))


def _curve(
    given: Columns, kind: int, iou: float
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Recall and precision after each detection of the class that counts; None without truth."""
    ignored = given.crowd | given.difficult
    of_kind = given.truth[:, CLASS] == kind
    positives = int((of_kind & ~ignored).sum())
    if positives == 0:
        return None, np.empty(0)
    rows = np.flatnonzero(given.found[:, CLASS] == kind)
    rows = rows[np.argsort(-given.scores[rows], kind="stable")]
    there = {image: np.flatnonzero(of_kind & (given.truth[:, IMAGE] == image))
             for image in np.unique(given.found[rows, IMAGE]).tolist()}  # fmt: skip
    taken: set[int] = set()
    right = []
    for row in rows.tolist():
        truth = there[given.found[row, IMAGE]]
        overlap = iou_matrix(given.found[row, 2:] + PIXEL, given.truth[truth, 2:] + PIXEL)[0]
        best = int(truth[overlap.argmax()]) if len(truth) and overlap.max() >= iou else -1
        if best >= 0 and ignored[best]:
            continue
        right.append(best >= 0 and best not in taken)
        taken.add(best)
    hits = np.cumsum(right, dtype=np.float64)
    return hits / positives, hits / np.arange(1, len(hits) + 1)


def _mean(by_class: dict[str, float | None]) -> float | None:
    known = [value for value in by_class.values() if value is not None]
    return float(np.mean(known)) if known else None

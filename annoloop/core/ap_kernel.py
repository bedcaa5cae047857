"""The compiled half of weighted AP: COCO's matching of one image and class, and the weighted sweep.

Importing this module compiles nothing: a kernel compiles on its first call and is cached on disk.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from annoloop.core.zcore_weights import compiled

WRONG, RIGHT, IGNORED = 0, 1, 2
"""What a detection is at one IoU threshold."""

LARGEST = 1e10  # px²: COCO's largest size range ends here


class Cells(NamedTuple):
    """Rows of one kind, sorted by class and image; cell c owns rows `first[c]` to `first[c + 1]`.

    `boxes` (n, 4) x, y, width, height; `ignored` and `crowd` (n,), both false for detections.
    Inside a cell detections stand by falling score, truth with what is ignored last.
    """

    first: NDArray[np.int64]
    boxes: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


@compiled
def match_cells(
    found: Any, truth: Any, levels: NDArray[np.float64], most: int
) -> NDArray[np.uint8]:
    """What each detection is at each IoU threshold of `levels` (t,): (t, n), as COCOeval.

    Each of the first `most` detections of a cell, by falling score, takes the free truth that it
    overlaps most (of equal ones the later), real truth before ignored; the rest of the cell is
    ignored. `Cells` of both kinds have the same cells.
    """
    what = np.full((len(levels), len(found.boxes)), WRONG, dtype=np.uint8)
    for cell in range(len(found.first) - 1):
        low, high = found.first[cell], found.first[cell + 1]
        here, there = truth.first[cell], truth.first[cell + 1]
        what[:, min(low + most, high) : high] = IGNORED
        high = min(low + most, high)
        overlap = np.empty((high - low, there - here))
        for row in range(low, high):
            for column in range(here, there):
                overlap[row - low, column - here] = _overlap(
                    found.boxes[row], truth.boxes[column], truth.crowd[column]
                )
        for level in range(len(levels)):
            taken = np.zeros(there - here, dtype=np.bool_)
            for row in range(low, high):
                best, match = min(levels[level], 1.0 - 1e-10), -1
                for column in range(there - here):
                    ignored = truth.ignored[here + column]
                    if taken[column] and not ignored:
                        continue
                    if match >= 0 and ignored and not truth.ignored[here + match]:
                        break
                    if overlap[row - low, column] >= best:
                        best, match = overlap[row - low, column], column
                if match >= 0:
                    taken[match] = True
                    what[level, row] = IGNORED if truth.ignored[here + match] else RIGHT
                elif found.boxes[row, 2] * found.boxes[row, 3] > LARGEST:
                    what[level, row] = IGNORED
    return what


@compiled
def _overlap(a: NDArray[np.float64], b: NDArray[np.float64], crowd: bool) -> float:
    """IoU of two boxes in the operations of pycocotools; over the area of `a` alone for a crowd."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    shared = wide * high
    whole = a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - shared
    return float(shared / whole)


class Ranked(NamedTuple):
    """Detections by class and falling score; class k owns rows `first[k]` to `first[k + 1]`.

    `image` (n,) is the position of the image, `what` (t, n) one of WRONG, RIGHT and IGNORED.
    """

    first: NDArray[np.int64]
    image: NDArray[np.int64]
    what: NDArray[np.uint8]


@compiled
def sweep(
    ranked: Any,
    weights: NDArray[np.float64],
    positives: NDArray[np.float64],
    recalls: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Interpolated AP into `out` (b, t, k) for image weights (b, i) and positives (b, k).

    `recalls` rise. Only right detections end a step of the curve: a wrong one lowers precision at
    the same recall, which the envelope never sees. A class without positives gets NaN.
    """
    size = 0
    for kind in range(len(ranked.first) - 1):
        size = max(size, ranked.first[kind + 1] - ranked.first[kind])
    recall, precision, weight = np.empty(size), np.empty(size), np.empty(size)
    for draw in range(len(weights)):
        for kind in range(len(ranked.first) - 1):
            total = positives[draw, kind]
            low, count = ranked.first[kind], ranked.first[kind + 1] - ranked.first[kind]
            for place in range(count):  # gathered once for all levels
                weight[place] = weights[draw, ranked.image[low + place]]
            for level in range(len(ranked.what)):
                if total <= 0:
                    out[draw, level, kind] = np.nan
                    continue
                right, wrong, steps = 0.0, 0.0, 0
                for place in range(count):
                    what = ranked.what[level, low + place]
                    if what == WRONG:
                        wrong += weight[place]
                    elif what == RIGHT and weight[place] > 0:
                        right += weight[place]
                        recall[steps] = right / total
                        precision[steps] = right / (right + wrong)
                        steps += 1
                out[draw, level, kind] = _area(recall[:steps], precision[:steps], recalls)


@compiled
def _area(
    recall: NDArray[np.float64], precision: NDArray[np.float64], recalls: NDArray[np.float64]
) -> float:
    """Mean over `recalls` of the best precision at that recall or beyond, 0 where unreached."""
    total, best, wanted = 0.0, 0.0, len(recalls) - 1
    for step in range(len(recall) - 1, -1, -1):
        while wanted >= 0 and recalls[wanted] > recall[step]:
            total += best
            wanted -= 1
        best = max(best, precision[step])
    return float((total + best * (wanted + 1)) / len(recalls))

"""Boxes against boxes: overlap, and greedy matching as COCO does it, one image at a time.

Everything outside the official metric (counts per image, the operating point, failures) goes
through `match_image`, so that their numbers agree with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annoloop.errors import InputError
from annoloop.records import Detection, Label

Truth = Mapping[str, Sequence[Label]]
Detections = Mapping[str, Sequence[Detection]]
"""By sample id."""

COVERED_SHARE = 0.5
"""What lies in an ignored box by this share of its own area counts for nothing."""


def iou_matrix(
    a: ArrayLike, b: ArrayLike, *, crowd: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Intersection over union of boxes x, y, width, height in pixels: (n, 4) × (m, 4) → (n, m).

    In the columns where `crowd` (m,) is true the intersection is divided by the area of `a` alone,
    which is COCO's overlap with a crowd region. Boxes without area overlap nothing. The order of
    operations is that of pycocotools, so the values are equal to the last bit.
    """
    first = np.asarray(a, dtype=np.float64).reshape(-1, 1, 4)
    second = np.asarray(b, dtype=np.float64).reshape(1, -1, 4)
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    sides = np.maximum(high - low, 0.0)
    shared: NDArray[np.float64] = sides[..., 0] * sides[..., 1]
    area = first[..., 2] * first[..., 3]
    whole = area + second[..., 2] * second[..., 3] - shared
    if crowd is not None:
        whole = np.where(np.asarray(crowd, dtype=bool).reshape(1, -1), area, whole)
    overlap = np.zeros_like(shared)
    np.divide(shared, whole, out=overlap, where=shared > 0.0)
    return overlap


def greedy_match(
    overlap: NDArray[np.float64], allowed: NDArray[np.bool_], *, floor: float = 0.5
) -> NDArray[np.int64]:
    """Give each row, in order, the free column that it overlaps most; (n, m) → (n,), -1 for none.

    Rows are detections by falling score, columns are truth. A pair needs `allowed` and an overlap
    of at least `floor`. Of equal overlaps the later column wins, as in pycocotools.
    """
    rows, columns = np.nonzero(allowed & (overlap >= floor))
    order = np.lexsort((-columns, -overlap[rows, columns], rows))
    match = np.full(overlap.shape[0], -1, dtype=np.int64)
    taken: set[int] = set()
    done = -1
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row != done and column not in taken:
            match[row] = column
            taken.add(column)
            done = row
    return match


@dataclass(frozen=True, slots=True, eq=False)
class MatchedImage:
    """One image after matching.

    `detections` (n) stand by falling score, `truth` (m) holds what is not ignored; `iou` and
    `same_class` are (n, m); `match` (n,) is the position in `truth` or -1; `absorbed` (n,) marks
    unmatched detections that lie by half or more in an ignored box of their class.
    """

    detections: tuple[Detection, ...]
    truth: tuple[Label, ...]
    iou: NDArray[np.float64]
    same_class: NDArray[np.bool_]
    match: NDArray[np.int64]
    absorbed: NDArray[np.bool_]

    @property
    def scores(self) -> NDArray[np.float64]:
        """(n,) falling."""
        return np.array([one.score for one in self.detections], dtype=np.float64)

    @property
    def positive(self) -> NDArray[np.bool_]:
        """(n,) true positives."""
        return self.match >= 0

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """(n,) false positives: neither matched nor absorbed."""
        return (self.match < 0) & ~self.absorbed


def match_image(
    truth: Sequence[Label], detections: Sequence[Detection], *, iou: float = 0.5
) -> MatchedImage:
    """Match one image's detections with its truth, per class, by falling score.

    Ignored truth (crowd or difficult) matches nothing; afterwards it absorbs, without limit, the
    unmatched detections of its class of which it covers half or more: the rule for ignore regions
    of TIDE (arXiv 2008.08115). Equal scores are ordered by class and box, so the answer does not
    depend on the order of the input.
    """
    found = tuple(sorted(detections, key=lambda one: (-one.score, one.class_id, one.box)))
    real = tuple(sorted((t for t in truth if not t.ignored), key=lambda t: (t.class_id, t.box)))
    ignored = tuple(t for t in truth if t.ignored)
    classes = classes_of(found)[:, None]
    overlap, same = iou_matrix(boxes_of(found), boxes_of(real)), classes == classes_of(real)
    match = greedy_match(overlap, same, floor=iou)
    inside = covered_by(found, ignored) & (classes == classes_of(ignored))
    absorbed = (match < 0) & inside.any(axis=1)
    return MatchedImage(found, real, overlap, same, match, absorbed)


def covered_by(
    rows: Sequence[Label] | Sequence[Detection], ignored: Sequence[Label]
) -> NDArray[np.bool_]:
    """(n, m): which of `rows` lie by half or more of their area in which of the ignored boxes."""
    share = iou_matrix(boxes_of(rows), boxes_of(ignored), crowd=np.ones(len(ignored), dtype=bool))
    return share >= COVERED_SHARE


def refuse_unknown_images(truth: Truth, detections: Detections) -> None:
    """Raises InputError when there are detections for images that `truth` does not have."""
    unknown = sorted(detections.keys() - truth.keys())
    if unknown:
        raise InputError(
            f"detections for {len(unknown):,} images that are not evaluated, first {unknown[0]!r}",
            fix="predict on the images that are evaluated, or give their truth (empty if nothing "
            "is there)",
        )


def boxes_of(rows: Sequence[Label] | Sequence[Detection]) -> NDArray[np.float64]:
    """(n, 4) x, y, width, height in pixels."""
    return np.array([row.box for row in rows], dtype=np.float64).reshape(-1, 4)


def classes_of(rows: Sequence[Label] | Sequence[Detection]) -> NDArray[np.int64]:
    """(n,) class ids."""
    return np.array([row.class_id for row in rows], dtype=np.int64)

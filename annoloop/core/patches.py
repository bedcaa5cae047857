"""What the pool is searched by: whole images, or the regions in which objects may be.

A missed cup of forty pixels hardly moves the vector of its image. Where an embedder describes
regions, a failure is compared with the objects that the model proposes in the pool, and an image
is as near as its nearest region (TALISMAN, arXiv 2112.00166: the largest over pairs of regions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import iou_matrix
from annoloop.errors import VectorError
from annoloop.records import Box, Detection

MIN_SCORE = 0.02
"""Proposals may be weak: an object that the model misses has no confident box."""
PROPOSALS = 10
SAME_REGION = 0.7
"""IoU from which two proposals, of whatever class, are one region."""
CONTEXT = 1.3
"""A region is cut out so much larger a side than its box: what is around an object is a hint."""


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """Vectors (m, d), the candidate (m,) that each belongs to, and its box (m, 4) in pixels.

    A whole image is a patch too, with a box of NaN: an image without proposals has only that one.
    """

    vectors: NDArray[np.floating]
    owners: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def __post_init__(self) -> None:
        m = len(self.vectors)
        if self.owners.shape != (m,) or self.boxes.shape != (m, 4):
            raise VectorError(
                f"{m} patch vectors have owners of shape {self.owners.shape} and boxes of shape "
                f"{self.boxes.shape}",
                fix="Give every vector one candidate and one box.",
            )

    def box(self, place: int) -> Box | None:
        """The region of one patch, None for a whole image."""
        x, y, w, h = self.boxes[place].tolist()
        return None if np.isnan(x) else (x, y, w, h)


def whole_images(vectors: NDArray[np.floating]) -> Patches:
    """One patch for each image, vectors (n, d)."""
    return Patches(vectors, np.arange(len(vectors)), np.full((len(vectors), 4), np.nan))


def patches_of(pool: NDArray[np.floating] | Patches) -> Patches:
    """`pool` as patches: vectors (n, d) are those of whole images."""
    return pool if isinstance(pool, Patches) else whole_images(pool)


def proposals(found: Sequence[Detection], *, most: int = PROPOSALS) -> list[Box]:
    """The `most` best boxes of an image, whatever their class, that are not one region twice."""
    ranked = sorted(
        (d for d in found if d.score >= MIN_SCORE), key=lambda d: (-d.score, d.class_id, d.box)
    )
    kept: list[Box] = []
    for one in ranked:
        if len(kept) == most:
            break
        if not kept or iou_matrix(np.array([one.box]), np.array(kept)).max() < SAME_REGION:
            kept.append(one.box)
    return kept


def with_context(box: Box, *, width: int, height: int, factor: float = CONTEXT) -> Box:
    """The box grown to `factor` times its sides, cut off at the image; whole pixels, at least 1."""
    x, y, w, h = box
    grow_x, grow_y = w * (factor - 1) / 2, h * (factor - 1) / 2
    left = min(max(0, int(np.floor(x - grow_x))), width - 1)
    top = min(max(0, int(np.floor(y - grow_y))), height - 1)
    right = min(max(left + 1, int(np.ceil(x + w + grow_x))), width)
    bottom = min(max(top + 1, int(np.ceil(y + h + grow_y))), height)
    return float(left), float(top), float(right - left), float(bottom - top)

"""Where the model is unsure: entropy of its boxes, hard classes weighing more, then variety.

The form of PPAL (Yang, Huang, Crowley, CVPR 2024, arXiv 2211.11612). PPAL spreads its picks by the
vectors of boxes; here whole images have vectors, so picks are spread by those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.candidates import Candidates, Evidence, Ranking
from annoloop.core.cosines import coarse
from annoloop.core.matching import Detections, Truth, iou_matrix, match_image
from annoloop.errors import VectorError
from annoloop.records import Detection

MIN_SCORE = 0.05
SAME_BOX = 0.5
"""IoU from which two boxes of one class in one image are one doubt, not two."""
ALPHA, BETA = 0.3, 0.2
CONFIDENCE = 0.6
"""Exponent of the score in a box's quality; that of its IoU is the rest to 1."""
KEPT = 4
"""So many times what is wanted are kept as most uncertain; variety chooses among them."""
ROUND = 500
"""Picks spread at once; a longer ranking goes on with the next most uncertain."""


def class_quality(truth: Truth, detections: Detections, *, classes: int) -> NDArray[np.float64]:
    """How well each class is found, (classes,) from 0 to 1: the mean over its true boxes.

    A box that is found counts score^0.6 × IoU^0.4, one that is missed 0. A class without a true box
    has quality 0: what the model never proved is hard.
    """
    total, count = np.zeros(classes), np.zeros(classes)
    for sample in sorted(truth):
        image = match_image(truth[sample], detections.get(sample, ()))
        for label in image.truth:
            count[label.class_id] += 1
        for row, column in enumerate(image.match.tolist()):
            if column >= 0:
                found = image.detections[row]
                overlap = float(image.iou[row, column])
                total[found.class_id] += found.score**CONFIDENCE * overlap ** (1 - CONFIDENCE)
    return total / np.maximum(count, 1.0)


def difficulty(quality: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of each class (c,): 1 where its quality is 1, 1 + β where it is 0, and steep at 1."""
    steep = np.expm1(1.0 / ALPHA)
    return np.asarray(1.0 + ALPHA * BETA * np.log1p(steep * (1.0 - quality)))


def image_uncertainty(found: Sequence[Detection], weights: NDArray[np.float64]) -> float:
    """Σ entropy × class weight over the boxes with a score of 0.05 or more, each doubt once.

    Boxes of one class that overlap by IoU 0.5 or more are one doubt: the most uncertain counts.
    In nats; a box at score 0.5 of a class of weight 1 is ln 2.
    """
    kept = [d for d in found if d.score >= MIN_SCORE]
    if not kept:
        return 0.0
    scores = np.array([d.score for d in kept])
    kinds = np.array([d.class_id for d in kept])
    doubt = weights[kinds] * _entropy(scores)
    boxes = np.array([d.box for d in kept])
    same = (iou_matrix(boxes, boxes) >= SAME_BOX) & (kinds[:, None] == kinds)
    left, total = np.ones(len(kept), dtype=bool), 0.0
    # The order is of the boxes themselves, so that the order of detections cannot matter.
    for row in np.lexsort((*boxes.T, kinds, -scores, -doubt)).tolist():
        if left[row]:
            total += float(doubt[row])
            left &= ~same[row]
    return total


def _entropy(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    p = np.clip(scores, 1e-12, 1.0 - 1e-12)
    return np.asarray(-p * np.log(p) - (1.0 - p) * np.log1p(-p))


def uncertainty(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """The most uncertain images, spread: of 4 × `want`, always the one farthest from the picks.

    The first is the most uncertain of all; distances are cosines of image vectors, and where those
    are missing the order is that of uncertainty alone. Images in which the model sees nothing are
    not ranked. Raises VectorError for scores that are not finite.
    """
    scores = candidates.uncertainty
    if scores is None:
        none = np.empty(0, dtype=np.int64)
        return _ranking([], np.zeros(0), none, "no model has predicted on the pool yet")
    if not np.isfinite(scores).all():
        broken = candidates.ids[int(np.flatnonzero(~np.isfinite(scores))[0])]
        raise VectorError(f"the uncertainty of {broken} is not finite", fix="Predict again.")
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0.0]
    left = order[~taken[order]]
    size = min(want, ROUND)
    picks: list[tuple[int, float | None]] = []
    while len(picks) < want and len(left):
        kept = left[: KEPT * size]
        some = _spread(kept, candidates.vectors, count=size)
        picks += some
        left = left[~np.isin(left, [row for row, _ in some])]
    note = None if len(picks) >= want else "the model sees nothing in any other image"
    return _ranking(picks[:want], scores, order, note)


def _spread(
    rows: NDArray[np.int64], vectors: NDArray[np.floating] | None, *, count: int
) -> list[tuple[int, float | None]]:
    """Up to `count` of the rows (most uncertain first), each with its cosine to the nearest pick.

    Farthest first, of equal ones the most uncertain. No cosine for the first of them.
    """
    if vectors is None:
        return [(row, None) for row in rows[:count].tolist()]
    units = coarse(vectors[rows])
    nearest = np.full(len(rows), -np.inf, dtype=np.float32)
    picks: list[tuple[int, float | None]] = []
    for _ in range(min(count, len(rows))):
        place = int(nearest.argmin())
        picks.append((int(rows[place]), float(nearest[place]) if picks else None))
        nearest = np.maximum(nearest, units @ units[place])
        nearest[place] = np.inf
    return picks


def _ranking(
    picks: Sequence[tuple[int, float | None]],
    scores: NDArray[np.float64],
    order: NDArray[np.int64],
    note: str | None,
) -> Ranking:
    rows = np.array([row for row, _ in picks], dtype=np.int64)
    found = scores[rows]
    ranks = np.zeros(len(scores), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)

    def explain(index: int) -> tuple[str, Mapping[str, Any]]:
        row, cosine = picks[index]
        rank = int(ranks[row])
        reason = f"uncertainty {found[index]:.2f}, rank {rank} of {len(order)} images with boxes"
        if cosine is not None:
            reason += f", cosine {cosine:.2f} to the nearest pick before it"
        return reason, {"uncertainty_rank": rank, "with_boxes": len(order), "nearest_pick": cosine}

    return Ranking(rows, found, explain, note)

"""Errors by type, pass and image: what the golden tests are run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.agreement import (
    PAIRED,
    Answers,
    Matched,
    MatchRule,
    Outcome,
    match_pass,
)
from annoloop.core.agreement_scores import LOW_OVERLAP
from annoloop.core.control import MISSING

BIN = 0.05
"""1 − IoU is counted in whole steps of this, so that its test is exact too."""

Counts = NDArray[np.int64]

COUNTED = {
    "missed": (Outcome.MISSED,),
    "spurious": (Outcome.SPURIOUS, Outcome.DUPLICATE),
    "class": (Outcome.CONFUSION,),
}


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """`errors` by type, each (passes, images), newest pass last, -1 where a pass lacks an image.

    `location` there counts badly placed pairs (IoU below 0.8). `displacement` is what its test is
    run on: 1 − IoU in steps of 0.05, summed over the reference boxes that every pass of the image
    found, so that finding more boxes never looks like placing them worse. `boxes` (passes, images)
    are the reference boxes that count for the pass; `usual_loss` is the mean 1 − IoU of all pairs
    of the earlier passes, None without any.
    """

    images: tuple[str, ...]
    errors: dict[str, Counts]
    displacement: Counts
    boxes: Counts
    newest: Matched
    usual_loss: float | None

    def passes(self) -> Counts:
        """(images,) how many earlier passes each image has."""
        return np.asarray((self.boxes[:-1] != MISSING).sum(axis=0))

    def only(self, chosen: NDArray[np.bool_]) -> Tally:
        """The same on the (images,) that are chosen; `newest` stays whole."""
        return Tally(
            tuple(name for name, kept in zip(self.images, chosen, strict=True) if kept),
            {kind: counts[:, chosen] for kind, counts in self.errors.items()},
            self.displacement[:, chosen],
            self.boxes[:, chosen],
            self.newest,
            self.usual_loss,
        )


def tally(
    reference: Answers, earlier: Sequence[Answers], new: Answers, *, rule: MatchRule
) -> Tally:
    """Match every pass with the reference and count, on the images of `reference` and `new`."""
    images = tuple(sorted(reference.keys() & new.keys()))
    wanted = {sample: reference[sample] for sample in images}
    return count_errors(wanted, [match_pass(wanted, one, rule=rule) for one in (*earlier, new)])


def count_errors(reference: Answers, matched: Sequence[Matched]) -> Tally:
    """The same from passes that are matched already, newest last, on all images of `reference`."""
    images = tuple(sorted(reference))
    shape = (len(matched), len(images))
    errors = {kind: np.full(shape, MISSING, dtype=np.int64) for kind in (*COUNTED, "location")}
    boxes = np.full(shape, MISSING, dtype=np.int64)
    where = {sample: position for position, sample in enumerate(images)}
    for row, one in enumerate(matched):
        columns = [where[sample] for sample in one.images]
        for kind, outcomes in COUNTED.items():
            errors[kind][row, columns] = one.per_image(one.rows(*outcomes))
        low = one.rows(*PAIRED) & (one.iou < LOW_OVERLAP)
        errors["location"][row, columns] = one.per_image(low)
        boxes[row, columns] = one.reference_boxes()
    sizes = np.array([len(reference[sample]) for sample in images], dtype=np.int64)
    moved = _displacement(matched, where, sizes=sizes, present=boxes != MISSING)
    losses = [1.0 - one.iou[one.rows(*PAIRED)] for one in matched[:-1]]
    pairs = sum(len(one) for one in losses)
    usual = sum(float(one.sum()) for one in losses) / pairs if pairs else None
    return Tally(images, errors, moved, boxes, matched[-1], usual)


def _displacement(
    matched: Sequence[Matched],
    where: dict[str, int],
    *,
    sizes: Counts,
    present: NDArray[np.bool_],
) -> Counts:
    """(passes, images) sums over the reference boxes that all passes of the image found."""
    first = np.concatenate([[0], np.cumsum(sizes)])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    steps = np.full((len(matched), int(first[-1])), MISSING, dtype=np.int64)
    for row, one in enumerate(matched):
        paired = one.rows(*PAIRED)
        columns = np.array([where[sample] for sample in one.images], dtype=np.int64)
        place = first[columns[one.image[paired]]] + one.reference[paired]
        steps[row, place] = np.floor((1.0 - one.iou[paired]) / BIN + 1e-9)
    found = (steps != MISSING) | ~present[:, owner]
    common = found.all(axis=0)
    sums = np.array(
        [np.bincount(owner[common], row[common], minlength=len(sizes)) for row in steps]
    )
    return np.where(present, sums.astype(np.int64), MISSING)

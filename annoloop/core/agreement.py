"""One pass of answers against the reference, box by box: place first, class second.

The answer is one long table (`Matched`), from which every count, rate and interval follows by
adding up its rows image by image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import boxes_of, classes_of, covered_by, iou_matrix
from annoloop.records import Box, Label

Answers = Mapping[str, Sequence[Label]]
"""One pass: labels by sample id; an empty sequence is the answer "nothing here"."""

ABSENT = -1
SAME_CLASS_BONUS = 0.001  # decides between equal overlaps, and nothing else
NOWHERE: Box = (float("nan"),) * 4


class Outcome(IntEnum):
    """What became of one box; exactly one for each box of either side, pairs sharing one."""

    AGREE = 0
    CONFUSION = 1
    MISSED = 2
    SPURIOUS = 3
    DUPLICATE = 4
    IGNORED = 5


PAIRED = (Outcome.AGREE, Outcome.CONFUSION)


@dataclass(frozen=True, slots=True)
class MatchRule:
    """When two boxes may be one object: IoU of at least `iou`.

    Where the shorter side of the reference box is under `small_side` pixels, an IoU of `small_iou`
    is enough, and so are boxes that overlap with all four edges within `edge` pixels: IoU reacts
    strongly to small offsets of small objects (Murrugarra-Llerena et al., CVPRW 2022).
    """

    iou: float = 0.5
    small_side: float = 32.0
    small_iou: float = 0.4
    edge: float = 3.0

    def allows(
        self,
        reference: NDArray[np.float64],
        answers: NDArray[np.float64],
        *,
        overlap: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """(n, 4) and (m, 4) boxes with their IoU (n, m) → (n, m)."""
        small = (reference[:, 2:].min(axis=1, initial=np.inf) < self.small_side)[:, None]
        apart = np.abs(corners(reference)[:, None] - corners(answers)[None]).max(axis=2)
        tolerated = (overlap >= self.small_iou) | (apart <= self.edge)
        allowed: NDArray[np.bool_] = (overlap >= self.iou) | (small & tolerated)
        return allowed & (overlap > 0.0)


DEFAULT_RULE = MatchRule()


def plain(iou: float) -> MatchRule:
    """The rule without a tolerance for small objects, as published numbers use it."""
    return MatchRule(iou=iou, small_side=0.0)


class Row(NamedTuple):
    """One line of the table; positions and classes are -1, boxes NaN, where there is none."""

    outcome: Outcome
    reference: int
    answer: int
    reference_class: int
    answer_class: int
    reference_box: Box
    answer_box: Box
    iou: float


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """All boxes of one pass and of the reference, on the images that both have.

    `images` are the n sample ids, sorted; every other column has one entry a row: the position of
    its image, the outcome, the positions of the two labels in their sequences, their classes,
    their boxes (r, 4) in pixels, and their IoU (0 without a partner).
    """

    images: tuple[str, ...]
    image: NDArray[np.int64]
    outcome: NDArray[np.int64]
    reference: NDArray[np.int64]
    answer: NDArray[np.int64]
    reference_class: NDArray[np.int64]
    answer_class: NDArray[np.int64]
    reference_box: NDArray[np.float64]
    answer_box: NDArray[np.float64]
    iou: NDArray[np.float64]

    def rows(self, *outcomes: Outcome) -> NDArray[np.bool_]:
        """(r,) which rows have one of these outcomes."""
        return np.isin(self.outcome, outcomes)

    def per_image(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(r,) chosen rows → (n,) how many of them each image has."""
        return np.bincount(self.image[rows], minlength=len(self.images))

    def reference_boxes(self) -> NDArray[np.int64]:
        """(n,) boxes of the reference that count."""
        return self.per_image(self.rows(*PAIRED, Outcome.MISSED))

    def answer_boxes(self) -> NDArray[np.int64]:
        """(n,) boxes of the answers that count."""
        return self.per_image(self.rows(*PAIRED, Outcome.SPURIOUS, Outcome.DUPLICATE))

    def edge_offsets(self) -> NDArray[np.float64]:
        """(pairs, 4) left, top, right, bottom: answer minus reference, over sqrt(reference area).

        Positive is to the right and down. The sign reveals a changed convention that IoU hides.
        """
        paired = self.rows(*PAIRED)
        reference, answer = self.reference_box[paired], self.answer_box[paired]
        side = np.sqrt(reference[:, 2] * reference[:, 3])[:, None]
        offsets: NDArray[np.float64] = (corners(answer) - corners(reference)) / side
        return offsets

    def log_area_ratio(self) -> NDArray[np.float64]:
        """(pairs,) log(answer area / reference area)."""
        paired = self.rows(*PAIRED)
        areas = [box[paired, 2] * box[paired, 3] for box in (self.answer_box, self.reference_box)]
        return np.asarray(np.log(areas[0]) - np.log(areas[1]), dtype=np.float64)


def match_pass(reference: Answers, answers: Answers, *, rule: MatchRule = DEFAULT_RULE) -> Matched:
    """Match a pass with the reference on the images that both have; `match_image` says how."""
    images = tuple(sorted(reference.keys() & answers.keys()))
    image: list[int] = []
    rows: list[Row] = []
    for position, sample in enumerate(images):
        found = match_image(reference[sample], answers[sample], rule=rule)
        image += [position] * len(found)
        rows += found
    whole = np.array([row[:5] for row in rows], dtype=np.int64).reshape(-1, 5)
    return Matched(
        images,
        np.array(image, dtype=np.int64),
        outcome=whole[:, 0],
        reference=whole[:, 1],
        answer=whole[:, 2],
        reference_class=whole[:, 3],
        answer_class=whole[:, 4],
        reference_box=np.array([row.reference_box for row in rows]).reshape(-1, 4),
        answer_box=np.array([row.answer_box for row in rows]).reshape(-1, 4),
        iou=np.array([row.iou for row in rows], dtype=np.float64),
    )


def match_image(
    reference: Sequence[Label], answers: Sequence[Label], *, rule: MatchRule = DEFAULT_RULE
) -> list[Row]:
    """The rows of one image: the pairs with the largest sum of IoU, whatever their classes.

    A pair of different classes is a confusion. A box without a partner is missed (reference) or
    spurious (answer), a duplicate if it overlaps an object that has its partner already, and
    ignored if half of it or more lies in a crowd or difficult box of the other side. The order of
    the boxes does not matter.
    """
    wanted, drawn = _ordered(reference), _ordered(answers)
    first = boxes_of([reference[k] for k in wanted])
    second = boxes_of([answers[k] for k in drawn])
    overlap = iou_matrix(first, second)
    allowed = rule.allows(first, second, overlap=overlap)
    classes = (
        classes_of([reference[k] for k in wanted]),
        classes_of([answers[k] for k in drawn]),
    )
    pairs = best_pairs(overlap, allowed, same=classes[0][:, None] == classes[1])
    taken = dict(pairs)
    rows = []
    for r, position in enumerate(wanted):
        label = reference[position]
        if r not in taken:
            hidden = _inside(label, answers)
            kind = Outcome.IGNORED if hidden else Outcome.MISSED
            rows.append(
                Row(kind, position, ABSENT, label.class_id, ABSENT, label.box, NOWHERE, 0.0)
            )
            continue
        other, iou = answers[drawn[taken[r]]], float(overlap[r, taken[r]])
        kind = Outcome.AGREE if label.class_id == other.class_id else Outcome.CONFUSION
        ids = (position, drawn[taken[r]], label.class_id, other.class_id)
        rows.append(Row(kind, *ids, label.box, other.box, iou))
    used, matched = set(taken.values()), list(taken)
    for c, position in enumerate(drawn):
        if c in used:
            continue
        label = answers[position]
        kind = Outcome.DUPLICATE if allowed[matched, c].any() else Outcome.SPURIOUS
        kind = Outcome.IGNORED if _inside(label, reference) else kind
        rows.append(Row(kind, ABSENT, position, ABSENT, label.class_id, NOWHERE, label.box, 0.0))
    return rows


def best_pairs(
    overlap: NDArray[np.float64], allowed: NDArray[np.bool_], *, same: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """The allowed (row, column) pairs with the largest sum of overlap; same class breaks ties."""
    if not allowed.any():
        return []
    from scipy.optimize import linear_sum_assignment

    gain = np.where(allowed, overlap + SAME_CLASS_BONUS * same, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [
        (r, c)
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        if allowed[r, c] and gain[r, c] > 0.0
    ]


def corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """x, y, width, height (n, 4) → left, top, right, bottom (n, 4)."""
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


def _ordered(labels: Sequence[Label]) -> list[int]:
    """Positions of the labels that count, in an order that does not depend on the input's."""
    counted = (k for k, label in enumerate(labels) if not label.ignored)
    return sorted(counted, key=lambda k: (labels[k].class_id, labels[k].box))


def _inside(label: Label, others: Sequence[Label]) -> bool:
    ignored = [other for other in others if other.ignored]
    return bool(ignored) and bool(covered_by([label], ignored).any())

"""What a matched pass adds up to: F1, precision, recall, confusions, and how boxes lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.agreement import ABSENT, PAIRED, Matched, Outcome
from annoloop.core.intervals import Interval, Resample

LOW_OVERLAP = 0.8
"""A pair below this IoU counts as badly placed."""

EDGES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares in [0, 1], None where there is nothing to divide by; `interval` is F1's, 95 %."""

    f1: float | None
    precision: float | None
    recall: float | None
    interval: Interval | None
    reference: int
    answers: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often `reference` was answered as `answer`; None is "absent", a missed or extra box."""

    reference: str | None
    answer: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Placement:
    """How the pairs lie. `overlap_loss` is the mean of 1 − IoU, `low_overlap` the pairs below 0.8.

    `edges` are mean signed offsets (answer − reference) over sqrt(reference area), positive to the
    right and down; `log_area_ratio` is the mean, `side_ratio` = exp(log_area_ratio / 2).
    """

    pairs: int
    overlap_loss: float | None
    low_overlap: int
    edges: Mapping[str, float]
    edge_intervals: Mapping[str, Interval]
    log_area_ratio: float | None
    side_ratio: float | None


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Agreement with the reference: place and class right, then place alone (`detection`)."""

    f1: float | None
    precision: float | None
    recall: float | None
    interval: Interval | None
    per_class: Mapping[str, Scores]
    detection: Scores
    outcomes: Mapping[str, int]
    confusions: tuple[Confusion, ...]
    placement: Placement


def agreement(matched: Matched, *, classes: Sequence[str], resample: Resample) -> AgreementReport:
    """Scores of one pass; classes without a box on either side are left out of `per_class`.

    `resample` must be drawn for as many images as `matched` has. True negatives cannot be counted
    among boxes, so F1 is the agreement that needs no correction for chance (Hripcsak & Rothschild
    2005).
    """
    agree = matched.rows(Outcome.AGREE)
    wanted = matched.rows(*PAIRED, Outcome.MISSED)
    drawn = matched.rows(*PAIRED, Outcome.SPURIOUS, Outcome.DUPLICATE)
    whole = _scores(matched, agree, wanted=wanted, drawn=drawn, resample=resample)
    per_class = {}
    for position, name in enumerate(classes):
        mine, theirs = matched.reference_class == position, matched.answer_class == position
        if (wanted & mine).any() or (drawn & theirs).any():
            per_class[name] = _scores(
                matched,
                agree & mine,
                wanted=wanted & mine,
                drawn=drawn & theirs,
                resample=resample,
            )
    paired = matched.rows(*PAIRED)
    return AgreementReport(
        f1=whole.f1,
        precision=whole.precision,
        recall=whole.recall,
        interval=whole.interval,
        per_class=per_class,
        detection=_scores(matched, paired, wanted=wanted, drawn=drawn, resample=resample),
        outcomes={one.name.lower(): int(matched.rows(one).sum()) for one in Outcome},
        confusions=_confusions(matched, classes),
        placement=_placement(matched, resample),
    )


def confusion_matrix(matched: Matched, classes: int) -> NDArray[np.int64]:
    """(classes + 1, classes + 1) reference × answer; the last row and column are "absent"."""
    counted = ~matched.rows(Outcome.IGNORED)
    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    # A class of -1 is the last row or column.
    rows, columns = matched.reference_class[counted], matched.answer_class[counted]
    np.add.at(matrix, (rows, columns), 1)
    return matrix


def _scores(
    matched: Matched,
    agree: NDArray[np.bool_],
    *,
    wanted: NDArray[np.bool_],
    drawn: NDArray[np.bool_],
    resample: Resample,
) -> Scores:
    right, reference, answers = int(agree.sum()), int(wanted.sum()), int(drawn.sum())
    both = reference + answers
    # F1 is the share of all boxes, of both sides, that agree.
    interval = resample.rate(
        (2.0 * matched.per_image(agree)).astype(np.float64),
        (matched.per_image(wanted) + matched.per_image(drawn)).astype(np.float64),
    )
    return Scores(
        f1=2 * right / both if both else None,
        precision=right / answers if answers else None,
        recall=right / reference if reference else None,
        interval=interval,
        reference=reference,
        answers=answers,
    )


def _confusions(matched: Matched, classes: Sequence[str]) -> tuple[Confusion, ...]:
    """Everything but agreement, most frequent first."""
    wrong = ~matched.rows(Outcome.AGREE, Outcome.IGNORED)
    pairs = zip(
        matched.reference_class[wrong].tolist(), matched.answer_class[wrong].tolist(), strict=True
    )
    names = {ABSENT: None, **dict(enumerate(classes))}
    ranked = sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(names[mine], names[theirs], k) for (mine, theirs), k in ranked)


def _placement(matched: Matched, resample: Resample) -> Placement:
    paired = matched.rows(*PAIRED)
    pairs = int(paired.sum())
    if pairs == 0:
        return Placement(0, None, 0, {}, {}, None, None)
    loss, image = 1.0 - matched.iou[paired], matched.image[paired]
    offsets, ratio = matched.edge_offsets(), float(matched.log_area_ratio().mean())
    held = resample.weights @ matched.per_image(paired)
    intervals = {}
    for position, edge in enumerate(EDGES):
        sums = np.bincount(image, weights=offsets[:, position], minlength=len(matched.images))
        low, high = np.quantile(
            (resample.weights @ sums)[held > 0] / held[held > 0], [0.025, 0.975]
        ).tolist()
        intervals[edge] = (low, high)
    return Placement(
        pairs=pairs,
        overlap_loss=float(loss.mean()),
        low_overlap=int((matched.iou[paired] < LOW_OVERLAP).sum()),
        edges=dict(zip(EDGES, offsets.mean(axis=0).tolist(), strict=True)),
        edge_intervals=intervals,
        log_area_ratio=ratio,
        side_ratio=float(np.exp(ratio / 2.0)),
    )

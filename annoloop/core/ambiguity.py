"""Is what still fails the model's fault, the label's, or nobody's? By double blind answers.

Two people label the images of a sample of failures again, without the model's boxes and without
the old labels. What they say at the place of a failure decides it (methods B2): both say what the
model said: the label is wrong; both say what the label says: the model is wrong; they differ, or
cannot tell: the case is ambiguous; both say something else: label and model are wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import boxes_of, greedy_match, iou_matrix
from annoloop.records import Box, Failure, FailureType, Label

FIT = 0.5
"""IoU from which an answer's box is the box in question."""

DRAWS, LEVEL = 2_000, 0.95


class Said(StrEnum):
    """What one answer says at the place of a failure."""

    MODEL = "model"
    LABEL = "label"
    ELSE = "something else"
    UNSURE = "cannot tell"


class Cause(StrEnum):
    """Why a failure is one."""

    MODEL = "model error"
    LABEL = "label error"
    AMBIGUOUS = "ambiguous"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Disputed:
    """A failure with the old label that it contradicts; None where nothing was labelled there."""

    failure: Failure
    label: Label | None


@dataclass(frozen=True, slots=True)
class Judged:
    """One sampled failure and what two blind answers made of it."""

    sample_id: str
    type: FailureType
    cause: Cause


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the failures by price, with its one-sided 95 % lower bound."""

    value: float
    low: float


@dataclass(frozen=True, slots=True)
class Shares:
    """What the failures are, of `failures` that were judged on `images`.

    `label` and `model` count those that are wrong in both; `not_model` is all that no training
    can repair: ambiguous or label error.
    """

    failures: int
    images: int
    counts: Mapping[str, int]
    ambiguous: Share
    label: Share
    model: Share
    not_model: Share


def dispute(failure: Failure, labels: Sequence[Label]) -> Disputed:
    """The failure with the old label at its place, of the image's old `labels`."""
    if failure.type is FailureType.BACKGROUND:
        return Disputed(failure, None)
    rivals = [one for one in labels if one.class_id == failure.truth_class_id and not one.ignored]
    overlap = iou_matrix([failure.box], boxes_of(rivals))[0]
    return Disputed(failure, rivals[int(overlap.argmax())] if len(rivals) else None)


def read(disputed: Disputed, answer: Sequence[Label] | None) -> Said:
    """What one answer says of a failure; None is an answer that could not tell.

    A box of the answer speaks for a claim if it has its class and IoU ≥ 0.5 with it; where it does
    so for both, the nearer claim has it. For a duplicate the model claims a second object: it is
    right if two different boxes of the answer lie on the two.
    """
    if answer is None:
        return Said.UNSURE
    failure, label = disputed.failure, disputed.label
    missed = failure.type is FailureType.MISSED
    claim = None if missed else Label(failure.class_id, failure.box)
    old = Label(failure.class_id, failure.box) if missed else label
    if failure.type is FailureType.DUPLICATE and claim is not None and old is not None:
        return _read_duplicate(answer, claim, old)
    for_model, for_label = _support(answer, claim), _support(answer, old)
    if max(for_model, for_label) >= FIT:
        return Said.MODEL if for_model > for_label else Said.LABEL
    if claim is None or old is None:
        seen = _seen(answer, failure.box)
        nothing = Said.MODEL if claim is None else Said.LABEL
        return nothing if seen is None else Said.ELSE
    return Said.ELSE


def cause(
    disputed: Disputed, first: Sequence[Label] | None, second: Sequence[Label] | None
) -> Cause:
    """The cause that two blind answers find, None for an answer that could not tell.

    Something else counts as agreed only if both see the same class there, or both see nothing.
    """
    one, two = read(disputed, first), read(disputed, second)
    if one is not two or one is Said.UNSURE or first is None or second is None:
        return Cause.AMBIGUOUS
    if one is Said.ELSE:
        box = disputed.failure.box
        same = _seen(first, box) == _seen(second, box)
        return Cause.BOTH if same else Cause.AMBIGUOUS
    return Cause.LABEL if one is Said.MODEL else Cause.MODEL


def shares(
    judged: Sequence[Judged],
    weights: Mapping[FailureType, float],
    *,
    rng: np.random.Generator,
) -> Shares | None:
    """Shares of the causes, weighted by type; None for no failure.

    `weights` are what each type weighs in all (its ΔAP, or its count); types of which nothing was
    judged drop out. Lower bounds by resampling images, those whose first failure is of one type
    among themselves.
    """
    if not judged:
        return None
    images = {key: place for place, key in enumerate(dict.fromkeys(j.sample_id for j in judged))}
    kinds = {kind: place for place, kind in enumerate(dict.fromkeys(j.type for j in judged))}
    table = np.zeros((len(images), len(kinds), len(Cause)))
    causes = {one: place for place, one in enumerate(Cause)}
    stratum: dict[int, int] = {}
    for one in judged:
        table[images[one.sample_id], kinds[one.type], causes[one.cause]] += 1
        stratum.setdefault(images[one.sample_id], kinds[one.type])
    weight = np.array([max(weights.get(kind, 0.0), 0.0) for kind in kinds])
    weight = weight if weight.sum() > 0 else table.sum(axis=(0, 2))
    drawn = _shares(_resampled(np.array(list(stratum.values())), rng), table, weight)
    found = _shares(np.ones((1, len(images))), table, weight)[0]
    sums = {
        "ambiguous": (Cause.AMBIGUOUS,),
        "label": (Cause.LABEL, Cause.BOTH),
        "model": (Cause.MODEL, Cause.BOTH),
        "not_model": (Cause.AMBIGUOUS, Cause.LABEL),
    }
    bounds: dict[str, Any] = {}
    for name, parts in sums.items():
        columns = [causes[part] for part in parts]
        value = float(found[columns].sum())
        low = _lower(
            value,
            drawn[:, columns].sum(axis=1),
            failures=len(judged),
            images=len(images),
            strata=len(kinds),
        )
        bounds[name] = Share(value, low)
    counts = Counter(str(one.cause) for one in judged)
    return Shares(len(judged), len(images), dict(counts), **bounds)


def allocate(prices: Mapping[FailureType, Sequence[float]], size: int) -> dict[FailureType, int]:
    """How many failures of each type to review: in proportion to the ΔAP of the type, at least one,
    never more than there are; largest remainders. By count where no type has a price."""
    there = {kind: len(rows) for kind, rows in prices.items() if len(rows)}
    total = {kind: float(sum(prices[kind])) for kind in there}
    if sum(total.values()) <= 0:
        total = {kind: float(number) for kind, number in there.items()}
    size = min(size, sum(there.values()))
    given = dict.fromkeys(there, 0)
    for kind in sorted(there, key=lambda kind: -total[kind])[:size]:
        given[kind] = 1
    share = {kind: size * worth / sum(total.values()) for kind, worth in total.items()}
    while sum(given.values()) < size:
        open_ones = [kind for kind in there if given[kind] < there[kind]]
        most = max(open_ones, key=lambda kind: share[kind] - given[kind])
        given[most] += 1
    return given


def _support(answer: Sequence[Label], claim: Label | None) -> float:
    """Best IoU of a box of the answer with the claim, of its class."""
    if claim is None:
        return 0.0
    same = [one for one in answer if one.class_id == claim.class_id]
    return float(iou_matrix(boxes_of(same), [claim.box]).max(initial=0.0))


def _seen(answer: Sequence[Label], box: Box) -> int | None:
    """The class of the answer's box on this place, None if there is none."""
    if not answer:
        return None
    overlap = iou_matrix(boxes_of(answer), [box])[:, 0]
    best = int(overlap.argmax())
    return answer[best].class_id if overlap[best] >= FIT else None


def _read_duplicate(answer: Sequence[Label], claim: Label, old: Label) -> Said:
    same = [one for one in answer if one.class_id == claim.class_id]
    overlap = iou_matrix(boxes_of(same), [claim.box, old.box]) >= FIT
    if not overlap.any():
        return Said.ELSE
    two = overlap.any(axis=0).all() and overlap.any(axis=1).sum() > 1
    return Said.MODEL if two else Said.LABEL


def _resampled(stratum: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(b, i) how often each image is drawn, with replacement within its stratum."""
    weights = np.zeros((DRAWS, len(stratum)))
    for one in np.unique(stratum):
        rows = np.flatnonzero(stratum == one)
        equal = np.full(len(rows), 1.0 / len(rows))
        weights[:, rows] = rng.multinomial(len(rows), equal, size=DRAWS)
    return weights


def _shares(
    weights: NDArray[np.float64], table: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(b, c) shares for image weights (b, i), counts (i, k, c) and type weights (k,)."""
    counts = np.einsum("bi,ikc->bkc", weights, table)
    total = counts.sum(axis=2, keepdims=True)
    inside = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    there = weight * (total[:, :, 0] > 0)
    sums = there.sum(axis=1, keepdims=True)
    there = np.divide(there, sums, out=np.zeros_like(there), where=sums > 0)
    return np.asarray(np.einsum("bk,bkc->bc", there, inside))


def _lower(
    value: float, drawn: NDArray[np.float64], *, failures: int, images: int, strata: int
) -> float:
    """The bootstrap's 5 % quantile, where it is sober.

    A little lower, because resampling few images varies too little (by the root of n / (n - k) in k
    strata), and a normal quantile ends too early (Hesterberg 2015). And never above the exact bound
    of Clopper and Pearson at the effective number of failures, because what never differed in the
    sample does not differ in a resample either.
    """
    from scipy.stats import beta, norm, t

    free = max(images - strata, 1)
    wider = np.sqrt(images / free) * t.ppf(LEVEL, free) / norm.ppf(LEVEL)
    low = value - float(value - np.quantile(drawn, 1 - LEVEL)) * float(wider)
    varied = float(drawn.var())
    effective = images if varied == 0 else min(value * (1 - value) / varied, failures)
    events = value * effective
    exact = float(beta.ppf(1 - LEVEL, events, effective - events + 1)) if events > 0 else 0.0
    return max(0.0, min(low, exact))


def agree(first: Sequence[Label], second: Sequence[Label]) -> bool:
    """Whether two answers have the same boxes: as many, each with one of its class at IoU ≥ 0.5."""
    same = np.array([[a.class_id == b.class_id for b in second] for a in first], dtype=bool)
    if len(first) != len(second) or not len(first):
        return len(first) == len(second)
    overlap = iou_matrix(boxes_of(first), boxes_of(second))
    return bool((greedy_match(overlap, same, floor=FIT) >= 0).all())

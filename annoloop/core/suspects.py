"""Which labels of a training set are probably wrong, by the boxes of models that never saw them.

A detection that the labels contradict is the model's error or the labels'. The surer the model, the
less often it errs: `_suspicions` says how often, from the labels themselves. After ObjectLab
(Tkachenko, Thyagarajan and Mueller, arXiv 2309.00832), which scores labels by the model's
confidence alone; docs/evaluation.md gives the formulas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import MatchedImage, match_image
from annoloop.records import Box, Detection, Label

PRIOR = 0.02
"""Labels of a kind that are taken to be wrong for one that is right, unless more are seen."""

SUREST, FEWEST = 0.1, 30
"""The part of the right detections, by score, above which all contradictions are the labels', and
how many right ones that has to be: a few say nothing of a model that is sure of its mistakes."""

ENOUGH = 30
"""Right detections that a class needs to be judged by itself; rarer ones are judged together."""

TOUCHES, APART, SAME = 0.1, 0.3, 0.5
"""IoU from which a box may mean an object, up to which it means another, and means it for sure."""

Floats = NDArray[np.float64]


class SuspectKind(StrEnum):
    """What may be wrong: nothing drawn, nothing there, another class, another place."""

    MISSING = "missing"
    SPURIOUS = "spurious"
    SWAPPED = "swapped"
    MISPLACED = "misplaced"


@dataclass(frozen=True, slots=True)
class Suspect:
    """One label that may be wrong, or one object that may lack a label.

    `class_id` and `box` are the label's, for `missing` the model's; `proposed_*` are what the model
    says instead, None for `spurious`. `score` is the model's, for `spurious` 1 − the best score of
    any detection there. `suspicion`, 0 to 1, puts the kinds on one scale: it ranks, and is no
    probability of an error.
    """

    sample_id: str
    kind: SuspectKind
    class_id: int
    box: Box
    proposed_class_id: int | None
    proposed_box: Box | None
    score: float
    suspicion: float


@dataclass(frozen=True, slots=True)
class _Evidence:
    """One detection on or beside labels: `kind` is None where the labels agree with it."""

    sample_id: str
    detection: Detection
    kind: SuspectKind | None
    label: Label | None


def suspects(
    labels: Mapping[str, Sequence[Label]], detections: Mapping[str, Sequence[Detection]]
) -> tuple[Suspect, ...]:
    """Likeliest first. `detections` come from models that were not trained on the image."""
    matched = {
        key: match_image(drawn, detections.get(key, ()), iou=SAME) for key, drawn in labels.items()
    }
    seen = [one for key in sorted(matched) for one in _of_image(key, matched[key])]
    found: list[Suspect] = []
    for group in _groups(seen):
        right = np.array([one.detection.score for one in group if one.kind is None])
        for kind in (SuspectKind.MISSING, SuspectKind.SWAPPED, SuspectKind.MISPLACED):
            mine = [one for one in group if one.kind is kind]
            suspicions = _suspicions(np.array([one.detection.score for one in mine]), right)
            found += [_suspect(one, c) for one, c in zip(mine, suspicions.tolist(), strict=True)]
    found += _spurious(matched, seen)
    return _one_a_label(found)


def by_image(found: Iterable[Suspect]) -> dict[str, float]:
    """Sample id → the sum of the suspicions of its labels, most first."""
    total: dict[str, float] = {}
    for one in found:
        total[one.sample_id] = total.get(one.sample_id, 0.0) + one.suspicion
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _of_image(key: str, image: MatchedImage) -> Iterable[_Evidence]:
    """What each detection says of the labels; several of one object say it once, the best first."""
    by_label = {int(column): row for row, column in enumerate(image.match.tolist()) if column >= 0}
    told: set[tuple[SuspectKind, int]] = set()
    for row, detection in enumerate(image.detections):
        if image.match[row] >= 0:
            yield _Evidence(key, detection, None, image.truth[int(image.match[row])])
            continue
        if image.absorbed[row]:
            continue
        kind, column = _said(image, row, by_label)
        if kind is None or (column >= 0 and (kind, column) in told):
            continue
        told.add((kind, column))
        yield _Evidence(key, detection, kind, image.truth[column] if column >= 0 else None)


def _said(
    image: MatchedImage, row: int, by_label: Mapping[int, int]
) -> tuple[SuspectKind | None, int]:
    """The kind of contradiction of one unmatched detection, and its label (-1: it has none)."""
    overlap, same = image.iou[row], image.same_class[row]
    if not len(overlap) or overlap.max() < TOUCHES:
        return SuspectKind.MISSING, -1
    nearest = int(overlap.argmax())
    if overlap[nearest] >= SAME:
        rival = by_label.get(nearest)
        # The model says both classes: what it is less sure of says nothing.
        beaten = rival is not None and rival < row
        return (None, -1) if same[nearest] or beaten else (SuspectKind.SWAPPED, nearest)
    free = [c for c in np.flatnonzero(same & (overlap >= TOUCHES)).tolist() if c not in by_label]
    if free:
        return SuspectKind.MISPLACED, max(free, key=lambda c: float(overlap[c]))
    if overlap[nearest] < APART and nearest in by_label:
        return SuspectKind.MISSING, -1  # a neighbour of an object that is labelled and found
    return None, -1


def _groups(seen: Sequence[_Evidence]) -> list[list[_Evidence]]:
    """By class of the detection; classes that are rarely right are one group."""
    right: dict[int, int] = {}
    for one in seen:
        right[one.detection.class_id] = right.get(one.detection.class_id, 0) + (one.kind is None)
    groups: dict[int, list[_Evidence]] = {}
    for one in seen:
        kind = one.detection.class_id
        groups.setdefault(kind if right[kind] >= ENOUGH else -1, []).append(one)
    return [groups[key] for key in sorted(groups)]


def _suspicions(wrong: Floats, right: Floats) -> Floats:
    """How much contradictions at scores `wrong` speak against the labels, (n,), from 0 to 1.

    ρ(s) is how many contradictions come on one agreement at score s, falling as s rises (isotonic
    regression). The labels make π of them at any score, the model the rest: what is
    returned is π / ρ(s).
    π is `PRIOR`, or more if the model at its surest is contradicted more often than that for sure.
    """
    if not len(wrong):
        return np.zeros(0)
    from scipy.optimize import isotonic_regression

    scores = np.concatenate([wrong, right])
    is_wrong = np.concatenate([np.ones(len(wrong)), np.zeros(len(right))])
    values, place = np.unique(-scores, return_inverse=True)
    number = np.bincount(place, minlength=len(values)).astype(np.float64)
    share = np.bincount(place, weights=is_wrong, minlength=len(values)) / number
    fitted = np.clip(isotonic_regression(share, weights=number).x[place[: len(wrong)]], 0.0, 1.0)
    odds = np.divide(fitted, 1.0 - fitted, out=np.full_like(fitted, np.inf), where=fitted < 1.0)
    return np.asarray(np.minimum(1.0, np.maximum(PRIOR, _at_its_surest(wrong, right)) / odds))


def _at_its_surest(wrong: Floats, right: Floats) -> float:
    """Contradictions for one agreement among the surest detections, at least (95 %)."""
    from scipy.stats import beta

    count = int(SUREST * len(right))
    if count < FEWEST:
        return 0.0
    contradicted = float((wrong >= np.sort(right)[-count]).sum())
    low = float(beta.ppf(0.05, contradicted + 0.5, count + 0.5))
    return low / (1.0 - low)


def _suspect(one: _Evidence, suspicion: float) -> Suspect:
    said = one.detection
    about = said if one.label is None else one.label
    return Suspect(
        sample_id=one.sample_id,
        kind=one.kind or SuspectKind.MISSING,
        class_id=about.class_id,
        box=about.box,
        proposed_class_id=said.class_id,
        proposed_box=said.box,
        score=said.score,
        suspicion=suspicion,
    )


def _spurious(matched: Mapping[str, MatchedImage], seen: Sequence[_Evidence]) -> Iterable[Suspect]:
    """Labels on which the models see less than on others of their class.

    With F(x) the share of the class's labels whose support (best score of any detection that
    touches them) is at most x, and c(x) the share of detections of such a score that are right, the
    suspicion is min(1, π / F) · (1 − c): rarely so little is seen, and it is little.
    """
    support: dict[int, list[tuple[str, Label, float]]] = {}
    for key, image in matched.items():
        touching = np.where(image.iou >= APART, image.scores[:, None], 0.0).max(axis=0, initial=0.0)
        for label, best in zip(image.truth, touching.tolist(), strict=True):
            support.setdefault(label.class_id, []).append((key, label, best))
    right = _right_from(seen)
    for rows in support.values():
        known = np.sort([best for _, _, best in rows])
        for key, label, best in rows:
            rare = float(np.searchsorted(known, best, side="right")) / len(known)
            suspicion = min(1.0, PRIOR / rare) * (1.0 - float(np.interp(best, *right)))
            kind = SuspectKind.SPURIOUS
            yield Suspect(key, kind, label.class_id, label.box, None, None, 1.0 - best, suspicion)


def _right_from(seen: Sequence[_Evidence]) -> tuple[Floats, Floats]:
    """Scores and the share of detections of that score that agree with the labels, both rising."""
    from scipy.optimize import isotonic_regression

    scores = np.array([0.0, *(one.detection.score for one in seen)])
    agrees = np.array([0.0, *(one.kind is None for one in seen)])
    values, place = np.unique(scores, return_inverse=True)
    number = np.bincount(place).astype(np.float64)
    fitted = isotonic_regression(np.bincount(place, weights=agrees) / number, weights=number)
    return values, np.asarray(fitted.x)


def _one_a_label(found: Iterable[Suspect]) -> tuple[Suspect, ...]:
    """All suspects by suspicion, then score; what is said of one label is told once.

    A label whose object stands beside it, or has another class, lies where no object is, too: then
    what the model proposes is told, with the larger of the suspicions.
    """
    told: dict[tuple[str, int, Box], Suspect] = {}
    for one in found:
        about = (one.sample_id, one.class_id, one.box)
        other = told.get(about, one)
        likelier = max(one, other, key=lambda s: (s.proposed_box is not None, s.suspicion))
        told[about] = replace(likelier, suspicion=max(one.suspicion, other.suspicion))
    key = attrgetter("sample_id", "kind", "box")
    return tuple(sorted(told.values(), key=lambda one: (-one.suspicion, -one.score, key(one))))

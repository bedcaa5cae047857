"""The golden check: is a new pass over the golden images as good as the earlier ones?

The exact permutation test per error type alone decides `fail`, with all of α. A changed feature
(max-T) or a rising cumulative sum gives `warn`. Without three earlier passes nobody knows how many
errors are usual, and only a tolerance is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from annoloop.core import golden_advice as advice
from annoloop.core.agreement import DEFAULT_RULE, Answers, MatchRule
from annoloop.core.agreement_scores import agreement
from annoloop.core.annotators import AnnotatorRate, annotator_rates
from annoloop.core.control import (
    MIN_PASSES,
    MISSING,
    LookPlan,
    PermutationTest,
    critical_sum,
    permutation_test,
)
from annoloop.core.cusum import Cusum, cusum
from annoloop.core.disputes import Dispute, disputes
from annoloop.core.drift import FeatureChange, features, max_t
from annoloop.core.golden_counts import Tally, tally
from annoloop.core.golden_report import ErrorReport, GoldenReport, ImageErrors
from annoloop.core.intervals import Resample

CUSUM_SHARES = {"missed": 0.5, "spurious": 0.25, "class": 0.25}
OPEN_ENDED = 20
"""Looks for which the advisory sum is planned where the number of looks is open."""


@dataclass(frozen=True, slots=True)
class GoldenPasses:
    """Labels by sample id of everybody who labelled golden images.

    `baselines` are the in-control passes, `since` the passes of earlier looks (oldest first), `new`
    the one to judge; a pass holds only the images that it answered. `annotators` says who answered
    which image of `new`, where that is known.
    """

    reference: Answers
    baselines: Sequence[Answers]
    new: Answers
    since: Sequence[Answers] = ()
    annotators: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """How the check is made: the plan of looks and which look this is (from 1); the tolerance in
    errors per reference box; when two boxes match."""

    plan: LookPlan = field(default_factory=LookPlan)
    look: int = 1
    tolerance: float = 0.05
    rule: MatchRule = DEFAULT_RULE


def check(
    passes: GoldenPasses, *, classes: Sequence[str], terms: Terms, rng: np.random.Generator
) -> GoldenReport:
    """Judge `passes.new`. Images of the new pass without a reference take no part.

    Raises InputError when the plan has no such look.
    """
    whole = tally(passes.reference, passes.baselines, passes.new, rule=terms.rule)
    enough = whole.passes() >= MIN_PASSES
    testable = bool(enough.any())
    tested = whole.only(enough) if testable else whole
    resample = Resample.draw(len(tested.images), rng)
    errors = _errors(tested, terms=terms, testable=testable, resample=resample)
    changes: tuple[FeatureChange, ...] = ()
    sums: Mapping[str, Cusum] = {}
    if testable:
        changes, sums = _advisory(tested, passes, classes=classes, terms=terms, rng=rng)
    people = _people(whole, passes.annotators, tolerance=terms.tolerance)
    findings = advice.Findings(
        errors=errors,
        features=_alarming(changes, level=terms.plan.spend(terms.look)),
        cusum={kind: one for kind, one in sums.items() if one.alarm is not None},
        annotators=tuple(one for one in people if one.flagged),
        disputes=_disputes(passes, whole.images, classes=classes, rule=terms.rule),
        agreement=agreement(
            whole.newest, classes=classes, resample=Resample.draw(len(whole.images), rng)
        ),
        images=len(tested.images),
        boxes=int(tested.boxes[-1].sum()),
        capable=int((tested.boxes[-1] > 0).sum()),
        passes=int(tested.passes().min()) if testable else int(whole.passes().max(initial=0)),
        testable=testable,
        tolerance=terms.tolerance,
        usual_loss=whole.usual_loss,
    )
    verdict, reason = advice.judge(findings)
    action, sentence = advice.act(findings, verdict, everyone=len(people))
    return GoldenReport(
        verdict=verdict,
        reason=reason,
        action=action,
        advice=sentence,
        look=terms.look,
        looks=terms.plan.looks,
        images_compared=len(whole.images),
        tested=len(tested.images) if testable else 0,
        boxes=findings.boxes,
        passes=findings.passes,
        errors=errors,
        features=changes,
        agreement=findings.agreement,
        changed=advice.changes(findings),
        images=_worst_images(whole),
        cusum=sums,
        annotators=people,
        disputes=findings.disputes,
        notes=advice.notes(findings, compared=len(whole.images)),
    )


def _disputes(
    passes: GoldenPasses, images: Sequence[str], *, classes: Sequence[str], rule: MatchRule
) -> tuple[Dispute, ...]:
    reference = {sample: passes.reference[sample] for sample in images}
    everybody = [*passes.baselines, *passes.since, passes.new]
    return disputes(reference, everybody, classes=classes, rule=rule)


def _alarming(changes: tuple[FeatureChange, ...], *, level: float) -> tuple[FeatureChange, ...]:
    return tuple(one for one in changes if one.p_adjusted <= level and one.matters)


def _errors(
    tested: Tally, *, terms: Terms, testable: bool, resample: Resample
) -> dict[str, ErrorReport]:
    made = {}
    for kind, counts in tested.errors.items():
        level = terms.plan.level(terms.look, kind)
        found: PermutationTest | None = None
        if testable:
            found = permutation_test(tested.displacement if kind == "location" else counts)
        happened, boxes = counts[-1], tested.boxes[-1]
        earlier = tested.boxes[:-1] != MISSING
        before = int(tested.boxes[:-1][earlier].sum())
        total = int(boxes.sum())
        made[kind] = ErrorReport(
            count=int(happened.sum()),
            rate=int(happened.sum()) / total if total else None,
            interval=resample.rate(happened.astype(np.float64), boxes.astype(np.float64)),
            p_value=found.p_value if found else None,
            alpha=level,
            usual=int(counts[:-1][earlier].sum()) / before if before else None,
            smallest_p=found.smallest_p if found else None,
            changed_images=found.changed if found else 0,
            failed=found is not None and found.p_value <= level,
            alarm_rate=_alarm_rate(counts, level, total) if found and kind != "location" else None,
        )
    return made


def _alarm_rate(counts: NDArray[np.int64], level: float, boxes: int) -> float | None:
    """Errors per box from which the newest pass would have failed."""
    least = critical_sum(counts, level)
    return least / boxes if least is not None and boxes else None


def _advisory(
    tested: Tally,
    passes: GoldenPasses,
    *,
    classes: Sequence[str],
    terms: Terms,
    rng: np.random.Generator,
) -> tuple[tuple[FeatureChange, ...], dict[str, Cusum]]:
    found = features([*passes.baselines, passes.new], tested.images, classes=classes)
    changes = max_t(found, resample=Resample.draw(len(tested.images), rng), rng=rng)
    known = set(tested.images)
    reference = {sample: passes.reference[sample] for sample in known}
    looks = [tally(reference, (), one, rule=terms.rule) for one in passes.since]
    sums = {}
    for kind, share in CUSUM_SHARES.items():
        earlier = tested.boxes[:-1] != MISSING
        errors, boxes = _trials(kind, tested.errors, tested.boxes)
        sequence = [_totals(kind, one) for one in looks if one.images] + [_totals(kind, tested)]
        if boxes[:-1][earlier].sum() == 0 or any(size == 0 for _, size in sequence):
            continue
        sums[kind] = cusum(
            errors[:-1][earlier],
            boxes[:-1][earlier],
            sequence,
            planned=terms.plan.looks or OPEN_ENDED,
            alpha=terms.plan.alpha * share,
            rng=rng,
        )
    return changes, sums


def _trials(
    kind: str, errors: Mapping[str, NDArray[np.int64]], boxes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors and the boxes they could have been; an extra box is a trial of its own."""
    happened, trials = errors[kind].astype(np.float64), boxes.astype(np.float64)
    return happened, trials + happened if kind == "spurious" else trials


def _totals(kind: str, one: Tally) -> tuple[float, float]:
    happened, trials = _trials(kind, one.errors, one.boxes)
    return float(happened[-1].sum()), float(trials[-1].sum())


def _people(
    whole: Tally, annotators: Mapping[str, str], *, tolerance: float
) -> tuple[AnnotatorRate, ...]:
    """Rates of missed, spurious and confused boxes together, per box of either side."""
    known = np.array([sample in annotators for sample in whole.images], dtype=bool)
    if not known.any():
        return ()
    extra = whole.errors["spurious"][-1, known]
    wrong = whole.errors["missed"][-1, known] + whole.errors["class"][-1, known] + extra
    return annotator_rates(
        wrong.astype(np.float64),
        (whole.boxes[-1, known] + extra).astype(np.float64),
        [annotators[sample] for sample in whole.images if sample in annotators],
        tolerance=tolerance,
    )


def _worst_images(whole: Tally) -> tuple[ImageErrors, ...]:
    """Images with more errors than usual, largest excess first."""
    totals = sum(whole.errors.values(), start=np.zeros_like(whole.boxes))
    present = whole.boxes[:-1] != MISSING
    counted = np.maximum(present.sum(axis=0), 1)
    usual = np.where(present, totals[:-1], 0).sum(axis=0) / counted
    excess = totals[-1] - usual
    order = [k for k in np.argsort(-excess, kind="stable").tolist() if excess[k] > 0]
    return tuple(
        ImageErrors(
            image=whole.images[k],
            missed=int(whole.errors["missed"][-1, k]),
            spurious=int(whole.errors["spurious"][-1, k]),
            confused=int(whole.errors["class"][-1, k]),
            misplaced=int(whole.errors["location"][-1, k]),
            usual=float(usual[k]),
        )
        for k in order
    )

"""Whether the loop goes on: what speaks for stopping is asked in a fixed order, with numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from annoloop.core import stopping_words as words
from annoloop.core.ambiguity import Shares
from annoloop.core.outlook import Outlook
from annoloop.core.target import TargetLook
from annoloop.records import GoldenVerdict, StopVerdict

MOSTLY_AMBIGUOUS, MANY_WRONG_LABELS = 0.5, 0.2
"""Lower bounds of shares of the failures from which they stop the loop (methods B2)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the team asks for: a target for a COCO metric (a fraction), and budgets.

    None means that there is no such rule. Budgets are totals over the whole project: labelled
    images, boxes drawn, minutes of annotation, money. `delta` (a fraction) is the gain below which
    a batch is not worth it.
    """

    target: float | None
    metric: str
    budget_images: int | None = None
    budget_boxes: int | None = None
    budget_minutes: float | None = None
    budget_money: float | None = None
    delta: float = 0.005
    currency: str = "€"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the project stands: the metric on gauge (None if not measured), spent, and left.

    `look` is the test of the target, `review` what the failures are, `outlook` the forecast, each
    None where there is none; `flat_before` says that the last iteration's forecast was flat too.
    """

    metric: float | None
    images: int
    boxes: int
    minutes: float
    pool_left: int
    golden: GoldenVerdict
    golden_accepted: bool
    money: float | None = None
    look: TargetLook | None = None
    review: Shares | None = None
    outlook: Outlook | None = None
    flat_before: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, its reason in words, and the numbers behind it."""

    verdict: StopVerdict
    reason: str
    numbers: Mapping[str, Any]


def decide(standing: Standing, rules: Rules) -> Decision:
    """Stop or continue. The first of these that holds decides:

    labels are to be fixed (a failed golden check that nobody accepted, or a review that found many
    wrong labels: until then no number can be trusted), the target is met for certain, what still
    fails is mostly ambiguous, the next batch is not worth it (twice running), a budget is spent,
    the pool is empty; else continue. Without a `look` the metric is compared as a point estimate,
    and the reason says so.
    """
    verdict, reason = _judge(standing, rules)
    numbers: dict[str, Any] = {
        "metric_name": rules.metric,
        "metric": standing.metric,
        "target": rules.target,
        "images": standing.images,
        "budget_images": rules.budget_images,
        "boxes": standing.boxes,
        "budget_boxes": rules.budget_boxes,
        "minutes": standing.minutes,
        "budget_minutes": rules.budget_minutes,
        "money": standing.money,
        "budget_money": rules.budget_money,
        "currency": rules.currency,
        "delta": rules.delta,
        "pool_left": standing.pool_left,
        "golden": standing.golden.value,
        "flat_before": standing.flat_before,
    }
    for name in ("look", "review", "outlook"):
        found = getattr(standing, name)
        numbers[name] = None if found is None else asdict(found)
    return Decision(verdict, reason, numbers)


def _judge(standing: Standing, rules: Rules) -> tuple[StopVerdict, str]:
    metric = words.metric(standing.metric, rules.target, rules.metric)
    for verdict, reason in _reasons_to_stop(standing, rules, metric):
        return verdict, reason
    progress = [text for text, _ in _budgets(standing, rules)]
    if rules.budget_images is None:
        progress.insert(0, f"{standing.images:,} images labelled")
    parts = [metric, ", ".join(progress), f"{standing.pool_left:,} in the pool"]
    ahead = standing.outlook
    if ahead is not None:
        gain = words.gain(ahead, rules.metric, rules.currency)
        if ahead.flat:
            gain += " (not worth it: once more, and the loop stops)"
        parts = [gain, *parts, *words.needed(ahead, rules.currency)]
    if standing.look is not None:
        parts += words.look(standing.look)
    if standing.review is not None:
        parts.append(words.review(standing.review))
    if standing.golden is GoldenVerdict.WARN:
        parts.append("the golden check warns: look at the labels")
    if standing.golden is GoldenVerdict.FAIL:
        parts.append("a failed golden check was accepted")
    return StopVerdict.CONTINUE, f"continue: {'; '.join(parts)}"


def _reasons_to_stop(
    standing: Standing, rules: Rules, metric: str
) -> Iterator[tuple[StopVerdict, str]]:
    """Every reason there is, the strongest first."""
    review, ahead = standing.review, standing.outlook
    if standing.golden is GoldenVerdict.FAIL and not standing.golden_accepted:
        yield (
            StopVerdict.FIX_LABELS,
            "fix the labels first: the golden check failed and nobody has accepted it, so the "
            f"metric cannot be trusted ({metric})",
        )
    if review is not None and review.label.low > MANY_WRONG_LABELS:
        yield (
            StopVerdict.FIX_LABELS,
            "fix the labels first: too much of what counts as failure is a wrong label "
            f"({words.review(review)}); {metric}",
        )
    if _target_met(standing, rules):
        yield (
            StopVerdict.STOP_TARGET,
            f"stop: target reached: {words.reached(standing.look, metric)}",
        )
    if review is not None and review.ambiguous.low > MOSTLY_AMBIGUOUS:
        yield (
            StopVerdict.STOP_AMBIGUITY,
            "stop: what still fails is mostly ambiguous, and more labels do not change that "
            f"({words.review(review)}); {metric}",
        )
    if ahead is not None and ahead.flat and standing.flat_before:
        yield (
            StopVerdict.STOP_PLATEAU,
            f"stop: gains have flattened, twice running: {words.plateau(ahead, rules)}; {metric}",
        )
    spent = [text for text, is_spent in _budgets(standing, rules) if is_spent]
    if spent:
        text = ", ".join(spent)
        yield StopVerdict.STOP_BUDGET, f"stop: the budget is spent: {text}; {metric}"
    if standing.pool_left <= 0:
        text = f"stop: no unlabelled images are left in the pool; {metric}"
        yield StopVerdict.STOP_POOL_EMPTY, text


def _target_met(standing: Standing, rules: Rules) -> bool:
    if standing.look is not None:
        return standing.look.met
    if standing.metric is None or rules.target is None:
        return False
    return standing.metric >= rules.target


def _budgets(standing: Standing, rules: Rules) -> Iterator[tuple[str, bool]]:
    """Each budget in words, and whether it is spent."""
    for spent, budget, what in (
        (standing.images, rules.budget_images, "images labelled"),
        (standing.boxes, rules.budget_boxes, "boxes drawn"),
        (standing.minutes, rules.budget_minutes, "minutes worked"),
        (standing.money, rules.budget_money, f"{rules.currency} spent"),
    ):
        if budget is not None and spent is not None:
            yield f"{spent:,.0f} of {budget:,.0f} {what}", spent >= budget

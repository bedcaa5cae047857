"""Whether the loop goes on: what speaks for stopping is asked in a fixed order, with numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from annoloop.records import GoldenVerdict, StopVerdict


@dataclass(frozen=True, slots=True)
class Rules:
    """What the team asks for: a target for a COCO metric (a fraction), and budgets.

    None means that there is no such rule. Budgets are totals over the whole project: labelled
    images, boxes drawn, minutes of annotation.
    """

    target: float | None
    metric: str
    budget_images: int | None = None
    budget_boxes: int | None = None
    budget_minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the project stands: the metric on gauge (None if not measured), spent, and left."""

    metric: float | None
    images: int
    boxes: int
    minutes: float
    pool_left: int
    golden: GoldenVerdict
    golden_accepted: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, its reason in words, and the numbers behind it."""

    verdict: StopVerdict
    reason: str
    numbers: Mapping[str, float | int | str | None]


def decide(standing: Standing, rules: Rules) -> Decision:
    """Stop or continue. The first of these that holds decides:

    a failed golden check that nobody accepted (labels first: until then no number can be trusted),
    the target is met, a budget is spent, the pool is empty; else continue. The metric is compared
    as a point estimate, and the reason says so.
    """
    verdict, reason = _judge(standing, rules)
    numbers: dict[str, float | int | str | None] = {
        "metric_name": rules.metric,
        "metric": standing.metric,
        "target": rules.target,
        "images": standing.images,
        "budget_images": rules.budget_images,
        "boxes": standing.boxes,
        "budget_boxes": rules.budget_boxes,
        "minutes": standing.minutes,
        "budget_minutes": rules.budget_minutes,
        "pool_left": standing.pool_left,
        "golden": standing.golden.value,
    }
    return Decision(verdict, reason, numbers)


def _judge(standing: Standing, rules: Rules) -> tuple[StopVerdict, str]:
    metric = _metric(standing, rules)
    if standing.golden is GoldenVerdict.FAIL and not standing.golden_accepted:
        return (
            StopVerdict.FIX_LABELS,
            "fix the labels first: the golden check failed and nobody has accepted it, so the "
            f"metric cannot be trusted ({metric})",
        )
    if standing.metric is not None and rules.target is not None and standing.metric >= rules.target:
        return (
            StopVerdict.STOP_TARGET,
            f"stop: target reached: {metric} (a point estimate, not a confidence bound)",
        )
    spent = [text for text, is_spent in _budgets(standing, rules) if is_spent]
    if spent:
        return StopVerdict.STOP_BUDGET, f"stop: the budget is spent: {', '.join(spent)}; {metric}"
    if standing.pool_left <= 0:
        return (
            StopVerdict.STOP_POOL_EMPTY,
            f"stop: no unlabelled images are left in the pool; {metric}",
        )
    progress = [text for text, _ in _budgets(standing, rules)]
    if rules.budget_images is None:
        progress.insert(0, f"{standing.images:,} images labelled")
    parts = [metric, ", ".join(progress), f"{standing.pool_left:,} in the pool"]
    if standing.golden is GoldenVerdict.WARN:
        parts.append("the golden check warns: look at the labels")
    if standing.golden is GoldenVerdict.FAIL:
        parts.append("a failed golden check was accepted")
    return StopVerdict.CONTINUE, f"continue: {'; '.join(parts)}"


def _metric(standing: Standing, rules: Rules) -> str:
    value, target = standing.metric, rules.target
    digits = 3
    # A metric just below its target must not read like the target.
    while value is not None and target is not None and digits < 17:
        if value == target or f"{value:.{digits}f}" != f"{target:.{digits}f}":
            break
        digits += 1
    found = "not measured" if value is None else f"{value:.{digits}f}"
    wanted = "no target set" if target is None else f"target {target:.{digits}f}"
    return f"{rules.metric} {found} on gauge, {wanted}"


def _budgets(standing: Standing, rules: Rules) -> Iterator[tuple[str, bool]]:
    """Each budget in words, and whether it is spent."""
    for spent, budget, what in (
        (standing.images, rules.budget_images, "images labelled"),
        (standing.boxes, rules.budget_boxes, "boxes drawn"),
        (standing.minutes, rules.budget_minutes, "minutes worked"),
    ):
        if budget is not None:
            yield f"{spent:,.0f} of {budget:,.0f} {what}", spent >= budget

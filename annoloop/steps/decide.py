"""`decide`: stop or continue, with the reason and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from annoloop.core import stopping
from annoloop.errors import NotReadyError
from annoloop.records import GoldenVerdict, Split, Status, StopVerdict
from annoloop.results_models import DecideResult
from annoloop.steps.causes import newest_review
from annoloop.steps.context import Context
from annoloop.steps.evaluate import ensure_trained, evaluate
from annoloop.steps.golden import ensure_checked
from annoloop.steps.outlook import outlook, rates, same_curve
from annoloop.steps.target import look_at_target
from annoloop.steps.train import training_set
from annoloop.store import db, iterations, samples
from annoloop.store.iterations import Iteration


def decide(context: Context) -> DecideResult:
    """The verdict of the newest iteration; evaluates first (and says so) if need be."""
    iteration = ensure_checked(context)
    images, _ = training_set(context)
    if any(not label.ignored for image in images for label in image.labels):
        return _judge(context, _ensure_evaluated(context))
    reason = (
        f"continue: none of the {len(images)} annotated images shows an object, so there is "
        "nothing to train on yet; the next batch is by coverage"
    )
    return _write(context, iteration, StopVerdict.CONTINUE, reason=reason, numbers={})


def _judge(context: Context, iteration: Iteration) -> DecideResult:
    settings = context.settings
    rules = stopping.Rules(
        target=settings.stop.target,
        metric=settings.stop.metric,
        budget_images=settings.stop.budget_images,
        budget_boxes=settings.stop.budget_boxes,
        budget_minutes=settings.stop.budget_minutes,
        budget_money=settings.stop.budget_money,
        delta=settings.stop.delta,
        currency=settings.cost.currency,
    )
    standing, notes = _standing(context, iteration)
    made = stopping.decide(standing, rules)
    reason = "; ".join((made.reason, *notes))
    return _write(context, iteration, made.verdict, reason=reason, numbers=made.numbers)


def _write(
    context: Context,
    iteration: Iteration,
    verdict: StopVerdict,
    *,
    reason: str,
    numbers: Mapping[str, Any],
) -> DecideResult:
    record = {"verdict": str(verdict), "reason": reason, "numbers": dict(numbers)}
    with context.store.write() as connection:
        at = context.now()
        iterations.add_step(
            connection, iteration.number, "decide", at=at, who=context.who, record=record
        )
        db.record(
            connection,
            at=at,
            who=context.who,
            what="decide",
            target=iteration.name,
            details=record,
        )
    return DecideResult(iteration.name, str(verdict), reason, dict(numbers))


def _standing(context: Context, iteration: Iteration) -> tuple[stopping.Standing, tuple[str, ...]]:
    """Where the project stands, and what has to be said beside it."""
    images, _ = training_set(context)
    with context.store.read() as connection:
        counts = samples.counts(connection)
        history = iterations.load_iterations(connection)
        review = newest_review(connection, iteration)
        models = len(iterations.step_history(connection, "train"))
    boxes = sum(len(image.labels) for image in images)
    spent = rates(context).of(len(images), boxes, trainings=models)
    gauge: Mapping[str, Any] = iteration.steps["evaluate"].record["gauge"]
    golden = iteration.steps["golden"].record
    left = sum(counts.get((Split.POOL, s), 0) for s in (Status.UNLABELED, Status.PENDING))
    ahead, notes = outlook(context, history)
    standing = stopping.Standing(
        metric=gauge["summary"][context.settings.stop.metric],
        images=len(images),
        boxes=boxes,
        minutes=spent.minutes,
        money=spent.money,
        pool_left=left,
        golden=GoldenVerdict(golden["verdict"]),
        golden_accepted=bool(golden.get("accepted")),
        look=look_at_target(context, iteration),
        review=None if review is None else review[0],
        outlook=ahead,
        flat_before=_flat_before(history),
    )
    return standing, notes if review is None else (*notes, review[1])


def _flat_before(history: Sequence[Iteration]) -> bool:
    """Whether the iteration before the newest, of the same curve, forecast no gain either."""
    curve, _ = same_curve(history)
    if len(curve) < 2 or "decide" not in curve[-2].steps:
        return False
    ahead = curve[-2].steps["decide"].record["numbers"].get("outlook") or {}
    return bool(ahead.get("flat"))


def _ensure_evaluated(context: Context) -> Iteration:
    iteration = ensure_trained(context)
    model = iteration.steps["train"].record["model"]
    done = iteration.steps.get("evaluate")
    if done is None or done.record["model"] != model:
        context.say(f"model {model} has not been evaluated: evaluating it (annoloop evaluate)")
        evaluate(context)
        iteration = ensure_trained(context)
    return iteration


def ensure_decided(context: Context) -> Iteration:
    """The newest iteration with a verdict; decides first (and says so) if it has none."""
    with context.store.read() as connection:
        newest = iterations.newest_iteration(connection)
    if newest is None:
        raise NotReadyError("there is no iteration yet", fix="Run `annoloop select` first.")
    if newest.next_step is not None:
        context.say(f"{newest.name} has no verdict yet: deciding (annoloop decide)")
        decide(context)
        with context.store.read() as connection:
            newest = iterations.newest_iteration(connection) or newest
    return newest

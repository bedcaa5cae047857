"""`evaluate` and `failures`: metrics on gauge and on all of val, typed failures from mine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from annoloop.core import evaluation
from annoloop.core import failures as core_failures
from annoloop.errors import NotReadyError
from annoloop.records import (
    Detection,
    Failure,
    Half,
    ImageResult,
    Label,
    Metrics,
    Sample,
    Split,
    Status,
)
from annoloop.results_models import EvaluateResult
from annoloop.steps.context import Context, require_batch_closed
from annoloop.steps.manifest import check_manifest
from annoloop.steps.train import newest_model, predictions, train
from annoloop.store import db, iterations, samples
from annoloop.store.iterations import Iteration

FEW_IMAGES, FEW_BOXES = 10, 30
"""Below these a metric on gauge says little, and we say so."""

Truth = dict[str, tuple[Label, ...]]
Found = dict[str, tuple[Detection, ...]]


@dataclass(frozen=True, slots=True)
class Ground:
    """One split with reference labels: its samples, and how many still have none."""

    samples: tuple[Sample, ...]
    truth: Truth
    missing: int


def ensure_trained(context: Context) -> Iteration:
    """The newest iteration with a model of its own; trains (and says so) if it has none."""
    with context.store.read() as connection:
        newest = iterations.newest_iteration(connection)
    newest = require_batch_closed(newest)
    if "train" not in newest.steps:
        context.say("this iteration has no model yet: training one (annoloop train)")
        train(context)
        with context.store.read() as connection:
            newest = iterations.newest_iteration(connection)
    if newest is None:
        raise NotReadyError("there is no iteration yet", fix="Run `annoloop select` first.")
    return newest


def evaluate(context: Context) -> EvaluateResult:
    """Predict on val, measure on gauge and on all of it, mine and type the failures of mine."""
    check_manifest(context)
    iteration = ensure_trained(context)
    model = str(iteration.steps["train"].record["model"])
    ground = _ground(context, Split.VAL)
    found = predictions(context, model, ground.samples)
    halves = _halves(ground)
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
    min_score = _min_score(context, halves[Half.MINE], found)
    gauge = evaluation.evaluate(halves[Half.GAUGE], _of(found, halves[Half.GAUGE]), classes=classes)
    val = evaluation.evaluate(ground.truth, found, classes=classes)
    mined = _mine(halves[Half.MINE], _of(found, halves[Half.MINE]), classes, min_score)
    results = evaluation.per_image(
        ground.truth, found, min_score=min_score, iou=context.settings.evaluate.iou
    )
    trained: Mapping[str, int] = iteration.steps["train"].record["boxes_by_class"]
    in_val = {classes[one.class_id] for labels in ground.truth.values() for one in labels}
    result = EvaluateResult(
        model=model,
        split="val",
        min_score=min_score,
        gauge=_metrics(gauge),
        val=_metrics(val),
        test=None,
        test_opened=_times_opened(context),
        failures=dict(Counter(str(f.type) for f in mined)),
        unseen_classes=tuple(c for c in classes if c in in_val and not trained.get(c)),
        without_reference=ground.missing,
        notes=_notes(ground, gauge),
    )
    for note in result.notes:
        context.say(f"note: {note}")
    _write(context, iteration, result, mined=mined, results=results)
    return result


def _ground(context: Context, side: Split) -> Ground:
    with context.store.read() as connection:
        everyone = [
            s for s in samples.load(connection, split=side) if s.status is not Status.SKIPPED
        ]
        known = samples.newest_references(connection, split=side)
    labeled = tuple(s for s in everyone if s.id in known)
    if not labeled:
        raise NotReadyError(
            f"no {side} image has reference labels, so nothing can be measured",
            fix=f"Send them out: `annoloop batch make --kind {side}`, then export, import "
            "and close that batch.",
        )
    truth = {s.id: known[s.id].labels for s in labeled}
    return Ground(labeled, truth, len(everyone) - len(labeled))


def _halves(ground: Ground) -> dict[Half, Truth]:
    found: dict[Half, Truth] = {Half.MINE: {}, Half.GAUGE: {}}
    for sample in ground.samples:
        if sample.half is not None:
            found[sample.half][sample.id] = ground.truth[sample.id]
    empty = [half for half, truth in found.items() if not truth]
    if empty:
        raise NotReadyError(
            f"no image of val's half {empty[0]} has reference labels",
            fix="Label the rest of val: `annoloop batch make --kind val`.",
        )
    return found


def _of(found: Found, truth: Truth) -> Found:
    return {key: found[key] for key in truth}


def _min_score(context: Context, mine: Truth, found: Found) -> float:
    wanted = context.settings.evaluate.min_score
    if wanted != "auto":
        return wanted
    return evaluation.operating_point(mine, _of(found, mine), iou=context.settings.evaluate.iou)


def _mine(
    truth: Truth, found: Found, classes: Sequence[str], min_score: float
) -> tuple[Failure, ...]:
    # At the operating point: over all detections a low-scored one would hide what is missed.
    counted = {
        key: tuple(one for one in detections if one.score >= min_score)
        for key, detections in found.items()
    }
    prices = core_failures.tide_prices(truth, counted, classes=classes)
    return core_failures.find_failures(truth, found, min_score=min_score, prices=prices)


def _metrics(metrics: Metrics) -> dict[str, Any]:
    return asdict(metrics)


def _notes(ground: Ground, gauge: Metrics) -> tuple[str, ...]:
    notes = []
    if ground.missing:
        notes.append(
            f"{ground.missing} val images have no reference labels and were left out: "
            "`annoloop batch make --kind val` sends them to be labelled"
        )
    if gauge.images < FEW_IMAGES or gauge.boxes < FEW_BOXES:
        notes.append(
            f"gauge has {gauge.images} labelled images with {gauge.boxes} boxes: its metric is "
            "close to chance"
        )
    return tuple(notes)


def _times_opened(context: Context) -> int:
    with context.store.read() as connection:
        return iterations.looks_at(connection, iterations.TEST_LOOK)


def _write(
    context: Context,
    iteration: Iteration,
    result: EvaluateResult,
    *,
    mined: Sequence[Failure],
    results: Sequence[ImageResult],
) -> None:
    record = {
        "model": result.model,
        "min_score": result.min_score,
        "gauge": result.gauge,
        "val": result.val,
        "failures": dict(result.failures),
        "unseen_classes": list(result.unseen_classes),
    }
    with context.store.write() as connection:
        at = context.now()
        seq = iterations.add_step(
            connection, iteration.number, "evaluate", at=at, who=context.who, record=record
        )
        iterations.add_failures(connection, seq, mined)
        iterations.add_results(connection, seq, results)
        db.record(
            connection,
            at=at,
            who=context.who,
            what="evaluate",
            target=result.model,
            details={"failures": len(mined), "images": len(results)},
        )


def evaluate_test(context: Context) -> EvaluateResult:
    """Open the test split: measured once at the end, and every opening is counted."""
    check_manifest(context)
    model = newest_model(context)
    ground = _ground(context, Split.TEST)
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
        newest = iterations.newest_iteration(connection)
    found = predictions(context, model, ground.samples)
    metrics = evaluation.evaluate(ground.truth, found, classes=classes)
    with context.store.write() as connection:
        at = context.now()
        opened = db.look(
            connection,
            what=iterations.TEST_LOOK,
            iteration=None if newest is None else newest.number,
            who=context.who,
            at=at,
            details={"model": model, "summary": dict(metrics.summary)},
        )
        db.record(
            connection,
            at=at,
            who=context.who,
            what="open test",
            target=model,
            details={"times": opened},
        )
    times = "once" if opened == 1 else f"{opened} times"
    return EvaluateResult(
        model=model,
        split="test",
        min_score=0.0,
        gauge=None,
        val=None,
        test=_metrics(metrics),
        test_opened=opened,
        failures={},
        unseen_classes=(),
        without_reference=ground.missing,
        notes=(f"the test split has now been opened {times}",),
    )

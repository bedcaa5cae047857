"""`evaluate` and `failures`: metrics on gauge and on all of val, typed failures from mine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from annoloop.core import evaluation
from annoloop.core import failures as core_failures
from annoloop.core.box_columns import columns
from annoloop.core.details import details
from annoloop.errors import NotReadyError
from annoloop.records import Failure, Half, ImageResult, Metrics, Split
from annoloop.results_metrics import ImageCounts
from annoloop.results_models import EvaluateResult
from annoloop.steps.context import Context, require_batch_closed
from annoloop.steps.explain import slices_of
from annoloop.steps.gauge_noise import how_sure
from annoloop.steps.ground import Found, Ground, Truth, ground, halves, of
from annoloop.steps.manifest import check_manifest
from annoloop.steps.train import newest_model, predictions, train
from annoloop.store import db, iterations, samples
from annoloop.store.iterations import Iteration

FEW_IMAGES, FEW_BOXES = 10, 30
"""Below these a metric on gauge says little, and we say so."""


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


def evaluate(context: Context, *, by: str | None = None) -> EvaluateResult:
    """Predict on val, measure on gauge and on all of it, mine and type the failures of mine.

    `by` slices val (`slices_of`): parts of gauge alone would be small.
    """
    check_manifest(context)
    iteration = ensure_trained(context)
    model = str(iteration.steps["train"].record["model"])
    known = ground(context, Split.VAL)
    slices = None if by is None else slices_of(known.samples, by)
    found = predictions(context, model, known.samples)
    truth = halves(known)
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
    min_score = _min_score(context, truth[Half.MINE], found)
    on_gauge = columns(truth[Half.GAUGE], of(found, truth[Half.GAUGE]), classes=classes)
    gauge = details(on_gauge, min_score=min_score)
    on_val = columns(known.truth, found, classes=classes)
    val = evaluation.measure(on_val)
    parts = details(on_val, min_score=min_score, slices=slices).slices if slices else {}
    mined = _mine(truth[Half.MINE], of(found, truth[Half.MINE]), classes, min_score)
    noise, gain = how_sure(context, iteration, model)
    results = evaluation.per_image(
        known.truth, found, min_score=min_score, iou=context.settings.evaluate.iou
    )
    paths = {s.id: s.path for s in known.samples}
    trained: Mapping[str, int] = iteration.steps["train"].record["boxes_by_class"]
    in_val = {classes[one.class_id] for labels in known.truth.values() for one in labels}
    result = EvaluateResult(
        model=model,
        split="val",
        min_score=min_score,
        gauge=asdict(gauge.metrics),
        noise=noise,
        gain=gain,
        val=asdict(val),
        details=asdict(gauge.explained),
        slices=parts,
        per_image=tuple(
            ImageCounts(paths[one.sample_id], one.tp, one.fp, one.fn) for one in results
        ),
        test=None,
        test_opened=_times_opened(context),
        failures=dict(Counter(str(f.type) for f in mined)),
        unseen_classes=tuple(c for c in classes if c in in_val and not trained.get(c)),
        without_reference=known.missing,
        notes=_notes(known, gauge.metrics),
    )
    for note in result.notes:
        context.say(f"note: {note}")
    _write(context, iteration, result, mined=mined, results=results)
    return result


def _min_score(context: Context, mine: Truth, found: Found) -> float:
    wanted = context.settings.evaluate.min_score
    if wanted != "auto":
        return wanted
    return evaluation.operating_point(mine, of(found, mine), iou=context.settings.evaluate.iou)


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


def _notes(known: Ground, gauge: Metrics) -> tuple[str, ...]:
    notes = []
    if known.missing:
        notes.append(
            f"{known.missing} val images have no reference labels and were left out: "
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
        "noise": result.noise,
        "gain": result.gain,
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
    known = ground(context, Split.TEST)
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
        newest = iterations.newest_iteration(connection)
    found = predictions(context, model, known.samples)
    metrics = evaluation.evaluate(known.truth, found, classes=classes)
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
        noise=None,
        gain=None,
        val=None,
        test=asdict(metrics),
        details=None,
        slices={},
        per_image=(),
        test_opened=opened,
        failures={},
        unseen_classes=(),
        without_reference=known.missing,
        notes=(f"the test split has now been opened {times}",),
    )

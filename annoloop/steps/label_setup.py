"""What a label page starts from: classes with rules, labels to correct, boxes of the model."""

from __future__ import annotations

from collections.abc import Mapping

from annoloop.errors import BatchError, NotReadyError
from annoloop.records import BatchKind, Label
from annoloop.results_label import ClassView, LabelSetup
from annoloop.results_models import PredictResult
from annoloop.settings import RuleSettings
from annoloop.steps.context import Context
from annoloop.steps.export import current_labels, require_classes
from annoloop.steps.label import people
from annoloop.steps.reconcile import against_rules
from annoloop.steps.train import predictions
from annoloop.store import batches, iterations, leases, samples
from annoloop.store.iterations import StepRecord


def setup(context: Context, name: str, *, suggests: bool) -> LabelSetup:
    """How a batch is labelled. Raises InputError without classes, SettingsError for odd rules."""
    with context.store.read() as connection:
        batch = batches.get(connection, name)
        total = len(leases.task_ids(connection, name))
        schema = samples.schema(connection)
    require_classes(schema)
    rules = context.settings.labels.rules
    against_rules(rules, (), {}, schema=schema)
    known = {one: rules.get(one, RuleSettings()) for one in schema.classes}
    return LabelSetup(
        batch=name,
        kind=str(batch.kind),
        open=batch.open,
        total=total,
        people=people(batch),
        classes=tuple(ClassView(one, rule.min_side, rule.most) for one, rule in known.items()),
        suggests=suggests,
        lease_seconds=60 * context.settings.labels.lease_minutes,
    )


def current(context: Context, name: str, key: str) -> tuple[Label, ...] | None:
    """The labels that a relabel batch is to correct; None for other batches."""
    with context.store.read() as connection:
        kind = batches.get(connection, name).kind
    if kind is not BatchKind.RELABEL:
        return None
    return current_labels(context, [key]).get(key)


def suggesting_model(context: Context, name: str) -> str | None:
    """The model whose boxes a batch may start from; None if it may not, or there is none.

    Only batches of the loop: people who label val, golden or test from a model's boxes would
    measure that model by itself, and reviewers who see them anchor on them.
    """
    with context.store.read() as connection:
        kind = batches.get(connection, name).kind
        newest = _evaluated(iterations.step_history(connection, "evaluate"))
    return None if kind is not BatchKind.SELECT or newest is None else str(newest.record["model"])


def suggestions(context: Context, name: str) -> Mapping[str, tuple[Label, ...]] | None:
    """Boxes at the operating point by sample id, None unless all images were predicted.

    All or none: if only picks had boxes, those without would be known as golden.
    """
    with context.store.read() as connection:
        newest = _evaluated(iterations.step_history(connection, "evaluate"))
        ids = leases.task_ids(connection, name)
    if newest is None:
        return None
    found = context.vectors.load_predictions(str(newest.record["model"]), set(ids)) or {}
    if len(found) < len(ids):
        return None
    least = float(newest.record["min_score"])
    return {
        key: tuple(Label(d.class_id, d.box) for d in detections if d.score >= least)
        for key, detections in found.items()
    }


def predict_batch(context: Context, name: str) -> PredictResult:
    """Predict every image of a batch, hidden ones too, so that its labelling starts from boxes."""
    with context.store.read() as connection:
        kind = batches.get_open(connection, name).kind
        newest = _evaluated(iterations.step_history(connection, "evaluate"))
        found = samples.load(connection, ids=leases.task_ids(connection, name))
    if kind is not BatchKind.SELECT:
        raise BatchError(
            f"{name} measures people or the model: labelled from the model's boxes it could not",
            fix="Only batches of the loop (v0, v1, …) are prelabelled.",
        )
    if newest is None:
        raise NotReadyError(
            "there is no evaluated model to predict with", fix="Run `annoloop evaluate` first."
        )
    started = context.stopwatch()
    model = str(newest.record["model"])
    known = predictions(context, model, found)
    return PredictResult(
        model=model,
        images=len(known),
        detections=sum(map(len, known.values())),
        seconds=round(context.stopwatch() - started, 3),
    )


def _evaluated(done: list[StepRecord]) -> StepRecord | None:
    return done[-1] if done else None

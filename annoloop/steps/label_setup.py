"""What a label page starts from: classes with rules, labels to correct, boxes of the model."""

from __future__ import annotations

from collections.abc import Mapping

from annoloop.records import BatchKind, Label
from annoloop.results_label import ClassView, LabelSetup
from annoloop.results_models import PredictResult
from annoloop.settings import RuleSettings
from annoloop.steps.context import Context
from annoloop.steps.export import current_labels, require_classes
from annoloop.steps.label import people
from annoloop.steps.prelabels import give, given
from annoloop.steps.reconcile import against_rules
from annoloop.store import batches, leases, samples


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


def suggestions(context: Context, name: str) -> Mapping[str, tuple[Label, ...]] | None:
    """The boxes that the batch was given, by sample id; None if it was given none."""
    known = given(context, name)
    return None if known is None else known.shown()


def predict_batch(context: Context, name: str) -> PredictResult:
    """Predict every image of a batch, hidden ones too, so that its labelling starts from boxes."""
    with context.store.read() as connection:
        batches.get_open(connection, name)
    started = context.stopwatch()
    made = give(context, name)
    return PredictResult(
        model=made.model,
        images=len(made.rows),
        detections=sum(len(one.labels) for one in made.rows.values()),
        seconds=round(context.stopwatch() - started, 3),
        without_prelabels=made.blank,
        notes=made.notes,
    )

"""What is measured on: the samples of a split with reference labels, and val's two halves."""

from __future__ import annotations

from dataclasses import dataclass

from annoloop.core.weighted_ap import ApTable, prepare
from annoloop.errors import NotReadyError
from annoloop.records import Detection, Half, Label, Sample, Split, Status
from annoloop.steps.context import Context
from annoloop.steps.train import predictions
from annoloop.store import samples

Truth = dict[str, tuple[Label, ...]]
Found = dict[str, tuple[Detection, ...]]


@dataclass(frozen=True, slots=True)
class Ground:
    """One split with reference labels: its samples, and how many still have none."""

    samples: tuple[Sample, ...]
    truth: Truth
    missing: int


def ground(context: Context, side: Split) -> Ground:
    """The newest reference labels of a split. Raises NotReadyError where there are none."""
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


def halves(known: Ground) -> dict[Half, Truth]:
    """The truth of mine and of gauge. Raises NotReadyError if a half has none."""
    found: dict[Half, Truth] = {Half.MINE: {}, Half.GAUGE: {}}
    for sample in known.samples:
        if sample.half is not None:
            found[sample.half][sample.id] = known.truth[sample.id]
    empty = [half for half, truth in found.items() if not truth]
    if empty:
        raise NotReadyError(
            f"no image of val's half {empty[0]} has reference labels",
            fix="Label the rest of val: `annoloop batch make --kind val`.",
        )
    return found


def of(found: Found, truth: Truth) -> Found:
    """The detections of the images of `truth`."""
    return {key: found[key] for key in truth}


@dataclass(frozen=True, slots=True, eq=False)
class Gauge:
    """Models measured on the same images of gauge, against the same newest reference labels.

    `tables` by model name; `groups` (a name or None for each image of the tables, in their order)
    is what `Resample.draw` wants.
    """

    tables: dict[str, ApTable]
    groups: tuple[str | None, ...]


def gauge(context: Context, *models: str) -> Gauge:
    """Tables for weighted AP of any models on gauge, from their stored predictions.

    What is not stored any more is predicted again, if the model's folder is there. Labels are
    today's: an earlier model is measured as if it were evaluated now, so that models compare.
    """
    known = ground(context, Split.VAL)
    truth = halves(known)[Half.GAUGE]
    inside = tuple(sorted((s for s in known.samples if s.id in truth), key=lambda s: s.id))
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
    tables = {
        model: prepare(truth, predictions(context, model, inside), classes=classes)
        for model in models
    }
    return Gauge(tables, tuple(s.group for s in inside))

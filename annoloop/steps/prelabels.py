"""Boxes of a model that a batch starts from: given once, the same in every way out, recorded.

A share of the batch stays blank (`annotate.without_prelabels`), so that what the boxes do to the
labels can be measured. Hidden golden images are drawn like all others: neither the boxes on an
image nor their absence tells that it is golden.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from annoloop.core.prelabels import draw_blank
from annoloop.errors import BatchError, NotReadyError
from annoloop.records import Batch, BatchKind, Label, Sample
from annoloop.steps.context import Context
from annoloop.steps.train import predictions
from annoloop.store import batches, db, iterations, leases, samples
from annoloop.store import prelabels as store
from annoloop.store.prelabels import Prelabel


@dataclass(frozen=True, slots=True)
class Given:
    """What a batch was given, by sample id. `notes` say what whoever asked again should know."""

    rows: Mapping[str, Prelabel]
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return next(iter(self.rows.values())).model

    @property
    def blank(self) -> int:
        return sum(one.blank for one in self.rows.values())

    def shown(self) -> dict[str, tuple[Label, ...]]:
        """Boxes that people start from; images that stay blank are not in it."""
        return {key: one.labels for key, one in self.rows.items() if not one.blank}


def refuse(batch: Batch) -> None:
    """Raise BatchError for a batch that a model's boxes would spoil."""
    if batch.kind is BatchKind.RELABEL:
        raise BatchError(
            f"{batch.name} corrects labels: people start from those, not from a model's boxes",
            fix="Leave out `--prelabels`: the current labels are in it anyway.",
        )
    if batch.kind is not BatchKind.SELECT:
        raise BatchError(
            f"{batch.name} is a {batch.kind} batch, which measures people or the model: people who "
            "see the model's boxes anchor on them",
            fix="Leave out `--prelabels`; only batches of the loop (v0, v1, …) are prelabelled.",
        )


def given(context: Context, name: str) -> Given | None:
    """What the batch was given, None if nothing yet."""
    with context.store.read() as connection:
        rows = store.load(connection, name)
    return Given({one.sample_id: one for _, one in rows}) if rows else None


def give(context: Context, name: str, *, skipped: Collection[str] = ()) -> Given:
    """Predict the images of a batch with the newest evaluated model, and record who sees what.

    A batch keeps what it was first given. `skipped` images (called unusable) get nothing.
    """
    with context.store.read() as connection:
        batch = batches.get(connection, name)
        refuse(batch)
        done = iterations.step_history(connection, "evaluate")
        ids = [key for key in leases.task_ids(connection, name) if key not in skipped]
        found = samples.load(connection, ids=ids)
    before = given(context, name)
    if before is not None:
        return before
    if not done:
        raise NotReadyError(
            "there is no evaluated model to prelabel with",
            fix="Export without `--prelabels`, or run `annoloop evaluate` first.",
        )
    newest = done[-1].record
    if not found:
        raise BatchError(
            f"every image of {name} was called unusable", fix="Close it: there is nothing to draw."
        )
    labels = _said(context, found, model=str(newest["model"]), least=float(newest["min_score"]))
    return _record(context, name, labels, model=str(newest["model"]))


def _said(
    context: Context, found: list[Sample], *, model: str, least: float
) -> dict[str, tuple[Label, ...]]:
    """The model's boxes at its operating point, by sample id."""
    known = predictions(context, model, found)
    return {
        key: tuple(Label(d.class_id, d.box) for d in detections if d.score >= least)
        for key, detections in known.items()
    }


def _record(
    context: Context, name: str, labels: Mapping[str, tuple[Label, ...]], *, model: str
) -> Given:
    """Draw who stays blank and write it down, unless another process was faster."""
    share = context.settings.annotate.without_prelabels
    with context.store.write() as connection:
        batch = batches.get_open(connection, name)
        rows = [one for _, one in store.load(connection, name)]
        if not rows:
            at = context.now()
            rng = np.random.default_rng([batch.seed, int(name.removeprefix("v")), 4])
            blank = draw_blank(sorted(labels), share=share, rng=rng)
            rows = [Prelabel(key, model, key in blank, labels[key], at) for key in sorted(labels)]
            store.add(connection, name, rows)
            told = {
                "model": model,
                "given": len(rows) - len(blank),
                "blank": len(blank),
                "share_blank": share,
                "at": at,
            }
            batches.add_report(connection, batch, {"prelabels": told})
            db.record(
                connection, at=at, who=context.who, what="prelabel", target=name, details=told
            )
    return Given({one.sample_id: one for one in rows})

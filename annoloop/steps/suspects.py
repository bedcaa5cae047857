"""`suspects`: labels of the training set that are probably wrong, and a batch to correct them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from annoloop.core import suspects as core
from annoloop.core.suspects import Suspect, SuspectKind
from annoloop.errors import InputError, NotReadyError
from annoloop.records import Batch, BatchKind, LabeledImage, Pick, Split
from annoloop.results_batches import BatchMakeResult
from annoloop.results_suspects import SuspectImage, SuspectsResult, SuspectView
from annoloop.steps.context import Context
from annoloop.steps.folds import STEP
from annoloop.steps.train import training_set
from annoloop.store import batches, db, iterations

LEAST = 0.05
"""Suspects less likely than that are left out of the list."""

WORST = 50
"""Images that are told one by one."""

BATCH = 30
"""Images of a batch of suspects, unless asked otherwise."""

SOURCE = "suspects"


@dataclass(frozen=True, slots=True)
class Found:
    """The suspects of the images that nobody has corrected since the folds were predicted."""

    model: str
    images: dict[str, LabeledImage]
    classes: tuple[str, ...]
    suspects: tuple[Suspect, ...]
    notes: tuple[str, ...]

    def text(self, one: Suspect) -> str:
        name = f"`{self.classes[one.class_id]}`"
        said = "" if one.proposed_class_id is None else f"`{self.classes[one.proposed_class_id]}`"
        x, y = (round(value) for value in one.box[:2])
        what = {
            SuspectKind.MISSING: f"{name} without a label",
            SuspectKind.SPURIOUS: f"{name} where no model sees anything",
            SuspectKind.SWAPPED: f"{name} that looks like {said}",
            SuspectKind.MISPLACED: f"{name} badly placed",
        }[one.kind]
        return f"{what} at {x}, {y}"


def suspects(context: Context) -> SuspectsResult:
    """The ranking of what is stored; trains and predicts nothing."""
    found = _find(context)
    ranked = core.by_image(found.suspects)
    per_image = Counter(one.sample_id for one in found.suspects)
    return SuspectsResult(
        model=found.model,
        images=len(found.images),
        labels=sum(not one.ignored for image in found.images.values() for one in image.labels),
        by_kind=dict(Counter(str(one.kind) for one in found.suspects)),
        worst=tuple(
            SuspectImage(found.images[key].path, key, per_image[key], round(expected, 3))
            for key, expected in list(ranked.items())[:WORST]
        ),
        suspects=tuple(_view(found, one) for one in found.suspects),
        notes=found.notes,
    )


def relabel(context: Context, *, size: int | None = None) -> BatchMakeResult:
    """A relabel batch of the images whose labels are most suspicious."""
    if size is not None and size < 1:
        raise InputError(f"a batch of {size} images is no batch", fix="Ask for at least 1.")
    found = _find(context)
    with context.store.write() as connection:
        before = _offered(connection)
        ranked = [
            (key, expected)
            for key, expected in core.by_image(found.suspects).items()
            if key not in before
        ][: size or BATCH]
        if not ranked:
            raise NotReadyError(
                f"no label of {len(found.images)} images is a suspect that nobody was asked about",
                fix="Label more first, then look again: `annoloop train --folds 5`.",
            )
        number = batches.next_number(connection, BatchKind.RELABEL)
        name, at = batches.batch_name(BatchKind.RELABEL, number), context.now()
        report = {"model": found.model, "by_source": {SOURCE: len(ranked)}}
        batch = Batch(name, BatchKind.RELABEL, True, at, None, len(ranked), 0, report)
        picks = [
            (_pick(found, key, expected, rank=rank), False)
            for rank, (key, expected) in enumerate(ranked, start=1)
        ]
        batches.add(connection, batch, number, picks)
        db.record(
            connection,
            at=at,
            who=context.who,
            what="suspects relabel",
            target=name,
            details={"size": len(picks), "model": found.model},
        )
    return BatchMakeResult(name, str(BatchKind.RELABEL), len(picks), found.notes)


def _find(context: Context) -> Found:
    with context.store.read() as connection:
        done = iterations.step_history(connection, STEP)
        if not done:
            raise NotReadyError(
                "no model has predicted images that it has not seen yet",
                fix="Run `annoloop train --folds 5`: it trains five models.",
            )
        newest = done[-1]
        corrected = _corrected(connection, since=newest.at)
    model = str(newest.record["model"])
    images, classes = training_set(context)
    known = context.vectors.load_predictions(model)
    if known is None:
        raise NotReadyError(
            f"predictions of {model} are not stored any more",
            fix=f"Make them again: `annoloop train --folds {newest.record['folds']}`.",
        )
    chosen = {
        one.sample_id: one
        for one in images
        if one.sample_id in known and one.sample_id not in corrected
    }
    found = core.suspects(
        {key: one.labels for key, one in chosen.items()}, {key: known[key] for key in chosen}
    )
    likely = tuple(one for one in found if one.suspicion >= LEAST)
    notes = tuple(_notes(images, known, corrected))
    return Found(model, chosen, classes, likely, notes)


def _notes(
    images: Sequence[LabeledImage], known: Collection[str], corrected: Collection[str]
) -> list[str]:
    ids = {one.sample_id for one in images}
    new, again = len(ids.difference(known)), len(ids.intersection(corrected))
    said = []
    if again:
        said.append(f"{again} images were corrected since, and are left out")
    if new:
        said.append(
            f"{new} images are newer than the folds: `annoloop train --folds` takes them in"
        )
    return said


def _corrected(connection: Connection, *, since: str) -> set[str]:
    """Images of the pool that a relabel batch has brought an answer for since then."""
    kinds = {batch.name: batch.kind for batch in batches.load_all(connection)}
    return {
        one.sample_id
        for one in batches.load_annotations(connection, split=Split.POOL)
        if kinds[one.batch] is BatchKind.RELABEL and one.at > since
    }


def _offered(connection: Connection) -> set[str]:
    """Images that wait in a relabel batch, or were offered as suspects before.

    What people have looked at for that reason and left as it is would lead the list for ever.
    """
    return {
        pick.sample_id
        for batch in batches.load_all(connection, BatchKind.RELABEL)
        for pick, _ in batches.load_picks(connection, batch.name)
        if batch.open or pick.source == SOURCE
    }


def _view(found: Found, one: Suspect) -> SuspectView:
    proposed = one.proposed_class_id
    return SuspectView(
        path=found.images[one.sample_id].path,
        sample_id=one.sample_id,
        kind=str(one.kind),
        class_name=found.classes[one.class_id],
        box=one.box,
        proposed_class_name=None if proposed is None else found.classes[proposed],
        proposed_box=one.proposed_box,
        score=round(one.score, 4),
        suspicion=round(one.suspicion, 4),
        text=found.text(one),
    )


def _pick(found: Found, key: str, expected: float, *, rank: int) -> Pick:
    mine = [one for one in found.suspects if one.sample_id == key]
    more = f" and {len(mine) - 3} more" if len(mine) > 3 else ""
    reason = "; ".join(found.text(one) for one in mine[:3]) + more
    details = {
        "suspects": [
            {"kind": str(one.kind), "box": list(one.box), "suspicion": round(one.suspicion, 4)}
            for one in mine
        ]
    }
    return Pick(key, SOURCE, rank, round(expected, 4), reason, details)

"""A loop that another tool has run so far enters a new project, whole, in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection

from annoloop.core import adoption, splits
from annoloop.core.adoption import AdoptedBatch, Adoption
from annoloop.errors import InputError
from annoloop.records import Batch, BatchKind, Half, Pick, Sample, Split, Status
from annoloop.steps.adopt_boxes import Boxes
from annoloop.steps.blind import OPEN
from annoloop.steps.dataset import Dataset, only, parts
from annoloop.steps.drawn import Drawings
from annoloop.steps.leaks import split_result
from annoloop.steps.manifest import digest_of, write_manifest
from annoloop.steps.twins import Twins, find_twins, positions
from annoloop.store import batches, db, iterations, samples


@dataclass(frozen=True, slots=True)
class Move:
    """What is about to be written: samples with split, half and status, and the batches."""

    found: Dataset
    plan: Adoption
    placed: tuple[Sample, ...]
    twins: Twins
    at: str

    def name(self, batch: AdoptedBatch) -> str:
        return batches.batch_name(batch.kind, batch.number)

    def answered_in(self, sample: Sample) -> tuple[str, Status] | None:
        """The batch that a sample was answered in, and its status."""
        place = self.plan.answered.get(str(sample.external_id))
        return None if place is None else (self.name(self.plan.batches[place]), sample.status)


@dataclass(frozen=True, slots=True)
class Taken:
    """What was written, for those who report it."""

    classes: tuple[str, ...]
    labeled: int
    boxes: Boxes
    notes: tuple[str, ...]


def take_over(found: Dataset, new: Sequence[Sample], classes: Sequence[str]) -> Taken:
    """Splits, statuses, batches, answers, reference labels and scores of a data set.

    Halves of val are drawn here. All state stands in one transaction, with the split manifest;
    scores are derived and lie there before it. Raises InputError for an answer of another class,
    LockedSplitError for a locked sample in a batch.
    """
    context = found.context
    plan = adoption.adopt(only(found, new))
    _refuse_silent(found, plan)
    placed, twins = _placed(found, new, plan)
    move = Move(found, plan, placed, twins, context.now())
    scored = _scores(move)
    locked = [(s.id, s.split, s.half) for s in placed if s.split and s.split is not Split.POOL]
    digest = digest_of(locked)
    with context.store.write() as connection:
        schema = samples.add_classes(connection, [*classes, *found.loop.classes])
        order = {name: schema.index()[name] for name in found.loop.classes}
        drawings = Drawings(order, skip_bad=context.settings.images.skip_bad)
        boxes = Boxes(drawings, answered_in=move.answered_in, source=found.reference, at=move.at)
        for part in parts(placed):
            samples.add_samples(connection, part, move.at)
        samples.add_near_duplicates(connection, twins.pairs, binding=True)
        samples.add_near_duplicates(connection, twins.apart, binding=False)
        _add_batches(connection, move)
        labeled = _add_boxes(connection, move, boxes)
        _close_batches(connection, move, boxes)
        _record(connection, move, labeled)
        # Inside the transaction: a kill before the commit leaves a manifest that the next try
        # overwrites; the other order could leave locked splits without their proof.
        write_manifest(context, placed, digest)
    leaks = len(split_result(placed, twins, digest).leaks)
    notes = (*plan.notes, *scored, *boxes.notes(), *_history_notes(move), *_leaks(leaks))
    return Taken(schema.classes, labeled, boxes, notes)


def _refuse_silent(found: Dataset, plan: Adoption) -> None:
    done = sum(plan.statuses[key][0] is Status.ANNOTATED for key in plan.answered)
    if done and found.loop.human is None:
        raise InputError(
            f"{done} samples of dataset {found.loop.name!r} are annotated, but there is no field "
            "of people's boxes",
            fix="Name it in info['annotation_schema']['field_name'] (default human_labels), or set "
            "their annotation_status to unlabeled.",
        )


# --- before anything is written -------------------------------------------------------------------


def _placed(
    found: Dataset, new: Sequence[Sample], plan: Adoption
) -> tuple[tuple[Sample, ...], Twins]:
    """Samples with their split, half and status; near-duplicates stay in one half of val."""
    settings = found.context.settings.split
    placed = []
    for sample in sorted(new, key=lambda s: s.id):
        one = found.said[sample.path]
        status, why = plan.statuses[one.external_id]
        placed.append(replace(sample, split=one.split or Split.POOL, status=status, why=why))
    root = found.context.images_root
    files = [replace(s, uri=str(root / s.uri)) for s in placed]  # as the store loads them
    twins = find_twins(found.context, files) if settings.near_duplicates else Twins()
    val = [s for s in placed if s.split is Split.VAL]
    place = {s.id: i for i, s in enumerate(val)}
    inside = [(a, b) for a, b in twins.pairs if a in place and b in place]
    units = splits.units([s.group for s in val], positions(inside, place))
    halves = splits.halve(
        [s.id for s in val], units=units.units, rng=np.random.default_rng(settings.seed)
    )
    half: dict[str, Half] = {s.id: h for s, h in zip(val, halves, strict=True)}
    return tuple(replace(s, half=half.get(s.id)) for s in placed), twins


def _scores(move: Move) -> tuple[str, ...]:
    """Keep the stored coverage scores of the open pool, until the next `score`."""
    context, said = move.found.context, move.found.said
    pool = [s for s in move.placed if s.split is Split.POOL and s.status in OPEN]
    scores = [said[s.path].score for s in pool]
    known = [one for one in scores if one is not None]
    if not known or len(known) < len(scores):
        some = f"{len(known)} of {len(scores)} open samples have a stored score: "
        return (f"{some}`annoloop score` computes all of them",) if pool else ()
    closed = [move.name(batch) for batch in move.plan.batches if not batch.open]
    about = {"at": move.at, "embedder": context.embedder().name, "occupied": 0, "closed": closed}
    context.vectors.write_scores([s.id for s in pool], np.array(known, dtype=np.float64), about)
    return ()


# --- in the transaction ---------------------------------------------------------------------------


def _add_batches(connection: Connection, move: Move) -> None:
    """Batches and their picks; ranks are the data set's order, since it keeps no other."""
    by_key = {str(s.external_id): s.id for s in move.placed}
    for one in move.plan.batches:
        picks = [
            (Pick(by_key[m.external_id], m.source, rank, 0.0, m.reason), False)
            for rank, m in enumerate(one.members, start=1)
        ]
        note = f"adopted from dataset {move.found.loop.name}; ranks are the order there"
        batch = Batch(
            name=move.name(one),
            kind=one.kind,
            open=True,
            created_at=move.at,
            closed_at=None,
            asked=len(picks),
            seed=0,
            report={"by_source": _by_source(one), "notes": [note]},
        )
        batches.add(connection, batch, one.number, picks)


def _by_source(batch: AdoptedBatch) -> dict[str, int]:
    return dict(sorted(Counter(m.source for m in batch.members).items()))


def _add_boxes(connection: Connection, move: Move, boxes: Boxes) -> int:
    """Answers and reference labels, read and written in parts; how many images have a reference."""
    context, labeled, done = move.found.context, 0, 0
    for part in parts(move.placed):
        found = list(move.found.boxes(part))
        answers = [boxes.answer(sample, drawn) for sample, drawn in found]
        references = [boxes.reference(sample, drawn) for sample, drawn in found]
        labeled += samples.add_references(
            connection, [one for one in references if one], who=context.who, at=move.at
        )
        batches.add_annotations(connection, [one for one in answers if one])
        done += len(part)
        context.progress(done, len(move.placed), "reading boxes")
    return labeled


def _close_batches(connection: Connection, move: Move, boxes: Boxes) -> None:
    """Close what is closed there, and open the iteration of each batch of the loop."""
    context = move.found.context
    statuses = {str(s.external_id): s.status for s in move.placed}
    history = {one.get("iteration"): one for one in move.found.loop.golden_history}
    for one in move.plan.batches:
        name, said = move.name(one), boxes.answers.get(move.name(one), Counter())
        if not one.open:
            batches.close(connection, name, move.at)
        if one.kind is not BatchKind.SELECT:
            continue
        iterations.open_iteration(
            connection,
            number=one.number,
            batch=name,
            at=move.at,
            settings=context.settings.model_dump(),
        )
        now = Counter(statuses[m.external_id] for m in one.members)
        golden = dict(history.get(one.number, {}))
        golden.pop("iteration", None)
        records: dict[str, Mapping[str, Any]] = {
            "select": {
                "batch": name,
                "size": len(one.members),
                "by_source": _by_source(one),
                "adopted": move.found.loop.name,
            },
            "annotate": {
                "batch": name,
                "annotated": now[Status.ANNOTATED],
                "empty": said["empty"],
                "pending": now[Status.PENDING],
                "skipped": now[Status.SKIPPED],
                "boxes": said["boxes"],
                "golden_statistics": golden,
            },
        }
        for step in ("select",) if one.open else ("select", "annotate"):
            iterations.add_step(
                connection, one.number, step, at=move.at, who=context.who, record=records[step]
            )


def _record(connection: Connection, move: Move, labeled: int) -> None:
    """The audit lines: what came in, what was adopted, and the history as it was written there."""
    found, context = move.found, move.found.context
    counts = Counter(f"{s.split}" for s in move.placed)
    lines: dict[str, tuple[str, Mapping[str, Any]]] = {
        "ingest": (
            str(context.images_root),
            {"images": len(move.placed), "labeled": labeled, "dataset": found.loop.name},
        ),
        "split": (found.loop.name, {**counts, "adopted": found.loop.name}),
        "adopt": (
            found.loop.name,
            {
                "statuses": dict(Counter(str(s.status) for s in move.placed)),
                "batches": {
                    move.name(one): {**asdict(one), "members": len(one.members)}
                    for one in move.plan.batches
                },
                "golden_qa_history": list(found.loop.golden_history),
                "evaluations": dict(found.loop.evaluations),
                "failures": dict(Counter(k for o in found.loop.samples for k in o.failures)),
            },
        ),
    }
    stored = context.vectors.load_scores()
    if stored is not None and stored[2]["at"] == move.at:
        name = str(stored[2]["embedder"])
        lines["score"] = (name, {"candidates": len(stored[0]), "adopted": found.loop.name})
    for what, (target, details) in lines.items():
        db.record(
            connection, at=move.at, who=context.who, what=what, target=target, details=details
        )


# --- what is to be said ---------------------------------------------------------------------------


def _history_notes(move: Move) -> Iterator[str]:
    entries = len(move.found.loop.golden_history)
    if entries:
        yield (
            f"{entries} entries of golden_qa_history are kept with the iterations: counts, not "
            "checks, since nobody labelled golden samples blind"
        )
    if move.found.loop.evaluations:
        names = ", ".join(sorted(move.found.loop.evaluations))
        yield (
            f"{names}: kept in the audit log; a model that was not trained here has no place on "
            "the curve"
        )


def _leaks(number: int) -> Iterator[str]:
    if number:
        yield (
            f"{number} pairs that look alike, or are one group, lie on two sides of the dataset's "
            "splits: `annoloop split` lists them, and skips unlabeled pool images that look alike"
        )

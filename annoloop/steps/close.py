"""`annotate close`: the answers of a batch become statuses, or reference labels of a split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from annoloop.records import (
    Annotation,
    Answer,
    Batch,
    BatchKind,
    Reference,
    Sample,
    Split,
    Status,
)
from annoloop.results_batches import CloseResult
from annoloop.steps.annotate import outcome, require_answers
from annoloop.steps.causes import close_review
from annoloop.steps.context import Context
from annoloop.steps.golden import batch_statistics
from annoloop.steps.passes import is_baseline
from annoloop.store import batches, db, iterations, samples

ANSWERED = (Answer.COMPLETE, Answer.EMPTY)
MOVABLE = (Status.SELECTED, Status.ANNOTATED, Status.PENDING)
"""In a batch that was begun in another tool some samples are further than `selected` already."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A batch about to be closed: its tasks (blind ones apart) and the newest answer of each."""

    batch: Batch
    tasks: Mapping[str, Sample]
    blind: frozenset[str]
    answers: Mapping[str, Annotation]


def close(context: Context, name: str) -> CloseResult:
    """Close a batch; idempotent steps after it read what this transaction wrote."""
    with context.store.write() as connection:
        closing = _read(connection, name)
        require_answers(closing.answers, name)
        found = outcome(closing.tasks, closing.answers)
        kind = closing.batch.kind
        notes: tuple[str, ...] = ()
        review: Mapping[str, Any] | None = None
        if kind is BatchKind.SELECT:
            for status, why in found.items():
                moving = {k: why[k] for k in why if _moves(closing.tasks[k].status, status)}
                samples.set_status(connection, moving, status=status, came_from=MOVABLE, why=moving)
        elif kind is BatchKind.RELABEL:
            _relabel(context, connection, closing)
        elif kind is BatchKind.REVIEW:
            review, notes = close_review(context, connection, closing.batch)
        elif not is_baseline(closing.batch):
            notes = _label_split(context, connection, closing, skipped=found[Status.SKIPPED])
        batches.close(connection, name, context.now())
        golden = batch_statistics(connection)
        result = replace(_result(closing, found, golden, notes), review=review)
        if kind is BatchKind.SELECT:
            record = {
                "batch": name,
                "annotated": result.annotated,
                "empty": result.empty,
                "pending": result.pending,
                "skipped": result.skipped,
                "boxes": result.boxes,
                "golden_statistics": golden,
            }
            number = int(name.removeprefix("v"))
            iterations.add_step(
                connection, number, "annotate", at=context.now(), who=context.who, record=record
            )
        db.record(
            connection,
            at=context.now(),
            who=context.who,
            what="annotate close",
            target=name,
            details={str(status): len(ids) for status, ids in found.items()},
        )
    return result


def _moves(now: Status, then: Status) -> bool:
    return now is not then and now in MOVABLE


def _read(connection: Connection, name: str) -> Closing:
    batch = batches.get_open(connection, name)
    picks = batches.load_picks(connection, name)
    blind = frozenset(pick.sample_id for pick, hidden in picks if hidden)
    ids = [pick.sample_id for pick, hidden in picks if not hidden]
    return Closing(
        batch=batch,
        tasks={s.id: s for s in samples.load(connection, ids=ids)},
        blind=blind,
        answers=batches.newest(batches.load_annotations(connection, batch=name)),
    )


def _label_split(
    context: Context, connection: Connection, closing: Closing, *, skipped: Mapping[str, str]
) -> tuple[str, ...]:
    """Answers to a val, golden or test batch become reference labels of those samples."""
    new = [
        Reference(key, one.labels, closing.batch.name)
        for key, one in sorted(closing.answers.items())
        if one.answer in ANSWERED
    ]
    samples.add_references(connection, new, who=context.who, at=context.now())
    samples.set_status(
        connection,
        skipped,
        status=Status.SKIPPED,
        came_from=(Status.UNLABELED,),
        why=skipped,
    )
    left = len(closing.tasks) - len(new) - len(skipped)
    if not left:
        return ()
    kind = closing.batch.kind
    return (f"{left} {kind} images still wait for an answer: `batch make --kind {kind}` again",)


def _relabel(context: Context, connection: Connection, closing: Closing) -> None:
    """A correction: newer annotations for the pool, a newer reference version for the others."""
    for key, one in sorted(closing.answers.items()):
        sample = closing.tasks[key]
        if sample.split is not Split.POOL:
            if one.answer in ANSWERED:
                new = Reference(key, one.labels, closing.batch.name)
                samples.add_references(connection, [new], who=context.who, at=context.now())
        elif one.answer is Answer.UNUSABLE:
            samples.set_status(
                connection,
                [key],
                status=Status.SKIPPED,
                came_from=(sample.status,),
                why={key: one.why or "called unusable when it was relabelled"},
            )


def _result(
    closing: Closing,
    found: Mapping[Status, Mapping[str, str]],
    golden: Mapping[str, object],
    notes: tuple[str, ...],
) -> CloseResult:
    mine = [one for key, one in closing.answers.items() if key in closing.tasks]
    unanswered = len(closing.blind - set(closing.answers))
    if unanswered:
        notes = (*notes, f"{unanswered} hidden checks came back without an answer")
    return CloseResult(
        batch=closing.batch.name,
        annotated=len(found[Status.ANNOTATED]),
        empty=sum(one.answer is Answer.EMPTY for one in mine),
        pending=len(found[Status.PENDING]),
        skipped=len(found[Status.SKIPPED]),
        boxes=sum(len(one.labels) for one in mine if one.answer in ANSWERED),
        golden=golden,
        notes=notes,
    )

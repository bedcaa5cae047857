"""`--adopt-labels`: a pool that is partly labelled already enters as annotated batch v0."""

from __future__ import annotations

from sqlalchemy import Connection

from annoloop.records import Annotation, Answer, Batch, BatchKind, Pick, Split, Status
from annoloop.steps.context import Context
from annoloop.steps.ingest import ADOPT
from annoloop.store import batches, db, iterations, samples


def adopt_labels(context: Context, connection: Connection) -> tuple[str, ...]:
    """Make batch v0 of the pool samples whose labels were to be adopted; says how many."""
    references = samples.newest_references(connection, split=Split.POOL)
    given = sorted(key for key, one in references.items() if one.source == ADOPT)
    if not given:
        return ()
    at, name = context.now(), batches.batch_name(BatchKind.SELECT, 0)
    batch = Batch(name, BatchKind.SELECT, True, at, None, asked=len(given), seed=0, report={})
    reason = "labelled before annoloop came; adopted as it is"
    picks = [
        (Pick(key, "adopted", rank, 0.0, reason), False) for rank, key in enumerate(given, start=1)
    ]
    batches.add(connection, batch, 0, picks)
    answers = [
        Annotation(
            key,
            name,
            annotator=context.who,
            answer=Answer.COMPLETE if references[key].labels else Answer.EMPTY,
            labels=references[key].labels,
            origin=ADOPT,
            at=at,
        )
        for key in given
    ]
    batches.add_annotations(connection, answers)
    samples.set_status(connection, given, status=Status.ANNOTATED, came_from=(Status.UNLABELED,))
    batches.close(connection, name, at)
    iterations.open_iteration(
        connection, number=0, batch=name, at=at, settings=context.settings.model_dump()
    )
    record = {"batch": name, "by_source": {"adopted": len(given)}}
    for step in ("select", "annotate"):
        iterations.add_step(connection, 0, step, at=at, who=context.who, record=record)
    db.record(
        connection,
        at=at,
        who=context.who,
        what="adopt",
        target=name,
        details={"images": len(given)},
    )
    return (f"{len(given)} pool images came with labels: they are batch v0, annotated",)

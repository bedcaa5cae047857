"""Batches, their picks, and the answers to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError

from annoloop.errors import BatchClosedError, BatchError, BusyError
from annoloop.records import Annotation, Answer, Batch, BatchKind, Pick, Split
from annoloop.store.samples import among, pack, unpack
from annoloop.store.tables import answers, batches, picks, samples


def batch_name(kind: BatchKind, number: int) -> str:
    """`v3` for the batches of the loop, `val-1`, `golden-2`, … for the others."""
    return f"v{number}" if kind is BatchKind.SELECT else f"{kind}-{number}"


def next_number(connection: Connection, kind: BatchKind) -> int:
    query = select(func.max(batches.c.number)).where(batches.c.kind == kind)
    newest = connection.execute(query).scalar()
    first = 0 if kind is BatchKind.SELECT else 1
    return first if newest is None else int(newest) + 1


def add(
    connection: Connection, batch: Batch, number: int, chosen: Sequence[tuple[Pick, bool]]
) -> None:
    """Take a batch: its row and its picks (pick, blind) in task order."""
    try:
        connection.execute(
            insert(batches).values(
                name=batch.name,
                kind=batch.kind,
                number=number,
                asked=batch.asked,
                seed=batch.seed,
                created_at=batch.created_at,
                report=dict(batch.report),
            )
        )
    except IntegrityError as error:
        raise BusyError(
            f"another process has just made batch {batch.name}",
            fix="Look at it with `annoloop batch list`, then decide whether to go on.",
        ) from error
    rows = [
        {
            "batch": batch.name,
            "sample_id": pick.sample_id,
            "position": position,
            "blind": blind,
            "source": pick.source,
            "rank": pick.rank,
            "score": pick.score,
            "reason": pick.reason,
            "details": dict(pick.details),
        }
        for position, (pick, blind) in enumerate(chosen)
    ]
    connection.execute(insert(picks), rows)


def load_all(connection: Connection, kind: BatchKind | None = None) -> list[Batch]:
    # Order of making, which a clock that goes back cannot change.
    query = select(batches).order_by(literal_column("batches.rowid"))
    if kind is not None:
        query = query.where(batches.c.kind == kind)
    return [_batch(row) for row in connection.execute(query)]


def get(connection: Connection, name: str) -> Batch:
    """One batch by name. Raises BatchError listing those there are."""
    row = connection.execute(select(batches).where(batches.c.name == name)).first()
    if row is not None:
        return _batch(row)
    known = ", ".join(connection.execute(select(batches.c.name)).scalars()) or "none yet"
    raise BatchError(
        f"there is no batch {name!r}",
        fix=f"Batches here: {known}. `annoloop select` or `batch make` makes one.",
    )


def get_open(connection: Connection, name: str) -> Batch:
    """One batch that still takes answers. Raises BatchClosedError pointing to `relabel`."""
    batch = get(connection, name)
    if not batch.open:
        raise BatchClosedError(
            f"batch {name} was closed at {batch.closed_at}; its answers are final",
            fix="To correct them, make a relabel batch: `annoloop batch make --kind relabel`.",
        )
    return batch


def _batch(row: Row[Any]) -> Batch:
    return Batch(
        name=row.name,
        kind=BatchKind(row.kind),
        open=row.closed_at is None,
        created_at=row.created_at,
        closed_at=row.closed_at,
        asked=row.asked,
        seed=row.seed,
        report=row.report,
    )


def add_report(connection: Connection, batch: Batch, more: Mapping[str, Any]) -> None:
    """Add to the record of a batch that is open; a closed one's never changes."""
    report = {**batch.report, **more}
    connection.execute(update(batches).where(batches.c.name == batch.name).values(report=report))


def close(connection: Connection, name: str, at: str) -> None:
    connection.execute(update(batches).where(batches.c.name == name).values(closed_at=at))


def load_picks(connection: Connection, batch: str) -> list[tuple[Pick, bool]]:
    """(pick, blind) in task order."""
    query = select(picks).where(picks.c.batch == batch).order_by(picks.c.position)
    return [(_pick(row), bool(row.blind)) for row in connection.execute(query)]


def _pick(row: Row[Any]) -> Pick:
    return Pick(row.sample_id, row.source, row.rank, row.score, row.reason, row.details)


def places_of(connection: Connection, sample_id: str) -> list[tuple[Batch, Pick, bool]]:
    """(batch, pick, blind) of every batch that holds a sample, oldest first."""
    query = (
        select(batches, picks)
        .join(picks, picks.c.batch == batches.c.name)
        .where(picks.c.sample_id == sample_id)
        .order_by(literal_column("batches.rowid"))
    )
    return [(_batch(row), _pick(row), bool(row.blind)) for row in connection.execute(query)]


def pick_counts(connection: Connection) -> dict[str, dict[str, int]]:
    """batch → source → number of picks."""
    query = (
        select(picks.c.batch, picks.c.source, func.count())
        .group_by(picks.c.batch, picks.c.source)
        .order_by(picks.c.batch, picks.c.source)
    )
    found: dict[str, dict[str, int]] = {}
    for batch, source, number in connection.execute(query):
        found.setdefault(batch, {})[source] = int(number)
    return found


def add_annotations(connection: Connection, new: Iterable[Annotation]) -> int:
    """Append answers; one that equals its annotator's newest for that batch adds nothing."""
    given = list(new)
    if not given:
        return 0
    names = {one.batch for one in given}
    known: dict[tuple[str, str, str], Annotation] = {}
    ids = {one.sample_id for one in given}
    for name in sorted(names):
        for one in load_annotations(connection, batch=name, ids=ids):
            known[one.batch, one.sample_id, one.annotator] = one
    rows = []
    for one in given:
        before = known.get((one.batch, one.sample_id, one.annotator))
        if before is not None and _content(before) == _content(one):
            continue
        rows.append(
            {
                "sample_id": one.sample_id,
                "batch": one.batch,
                "annotator": one.annotator,
                "answer": one.answer,
                "labels": pack(one.labels),
                "why": one.why,
                "seconds": one.seconds,
                "origin": one.origin,
                "at": one.at,
            }
        )
    if rows:
        connection.execute(insert(answers), rows)
    return len(rows)


def _content(one: Annotation) -> tuple[object, ...]:
    return one.answer, one.labels, one.why


def load_annotations(
    connection: Connection,
    *,
    batch: str | None = None,
    ids: Collection[str] | None = None,
    split: Split | None = None,
) -> list[Annotation]:
    """Answers, oldest first."""
    query = select(answers).order_by(answers.c.seq)
    if batch is not None:
        query = query.where(answers.c.batch == batch)
    if ids is not None:
        query = query.where(among(answers.c.sample_id, ids))
    if split is not None:
        inside = select(samples.c.id).where(samples.c.split == split)
        query = query.where(answers.c.sample_id.in_(inside))
    return [
        Annotation(
            sample_id=row.sample_id,
            batch=row.batch,
            annotator=row.annotator,
            answer=Answer(row.answer),
            labels=unpack(row.labels),
            why=row.why,
            seconds=row.seconds,
            origin=row.origin,
            at=row.at,
            seq=row.seq,
        )
        for row in connection.execute(query)
    ]


def newest(given: Iterable[Annotation]) -> dict[str, Annotation]:
    """The newest answer by sample id (answers come oldest first)."""
    return {one.sample_id: one for one in given}


def answered_counts(connection: Connection) -> Mapping[str, int]:
    """batch → number of its images that have an answer."""
    query = select(answers.c.batch, func.count(func.distinct(answers.c.sample_id))).group_by(
        answers.c.batch
    )
    return {batch: int(number) for batch, number in connection.execute(query)}


def annotators(connection: Connection, batch: str) -> tuple[str, ...]:
    """Who answered anything of the batch, by name."""
    query = select(answers.c.annotator).where(answers.c.batch == batch).distinct()
    return tuple(sorted(connection.scalars(query)))

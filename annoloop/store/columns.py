"""Columns of all samples at once, for those who look at all of them: no record is made of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, FromClause, func, literal_column, select, true

from annoloop.records import Answer, BatchKind, Half, Split, Status
from annoloop.store.tables import (
    answers,
    batches,
    failures,
    image_results,
    picks,
    references,
    samples,
)

MOST_CLASSES = 1 << 20
"""More than any schema has."""


def all_samples(connection: Connection) -> Sequence[Any]:
    """(id, path, content hash, split, status) of every sample, sorted by id."""
    wanted = (samples.c[name] for name in ("id", "path", "sha256", "split", "status"))
    return connection.execute(select(*wanted).order_by(samples.c.id)).all()


def living(connection: Connection) -> Sequence[Any]:
    """(content hash, path) of every sample that is not skipped, sorted by hash."""
    query = select(samples.c.sha256, samples.c.path).where(samples.c.status != Status.SKIPPED)
    return connection.execute(query.order_by(samples.c.sha256)).all()


def living_hashes(connection: Connection) -> Sequence[str]:
    """The content hash of every sample that is not skipped, in no order."""
    query = select(samples.c.sha256).where(samples.c.status != Status.SKIPPED)
    return connection.scalars(query).all()


def picked(connection: Connection) -> dict[str, tuple[str, str]]:
    """sample id → (batch, source) of its newest pick in a batch of the loop.

    Blind golden images are no picks, and batches of other kinds have none that may be told: they
    would say who was hidden where.
    """
    query = (
        select(picks.c.sample_id, picks.c.batch, picks.c.source)
        .join(batches, batches.c.name == picks.c.batch)
        .where(batches.c.kind == BatchKind.SELECT, picks.c.blind.is_(False))
        .order_by(literal_column("batches.rowid"))
    )
    return {key: (batch, source) for key, batch, source in connection.execute(query).all()}


def batch_names(connection: Connection) -> list[str]:
    """The batches of the loop, in the order of making."""
    query = select(batches.c.name).where(batches.c.kind == BatchKind.SELECT)
    return list(connection.execute(query.order_by(literal_column("batches.rowid"))).scalars())


def classes_of_pool(connection: Connection) -> dict[str, int | None]:
    """sample id → the class that its newest answer has most of, None where it is empty.

    Only answers that count: `complete` and `empty`.
    """
    newest = (
        select(answers.c.sample_id, func.max(answers.c.seq).label("seq"))
        .join(samples, samples.c.id == answers.c.sample_id)
        .where(samples.c.split == Split.POOL)
        .group_by(answers.c.sample_id)
        .subquery()
    )
    counts = [Answer.COMPLETE, Answer.EMPTY]
    joined = answers.join(newest, newest.c.seq == answers.c.seq)
    return _most(connection, answers, joined, answers.c.answer.in_(counts))


def classes_of_val(connection: Connection) -> dict[str, int | None]:
    """sample id → the class that its newest reference has most of, None where it is empty.

    Those of golden and test stay unsaid: one checks what people answer, the other is not opened.
    """
    newest = (
        select(references.c.sample_id, func.max(references.c.seq).label("seq"))
        .join(samples, samples.c.id == references.c.sample_id)
        .where(samples.c.split == Split.VAL)
        .group_by(references.c.sample_id)
        .subquery()
    )
    joined = references.join(newest, newest.c.seq == references.c.seq)
    return _most(connection, references, joined, true())


def _most(
    connection: Connection, table: FromClause, joined: FromClause, where: Any
) -> dict[str, int | None]:
    """Which class most labels of a row are of, the first in the schema among equals."""
    each = func.json_each(table.c.labels).table_valued("value")
    kind = func.json_extract(each.c.value, "$[0]").label("kind")
    counted = (
        select(table.c.sample_id, kind, func.count().label("number"))
        .select_from(joined.outerjoin(each, true()))
        .where(where)
        .group_by(table.c.sample_id, kind)
        .subquery()
    )
    # SQLite takes the other columns from the row of the maximum; the class makes it the only one.
    first = func.max(counted.c.number * MOST_CLASSES - func.coalesce(counted.c.kind, 0))
    query = select(counted.c.sample_id, counted.c.kind, first).group_by(counted.c.sample_id)
    return {key: class_id for key, class_id, _ in connection.execute(query).all()}


def evaluated(connection: Connection, evaluation: int) -> dict[str, str | None]:
    """sample id of its images in mine → the type of the dearest failure, None without one."""
    query = (
        select(image_results.c.sample_id)
        .join(samples, samples.c.id == image_results.c.sample_id)
        .where(image_results.c.evaluation == evaluation, samples.c.half == Half.MINE)
    )
    found: dict[str, str | None] = dict.fromkeys(connection.scalars(query).all())
    dearest = (  # SQLite takes the other columns from the row of the maximum
        select(failures.c.sample_id, failures.c.type, func.max(failures.c.price))
        .where(failures.c.evaluation == evaluation)
        .group_by(failures.c.sample_id)
    )
    return found | {key: kind for key, kind, _ in connection.execute(dearest)}

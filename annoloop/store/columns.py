"""Columns of all samples at once, for those who look at all of them: no record is made of a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    Text,
    func,
    literal_column,
    select,
    type_coerce,
)

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


def classes_of_pool(connection: Connection) -> dict[str, tuple[int, ...]]:
    """sample id → the class ids of its newest answer, if that one counts (`complete`, `empty`)."""
    counts = {Answer.COMPLETE, Answer.EMPTY}
    rows = _newest(connection, answers, Split.POOL, answers.c.answer)
    return {key: _classes(labels) for key, labels, said, _ in rows if said in counts}


def classes_of_val(connection: Connection) -> dict[str, tuple[int, ...]]:
    """sample id → the class ids of its newest reference.

    Those of golden and test stay unsaid: one checks what people answer, the other is not opened.
    """
    rows = _newest(connection, references, Split.VAL)
    return {key: _classes(labels) for key, labels, _ in rows}


def _newest(
    connection: Connection, table: Table, split: Split, *more: ColumnElement[Any]
) -> Sequence[Any]:
    """(sample id, labels as text, …, seq) of the newest row of each sample of a split."""
    text = type_coerce(table.c.labels, Text)  # decoded one at a time: all at once are a lot
    query = (  # SQLite takes the other columns from the row of the maximum
        select(table.c.sample_id, text, *more, func.max(table.c.seq))
        .join(samples, samples.c.id == table.c.sample_id)
        .where(samples.c.split == split)
        .group_by(table.c.sample_id)
    )
    return connection.execute(query).all()


def _classes(labels: str) -> tuple[int, ...]:
    return tuple(int(label[0]) for label in json.loads(labels))


def evaluated(connection: Connection, evaluation: int) -> dict[str, str | None]:
    """sample id of its images in mine → the type of the dearest failure, None without one."""
    query = (
        select(image_results.c.sample_id)
        .join(samples, samples.c.id == image_results.c.sample_id)
        .where(image_results.c.evaluation == evaluation, samples.c.half == Half.MINE)
    )
    found: dict[str, str | None] = dict.fromkeys(connection.scalars(query).all())
    dearest = (  # as above
        select(failures.c.sample_id, failures.c.type, func.max(failures.c.price))
        .where(failures.c.evaluation == evaluation)
        .group_by(failures.c.sample_id)
    )
    return found | {key: kind for key, kind, _ in connection.execute(dearest)}

"""Leases: which image of a batch is whose until when, with the draft of its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from annoloop.store.tables import answers, leases, picks


@dataclass(frozen=True, slots=True)
class Lease:
    """One person's hold on one image. `boxes` are what they drew so far, None for nothing yet.

    `tab` names the browser tab that saved last and `revision` counts its saves, so that two tabs
    of one person do not overwrite each other unseen.
    """

    sample_id: str
    annotator: str
    until: str
    tab: str
    revision: int
    boxes: Sequence[Sequence[float]] | None
    why: str | None
    seconds: float


def task_ids(connection: Connection, batch: str) -> list[str]:
    """Every task of a batch by id, which is a hash: the order tells neither rank nor golden."""
    query = select(picks.c.sample_id).where(picks.c.batch == batch).order_by(picks.c.sample_id)
    return list(connection.execute(query).scalars())


def task_id(connection: Connection, batch: str, number: int) -> str | None:
    """The id of task `number` (from 1) of a batch, None if it has no such task."""
    if number < 1:
        return None
    query = select(picks.c.sample_id).where(picks.c.batch == batch).order_by(picks.c.sample_id)
    return connection.execute(query.limit(1).offset(number - 1)).scalar()


def who_answered(
    connection: Connection, batch: str, sample_id: str | None = None
) -> dict[str, set[str]]:
    """sample id → the people whose answers it has, for a batch or one image of it."""
    query = select(answers.c.sample_id, answers.c.annotator).where(answers.c.batch == batch)
    if sample_id is not None:
        query = query.where(answers.c.sample_id == sample_id)
    found: dict[str, set[str]] = {}
    for key, who in connection.execute(query.distinct()):
        found.setdefault(key, set()).add(who)
    return found


def load(connection: Connection, batch: str, sample_id: str | None = None) -> list[Lease]:
    """All leases of a batch, or of one image of it, also those that have run out."""
    query = select(*leases.c).where(leases.c.batch == batch)
    if sample_id is not None:
        query = query.where(leases.c.sample_id == sample_id)
    return [
        Lease(
            row.sample_id,
            row.annotator,
            row.until,
            row.tab,
            row.revision,
            row.boxes,
            row.why,
            row.seconds,
        )
        for row in connection.execute(query)
    ]


def save(connection: Connection, batch: str, lease: Lease) -> None:
    """Write one person's lease of one image, in the place of the one before it."""
    values: dict[str, Any] = {
        "until": lease.until,
        "tab": lease.tab,
        "revision": lease.revision,
        "boxes": None if lease.boxes is None else [list(row) for row in lease.boxes],
        "why": lease.why,
        "seconds": lease.seconds,
    }
    statement = insert(leases).values(
        batch=batch, sample_id=lease.sample_id, annotator=lease.annotator, **values
    )
    keys = ["batch", "sample_id", "annotator"]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=values))


def count_drafts(connection: Connection, batch: str) -> int:
    """Images of a batch on which somebody has drawn without answering."""
    query = select(func.count(func.distinct(leases.c.sample_id))).where(
        leases.c.batch == batch, leases.c.boxes.is_not(None)
    )
    return int(connection.execute(query).scalar() or 0)

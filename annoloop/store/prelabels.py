"""Prelabels: what a model said of each image of a batch, and who started from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from annoloop.records import Label
from annoloop.store.samples import pack, unpack
from annoloop.store.tables import prelabels


@dataclass(frozen=True, slots=True)
class Prelabel:
    """The boxes of `model` for one image of a batch; if `blank`, people were not shown them."""

    sample_id: str
    model: str
    blank: bool
    labels: tuple[Label, ...]
    at: str


def add(connection: Connection, batch: str, new: Sequence[Prelabel]) -> None:
    rows = [
        {
            "batch": batch,
            "sample_id": one.sample_id,
            "model": one.model,
            "blank": one.blank,
            "labels": pack(one.labels),
            "at": one.at,
        }
        for one in new
    ]
    if rows:
        connection.execute(insert(prelabels), rows)


def load(
    connection: Connection, batch: str | None = None, *, of: str | None = None
) -> list[tuple[str, Prelabel]]:
    """(batch, prelabel) of one batch or of all, of one image or of all, by batch and sample id."""
    query = select(prelabels).order_by(prelabels.c.batch, prelabels.c.sample_id)
    if batch is not None:
        query = query.where(prelabels.c.batch == batch)
    if of is not None:
        query = query.where(prelabels.c.sample_id == of)
    return [
        (
            row.batch,
            Prelabel(row.sample_id, row.model, bool(row.blank), unpack(row.labels), row.at),
        )
        for row in connection.execute(query)
    ]

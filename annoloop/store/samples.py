"""Samples, classes, reference labels and near-duplicates, as rows and as records."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from annoloop.errors import BusyError, ProjectError
from annoloop.records import Half, Label, Reference, Sample, Schema, Split, Status
from annoloop.store.tables import classes, near_duplicates, references, samples

CROWD, DIFFICULT = 1, 2


def pack(labels: Iterable[Label]) -> list[list[float]]:
    """Labels as JSON rows [class id, x, y, w, h, flags]."""
    return [
        [label.class_id, *label.box, CROWD * label.crowd + DIFFICULT * label.difficult]
        for label in labels
    ]


def unpack(rows: Iterable[Sequence[float]]) -> tuple[Label, ...]:
    """The inverse of pack."""
    found = []
    for c, x, y, w, h, f in rows:
        box, flags = (float(x), float(y), float(w), float(h)), int(f)
        found.append(Label(int(c), box, bool(flags & CROWD), bool(flags & DIFFICULT)))
    return tuple(found)


def among(column: Column[str] | ColumnElement[str], ids: Collection[str]) -> ColumnElement[bool]:
    """`column IN ids` for any number of ids: they travel as one JSON value."""
    values = func.json_each(json.dumps(sorted(ids))).table_valued("value")
    return column.in_(select(values.c.value))


def schema(connection: Connection) -> Schema:
    rows = connection.execute(select(classes.c.name).order_by(classes.c.id))
    return Schema(tuple(row.name for row in rows))


def add_classes(connection: Connection, names: Sequence[str]) -> Schema:
    """Append the names that are new; the order of those already there never changes."""
    known = schema(connection)
    new = [name for name in dict.fromkeys(names) if name not in known.classes]
    first = len(known.classes)
    if new:
        rows = [{"id": first + i, "name": name, "rules": {}} for i, name in enumerate(new)]
        connection.execute(insert(classes), rows)
    return Schema((*known.classes, *new))


def add_samples(connection: Connection, new: Sequence[Sample], at: str) -> None:
    rows = [
        {
            "id": s.id,
            "path": s.path,
            "uri": s.uri,
            "width": s.width,
            "height": s.height,
            "sha256": s.sha256,
            "bytes": s.bytes,
            "group_name": s.group,
            "split": s.split,
            "half": s.half,
            "status": s.status,
            "why": s.why,
            "external_id": s.external_id,
            "added_at": at,
        }
        for s in new
    ]
    if rows:
        connection.execute(insert(samples), rows)


def load(
    connection: Connection,
    *,
    split: Split | None = None,
    half: Half | None = None,
    statuses: Collection[Status] | None = None,
    ids: Collection[str] | None = None,
) -> list[Sample]:
    """Samples sorted by id; every filter narrows."""
    query = _filtered(select(*COLUMNS), split=split, half=half, statuses=statuses, ids=ids)
    root = connection.get_execution_options()["annoloop_images"]
    rows = connection.execute(query.order_by(samples.c.id)).all()
    return [_sample(row, root) for row in rows]


def load_ids(
    connection: Connection,
    *,
    split: Split | None = None,
    half: Half | None = None,
    statuses: Collection[Status] | None = None,
) -> list[str]:
    """The ids alone, sorted: a tenth of the time of `load`."""
    query = _filtered(select(samples.c.id), split=split, half=half, statuses=statuses, ids=None)
    return list(connection.execute(query.order_by(samples.c.id)).scalars())


def load_hashes(connection: Connection, *, split: Split, statuses: Collection[Status]) -> list[str]:
    """The content hashes alone, in the order of `load`."""
    query = _filtered(select(samples.c.sha256), split=split, half=None, statuses=statuses, ids=None)
    return list(connection.execute(query.order_by(samples.c.id)).scalars())


def _filtered(
    query: Select[Any],
    *,
    split: Split | None,
    half: Half | None,
    statuses: Collection[Status] | None,
    ids: Collection[str] | None,
) -> Select[Any]:
    if split is not None:
        query = query.where(samples.c.split == split)
    if half is not None:
        query = query.where(samples.c.half == half)
    if statuses is not None:
        query = query.where(samples.c.status.in_(sorted(statuses)))
    if ids is not None:
        query = query.where(among(samples.c.id, ids))
    return query


COLUMNS = [
    samples.c[name]
    for name in (
        "id",
        "path",
        "uri",
        "width",
        "height",
        "sha256",
        "group_name",
        "split",
        "half",
        "status",
        "why",
        "external_id",
        "bytes",
    )
]
"""In the order of Sample's fields: a million rows are unpacked by place, not by name."""
SPLITS: dict[str | None, Split | None] = {None: None, **{str(one): one for one in Split}}
HALVES: dict[str | None, Half | None] = {None: None, **{str(one): one for one in Half}}
STATUSES = {str(one): one for one in Status}


def _sample(row: Any, root: str) -> Sample:
    id_, path, uri, width, height, sha256, group, split, half, status, *rest = row
    if "://" not in uri:
        uri = f"{root}/{uri}" if not uri.startswith("/") else uri
    return Sample(
        id_,
        path,
        uri,
        width,
        height,
        sha256,
        group,
        SPLITS[split],
        HALVES[half],
        STATUSES[status],
        *rest,
    )


def ids_by_path(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(samples.c.path, samples.c.id))
    return {row.path: row.id for row in rows}


def counts(connection: Connection) -> dict[tuple[Split | None, Status], int]:
    """Number of samples by split and status, from the index alone."""
    query = select(samples.c.split, samples.c.status, func.count()).group_by(
        samples.c.split, samples.c.status
    )
    return {
        (None if split is None else Split(split), Status(status)): int(number)
        for split, status, number in connection.execute(query)
    }


def locked(connection: Connection) -> list[tuple[str, Split, Half | None]]:
    """(id, split, half) of every test, val and golden sample, sorted by id."""
    query = (
        select(samples.c.id, samples.c.split, samples.c.half)
        .where(samples.c.split.in_([Split.TEST, Split.VAL, Split.GOLDEN]))
        .order_by(samples.c.id)
    )
    rows: Sequence[Any] = connection.execute(query).all()
    return [(key, Split(split), HALVES[half]) for key, split, half in rows]


def locked_groups(connection: Connection) -> dict[str, Split] | None:
    """group → split of each locked group; None while no split has been made."""
    rows = locked(connection)
    if not rows:
        return None
    query = select(samples.c.group_name, samples.c.split).where(
        samples.c.split.in_([Split.TEST, Split.VAL, Split.GOLDEN]),
        samples.c.group_name.is_not(None),
    )
    return {row.group_name: Split(row.split) for row in connection.execute(query.distinct())}


def set_splits(
    connection: Connection, assigned: Mapping[str, tuple[Split, Half | None, str | None]]
) -> None:
    """id → (split, half, group), once: a sample never changes split (checked here)."""
    statement = (
        update(samples)
        .where(samples.c.id == bindparam("key"), samples.c.split.is_(None))
        .values(
            split=bindparam("new_split"),
            half=bindparam("new_half"),
            group_name=bindparam("new_group"),
        )
    )
    rows = [
        {"key": key, "new_split": split, "new_half": half, "new_group": group}
        for key, (split, half, group) in assigned.items()
    ]
    if rows and connection.execute(statement, rows).rowcount != len(rows):
        raise ProjectError(
            "some samples already have a split; splits are locked once made",
            fix="Run `annoloop split` without changes: new images join the pool.",
        )


def set_status(
    connection: Connection,
    ids: Collection[str],
    *,
    status: Status,
    came_from: Collection[Status],
    why: Mapping[str, str] | None = None,
) -> None:
    """Move samples of `ids` to `status`; each must now be in one of `came_from`."""
    reasons = why or {}
    statement = (
        update(samples)
        .where(
            samples.c.id == bindparam("key"),
            # no IN: an expanding parameter does not go with many rows at once
            or_(*(samples.c.status == one for one in sorted(came_from))),
        )
        .values(status=str(status), why=bindparam("reason"))
    )
    rows = [{"key": key, "reason": reasons.get(key)} for key in sorted(ids)]
    if rows and connection.execute(statement, rows).rowcount != len(rows):
        raise BusyError(
            f"some samples that should become {status} have changed meanwhile",
            fix="Run the command again: it will see the new state.",
        )


def add_references(connection: Connection, new: Iterable[Reference], *, who: str, at: str) -> int:
    """Store what differs from the newest version; returns how many were new."""
    given = list(new)
    known = newest_references(connection, ids=[r.sample_id for r in given])
    rows = []
    for one in given:
        before = known.get(one.sample_id)
        if before is not None and before.labels == one.labels:
            continue
        version = 1 if before is None else before.version + 1
        rows.append(replace(one, version=version))
    if rows:
        connection.execute(
            insert(references),
            [
                {
                    "sample_id": r.sample_id,
                    "version": r.version,
                    "labels": pack(r.labels),
                    "source": r.source,
                    "who": who,
                    "at": at,
                }
                for r in rows
            ],
        )
    return len(rows)


def newest_references(
    connection: Connection, *, ids: Collection[str] | None = None, split: Split | None = None
) -> dict[str, Reference]:
    """The newest reference labels by sample id."""
    query = select(references).order_by(references.c.seq)
    if ids is not None:
        query = query.where(among(references.c.sample_id, ids))
    if split is not None:
        inside = select(samples.c.id).where(samples.c.split == split)
        query = query.where(references.c.sample_id.in_(inside))
    return {
        row.sample_id: Reference(row.sample_id, unpack(row.labels), row.source, row.version)
        for row in connection.execute(query)
    }


def count_referenced(connection: Connection) -> int:
    """Number of samples that have reference labels."""
    query = select(func.count(func.distinct(references.c.sample_id)))
    return int(connection.execute(query).scalar() or 0)


def has_references(connection: Connection, split: Split) -> bool:
    """True if any sample of the split has reference labels."""
    inside = select(samples.c.id).where(samples.c.split == split)
    query = select(references.c.seq).where(references.c.sample_id.in_(inside)).limit(1)
    return connection.execute(query).first() is not None


def add_near_duplicates(
    connection: Connection, pairs: Iterable[tuple[str, str]], *, binding: bool
) -> None:
    """Confirmed pairs; those that are `binding` had to stay on one side of the splits."""
    rows = [{"first_id": min(a, b), "second_id": max(a, b), "binding": binding} for a, b in pairs]
    if rows:
        connection.execute(insert(near_duplicates).prefix_with("OR IGNORE"), rows)


def load_near_duplicates(connection: Connection) -> list[tuple[str, str]]:
    rows = connection.execute(
        select(near_duplicates).order_by(near_duplicates.c.first_id, near_duplicates.c.second_id)
    )
    return [(row.first_id, row.second_id) for row in rows]

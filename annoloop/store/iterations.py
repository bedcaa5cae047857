"""Iterations and what each of their steps recorded; evaluations with their failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from annoloop.records import Failure, FailureType, ImageResult
from annoloop.store.tables import failures, image_results, iterations, looks, steps

STEPS = ("select", "annotate", "golden", "train", "evaluate", "decide")
"""The steps of an iteration, in order; each keeps every record, the newest counts."""


TEST_LOOK = "test"
"""The ledger entry of one opening of the test split."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    seq: int
    iteration: int
    step: str
    at: str
    who: str
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Iteration:
    """One pass of the loop: its batch and the newest record of each step done so far."""

    number: int
    batch: str
    opened_at: str
    steps: Mapping[str, StepRecord]

    @property
    def name(self) -> str:
        return f"v{self.number}"

    @property
    def next_step(self) -> str | None:
        """The first step that has not been done, None once it is decided."""
        if "decide" in self.steps:
            return None
        return next((step for step in STEPS if step not in self.steps), None)


def open_iteration(
    connection: Connection, *, number: int, batch: str, at: str, settings: Mapping[str, Any]
) -> None:
    connection.execute(
        insert(iterations).values(number=number, batch=batch, opened_at=at, settings=dict(settings))
    )


def add_step(
    connection: Connection,
    iteration: int,
    step: str,
    *,
    at: str,
    who: str,
    record: Mapping[str, Any],
) -> int:
    """Append one step's record; its seq identifies it (an evaluation's failures point to it)."""
    result = connection.execute(
        insert(steps).values(iteration=iteration, step=step, at=at, who=who, record=dict(record))
    )
    key = result.inserted_primary_key
    return int(key[0]) if key else 0


def load_iterations(connection: Connection) -> list[Iteration]:
    """All iterations, oldest first, each with its newest step records."""
    found: dict[int, dict[str, StepRecord]] = {}
    for row in connection.execute(select(steps).order_by(steps.c.seq)):
        one = StepRecord(row.seq, row.iteration, row.step, row.at, row.who, row.record)
        found.setdefault(row.iteration, {})[row.step] = one
    query = select(iterations).order_by(iterations.c.number)
    return [
        Iteration(row.number, row.batch, row.opened_at, found.get(row.number, {}))
        for row in connection.execute(query)
    ]


def newest_iteration(connection: Connection) -> Iteration | None:
    all_of_them = load_iterations(connection)
    return all_of_them[-1] if all_of_them else None


def step_history(connection: Connection, step: str) -> list[StepRecord]:
    """Every record of one step, oldest first, superseded ones included."""
    query = select(steps).where(steps.c.step == step).order_by(steps.c.seq)
    return [
        StepRecord(row.seq, row.iteration, row.step, row.at, row.who, row.record)
        for row in connection.execute(query)
    ]


def newest_step(connection: Connection, step: str) -> int | None:
    """The seq of the newest record of one step."""
    query = select(func.max(steps.c.seq)).where(steps.c.step == step)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def add_failures(connection: Connection, evaluation: int, found: Sequence[Failure]) -> None:
    rows = [
        {
            "evaluation": evaluation,
            "sample_id": f.sample_id,
            "type": f.type,
            "class_id": f.class_id,
            "x": f.box[0],
            "y": f.box[1],
            "w": f.box[2],
            "h": f.box[3],
            "score": f.score,
            "truth_class_id": f.truth_class_id,
            "iou": f.iou,
            "price": f.price,
        }
        for f in found
    ]
    if rows:
        connection.execute(insert(failures), rows)


def load_failures(
    connection: Connection, evaluation: int, *, of: str | None = None
) -> list[Failure]:
    """The failures of one evaluation, or those on one sample."""
    query = select(failures).where(failures.c.evaluation == evaluation).order_by(failures.c.seq)
    if of is not None:
        query = query.where(failures.c.sample_id == of)
    return [
        Failure(
            sample_id=row.sample_id,
            type=FailureType(row.type),
            class_id=row.class_id,
            box=(row.x, row.y, row.w, row.h),
            score=row.score,
            truth_class_id=row.truth_class_id,
            iou=row.iou,
            price=row.price,
        )
        for row in connection.execute(query)
    ]


def count_failures(connection: Connection, evaluation: int) -> dict[tuple[str, int], int]:
    """(type, class id) → how many, of one evaluation."""
    what = failures.c.type, failures.c.class_id
    query = select(*what, func.count()).where(failures.c.evaluation == evaluation).group_by(*what)
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(query)}


def add_results(connection: Connection, evaluation: int, results: Sequence[ImageResult]) -> None:
    rows = [
        {"evaluation": evaluation, "sample_id": r.sample_id, "tp": r.tp, "fp": r.fp, "fn": r.fn}
        for r in results
    ]
    if rows:
        connection.execute(insert(image_results), rows)


def load_results(connection: Connection, evaluation: int) -> list[ImageResult]:
    query = (
        select(image_results)
        .where(image_results.c.evaluation == evaluation)
        .order_by(image_results.c.sample_id)
    )
    return [ImageResult(row.sample_id, row.tp, row.fp, row.fn) for row in connection.execute(query)]


def looks_at(connection: Connection, what: str) -> int:
    """How often a guarded set was looked at."""
    query = select(func.count()).select_from(looks).where(looks.c.what == what)
    return int(connection.execute(query).scalar() or 0)


def look_records(connection: Connection, what: str) -> list[Mapping[str, Any]]:
    """What was entered at each look at a guarded set, oldest first."""
    query = select(looks.c.record).where(looks.c.what == what).order_by(looks.c.seq)
    return list(connection.execute(query).scalars())

"""Batches and picks as people read them; light, so that `status` answers at once."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from annoloop.records import Pick
from annoloop.results_batches import BatchSummary, PickView
from annoloop.store import batches

BLIND = "golden"
"""The source of blind golden samples, which are never counted as picks."""


def summaries(connection: Connection) -> list[BatchSummary]:
    """One summary a batch, oldest first; blind golden samples are not counted as picks."""
    by_source = batches.pick_counts(connection)
    answered = batches.answered_counts(connection)
    found = []
    for batch in batches.load_all(connection):
        sources = by_source.get(batch.name, {})
        found.append(
            BatchSummary(
                name=batch.name,
                kind=str(batch.kind),
                open=batch.open,
                size=sum(n for source, n in sources.items() if source != BLIND),
                by_source=sources,
                answered=answered.get(batch.name, 0),
                created_at=batch.created_at,
                closed_at=batch.closed_at,
            )
        )
    return found


def view(pick: Pick, paths: Mapping[str, str]) -> PickView:
    return PickView(
        path=paths[pick.sample_id],
        sample_id=pick.sample_id,
        source=pick.source,
        rank=pick.rank,
        score=pick.score,
        reason=pick.reason,
        details=dict(pick.details),
    )

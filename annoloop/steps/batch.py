"""`batch list`, `show`, `make`, `export`: what goes to people, and why it was picked."""

from __future__ import annotations

from collections.abc import Iterator

from annoloop.records import Batch
from annoloop.results_batches import BatchListResult, BatchShowResult
from annoloop.steps.context import Context
from annoloop.steps.summary import summaries, view
from annoloop.store import batches, samples


def list_batches(context: Context) -> BatchListResult:
    with context.store.read() as connection:
        return BatchListResult(tuple(summaries(connection)))


def show(context: Context, name: str) -> BatchShowResult:
    """Every pick with source, rank, score and reason (blind golden samples stay hidden)."""
    with context.store.read() as connection:
        batch = batches.get(connection, name)
        summary = next(s for s in summaries(connection) if s.name == name)
        picks = [pick for pick, blind in batches.load_picks(connection, name) if not blind]
        found = samples.load(connection, ids=[p.sample_id for p in picks])
        annotators = batches.annotators(connection, name)
    paths = {s.id: s.path for s in found}
    return BatchShowResult(
        batch=summary,
        asked=batch.asked,
        seed=batch.seed,
        quotas=batch.report.get("quotas", {}),
        shortfalls=tuple(batch.report.get("shortfalls", ())),
        notes=(*batch.report.get("notes", ()), *_prelabelled(batch)),
        picks=tuple(view(p, paths) for p in picks),
        annotators=annotators,
        embedder=batch.report.get("embedder"),
    )


def _prelabelled(batch: Batch) -> Iterator[str]:
    told = batch.report.get("prelabels")
    if told is not None:
        yield (
            f"{told['given']} of its {told['given'] + told['blank']} images, hidden ones included, "
            f"were given the boxes of {told['model']}; {told['blank']} stay blank"
        )

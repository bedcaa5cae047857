"""`score`: coverage scores of the unlabeled pool, conditional on what is labelled already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core import coverage
from annoloop.errors import NotReadyError
from annoloop.records import Split, Status
from annoloop.results import ScoreResult
from annoloop.steps.blind import OPEN
from annoloop.steps.context import Context
from annoloop.steps.embed import ensure_embedded
from annoloop.steps.split import ensure_split
from annoloop.store import batches, db, samples


def score(context: Context) -> ScoreResult:
    """Rescore the pool with ZCore; labelled and selected samples take part as occupied rows."""
    ensure_split(context)
    name = ensure_embedded(context)
    with context.store.read() as connection:
        pool = [s for s in samples.load(connection, split=Split.POOL) if s.status != Status.SKIPPED]
        closed = _closed_batches(batches.load_all(connection))
    if not any(s.status in OPEN for s in pool):
        raise NotReadyError(
            "no unlabeled image is left in the pool",
            fix="Add images and run `annoloop ingest`; new images join the pool.",
        )
    settings = context.settings
    vectors = context.vectors.load_vectors(name, [s.sha256 for s in pool])
    occupied = np.array([s.status not in OPEN for s in pool])
    wanted = settings.coverage.draws
    draws = coverage.default_draws(len(pool)) if wanted == "auto" else wanted
    started = context.stopwatch()
    raw = coverage.zcore(
        vectors,
        coverage.make_draws(vectors, draws, rng=np.random.default_rng(settings.select.seed)),
        n_neighbours=settings.coverage.neighbours,
        occupied=occupied,
        conditional=True,
        progress=lambda done, total, what: context.progress(done, total, what),
    )
    candidates = np.flatnonzero(~occupied)
    at = context.now()
    result = ScoreResult(
        strategy="zcore",
        embedder=name,
        candidates=len(candidates),
        occupied=int(occupied.sum()),
        draws=draws,
        seed=settings.select.seed,
        at=at,
        seconds=round(context.stopwatch() - started, 3),
    )
    about = {"at": at, "embedder": name, "occupied": result.occupied, "closed": closed}
    context.vectors.write_scores(
        [pool[i].id for i in candidates], coverage.scale(raw[candidates]), about
    )
    with context.store.write() as connection:
        db.record(
            connection,
            at=at,
            who=context.who,
            what="score",
            target=name,
            details={"candidates": result.candidates, "occupied": result.occupied},
        )
    return result


def ensure_scored(
    context: Context, ids: Sequence[str]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """The newest stored scores of the open pool `ids` (sorted), and what they are of.

    They are made again (and that is said) if a batch was closed since, if an id has none, or if
    the embedder or its model is another by now.
    """
    with context.store.read() as connection:
        closed = _closed_batches(batches.load_all(connection))
        stored = context.vectors.load_scores()
        # Scores without an audit line are of a run that was killed before it wrote one.
        known = stored is not None and db.recorded(
            connection, what="score", target=stored[2]["embedder"], at=stored[2]["at"]
        )
    why = "no coverage scores yet" if stored is None else "the pool changed since they were made"
    name = context.embedder().name
    if stored is not None and stored[2]["embedder"] != name:
        why = f"the coverage scores are by {stored[2]['embedder']} vectors, not by {name}"
    elif stored is not None and known and stored[2].get("closed") == closed:
        scores = _aligned(ids, stored[0], stored[1])
        if scores is not None:
            return scores, stored[2]
    context.say(f"{why}: scoring (annoloop score)")
    score(context)
    stored = context.vectors.load_scores()
    scores = None if stored is None else _aligned(ids, stored[0], stored[1])
    if stored is None or scores is None:  # another process at work on the same files
        raise NotReadyError("the stored scores are gone", fix="Run `annoloop score` again.")
    return scores, stored[2]


def _aligned(
    ids: Sequence[str], known: Sequence[str], scores: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The score of each of `ids`, None if one has none."""
    if list(ids) == list(known):
        return scores
    place = {key: row for row, key in enumerate(known)}
    if any(key not in place for key in ids):
        return None
    return scores[[place[key] for key in ids]]


def _closed_batches(all_of_them: list[Any]) -> list[str]:
    return [b.name for b in all_of_them if not b.open]

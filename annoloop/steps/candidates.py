"""What selection is given: the open pool as arrays, and the failures as queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annoloop.core import failures as core_failures
from annoloop.core import selection
from annoloop.records import Sample
from annoloop.steps.context import Context
from annoloop.steps.embed import embed
from annoloop.store import iterations, samples
from annoloop.store.iterations import Iteration


def candidates_of(
    context: Context,
    pool: Sequence[Sample],
    scores: Mapping[str, float],
    *,
    name: str,
    twins: Sequence[tuple[str, str]],
) -> selection.Candidates:
    place = {s.id: i for i, s in enumerate(pool)}
    pairs = [(place[a], place[b]) for a, b in twins if a in place and b in place]
    return selection.Candidates(
        ids=tuple(s.id for s in pool),
        vectors=context.vectors.load_vectors(name, [s.sha256 for s in pool]),
        coverage=np.array([scores[s.id] for s in pool]),
        groups=_units(pool),
        near_duplicates=np.array(pairs, dtype=np.int64).reshape(-1, 2),
    )


def _units(pool: Sequence[Sample]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(s.group or f"sample {s.id}", len(numbers)) for s in pool],
        dtype=np.int64,
    )


def failure_queries(context: Context, before: Iteration, name: str) -> list[selection.Query]:
    """The failures of the last evaluation, each with the vector of its val image."""
    if "evaluate" not in before.steps:  # no object was annotated yet, so nothing was trained
        return []
    with context.store.read() as connection:
        found = iterations.load_failures(connection, before.steps["evaluate"].seq)
        where = {s.id: s for s in samples.load(connection, ids={f.sample_id for f in found})}
        schema = samples.schema(connection)
    ids = sorted(where)
    known = context.vectors.vector_keys(name)
    missing = [key for key in ids if where[key].sha256 not in known]
    if missing:
        context.say(f"{len(missing)} val images have no vector: embedding them")
        embed(context)
    rows = context.vectors.load_vectors(name, [where[key].sha256 for key in ids]) if ids else None
    place = {key: i for i, key in enumerate(ids)}
    return [
        selection.Query(
            failure=f,
            text=core_failures.describe(f, schema.classes),
            where=where[f.sample_id].path,
            vector=rows[place[f.sample_id]],
        )
        for f in found
        if rows is not None
    ]

"""What selection is given: the open pool as arrays, and the failures as queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from annoloop.core import failures as core_failures
from annoloop.core import selection
from annoloop.records import Sample, Split, Status
from annoloop.steps.context import Context
from annoloop.steps.embed import embed
from annoloop.store import iterations, samples
from annoloop.store.iterations import Iteration

COVERED = (Status.ANNOTATED, Status.SELECTED)
"""What a source need not cover again."""
BLIND_TO_LABELS = {"coverage", "targeted", "neighbours", "uncertainty", "random"}
"""Sources that never look at labelled vectors; at a million samples these are not read in vain."""


def candidates_of(
    context: Context,
    pool: Sequence[Sample],
    scores: NDArray[np.float64],
    *,
    name: str,
    twins: Sequence[tuple[str, str]],
    uncertainty: Mapping[str, float] | None = None,
) -> selection.Candidates:
    place = {s.id: i for i, s in enumerate(pool)}
    pairs = [(place[a], place[b]) for a, b in twins if a in place and b in place]
    return selection.Candidates(
        ids=tuple(s.id for s in pool),
        vectors=context.vectors.load_vectors(name, [s.sha256 for s in pool]),
        coverage=scores,
        groups=_units(pool),
        near_duplicates=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        uncertainty=None if uncertainty is None else np.array([uncertainty[s.id] for s in pool]),
    )


def _units(pool: Sequence[Sample]) -> NDArray[np.int64] | None:
    """The number of each sample's group (n,), None where no group is declared."""
    if all(s.group is None for s in pool):
        return None
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(s.group or f"sample {s.id}", len(numbers)) for s in pool],
        dtype=np.int64,
    )


def labelled_vectors(
    context: Context, name: str, *, mix: Mapping[str, float]
) -> NDArray[np.float32] | None:
    """Vectors (m, d) of the pool samples that are labelled or selected, if a source reads them."""
    if mix.keys() <= BLIND_TO_LABELS:
        return None
    with context.store.read() as connection:
        known = samples.load(connection, split=Split.POOL, statuses=COVERED)
    return context.vectors.load_vectors(name, [s.sha256 for s in known]) if known else None


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

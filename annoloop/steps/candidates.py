"""What selection is given: the open pool as arrays, and the failures as queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core import failures as core_failures
from annoloop.core import selection
from annoloop.core.draft import Scenes
from annoloop.core.search import approximate
from annoloop.errors import VectorError
from annoloop.records import Sample, Split, Status
from annoloop.steps.budget import Price
from annoloop.steps.context import Context
from annoloop.steps.crops import failure_vectors, pool_patches
from annoloop.steps.embed import embed, ensure_embedded
from annoloop.steps.groups import GroupRule
from annoloop.steps.score import ensure_scored
from annoloop.steps.uncertainty import pool_uncertainty
from annoloop.store import iterations, samples
from annoloop.store.iterations import Iteration

COVERED = (Status.ANNOTATED, Status.SELECTED)
"""What a source need not cover again."""
SEEKING = {"targeted", "neighbours"}
"""Sources that compare the pool with failures; only they pay for looking at objects."""
BLIND_TO_LABELS = {"coverage", "targeted", "neighbours", "uncertainty", "random"}
"""Sources that never look at labelled vectors; at a million samples these are not read in vain."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a batch is chosen from, the settings of the mix applied, and what to say about it."""

    candidates: selection.Candidates
    evidence: selection.Evidence
    embedder: str
    notes: tuple[str, ...]


def gather(
    context: Context,
    pool: Sequence[Sample],
    *,
    mix: Mapping[str, float],
    before: Iteration | None,
    price: Price | None,
) -> Gathered:
    """The open pool (sorted by id) and what the loop knows; only what the mix looks at is read.

    Where boxes are paid for, uncertainty is that of a box: the sum prefers crowded images.
    """
    settings = context.settings.select
    ids = [s.id for s in pool]
    scores, about = ensure_scored(context, ids)
    name = str(about["embedder"])
    _refuse_mixture(context, name)
    if context.vectors.width(name) is None:  # scores came with a dataset that has no vectors
        ensure_embedded(context)
    vectors = context.vectors.load_vectors(name, [s.sha256 for s in pool])
    objects = settings.look_at == "objects" and not SEEKING.isdisjoint(mix)
    queries = failure_queries(context, before, name, objects=objects) if before else []
    unsure = pool_uncertainty(context, pool) if before and mix.get("uncertainty") else None
    if unsure is not None and price is not None:
        unsure = {key: doubt / max(price.boxes[key], 1.0) for key, doubt in unsure.items()}
    candidates = selection.Candidates(
        ids=tuple(ids),
        vectors=vectors,
        coverage=scores,
        groups=_units(pool) if settings.whole_groups else None,
        near_duplicates=_twins(context, ids),
        uncertainty=None if unsure is None else np.array([unsure[key] for key in ids]),
        patches=pool_patches(context, pool, vectors) if objects and queries else None,
        scenes=_scenes(pool, settings.scene, settings.per_scene),
    )
    evidence = selection.Evidence(
        queries=tuple(queries),
        pending=tuple(s.id for s in pool if s.status is Status.PENDING),
        labelled=labelled_vectors(context, name, mix=mix),
        cluster_cosine=settings.cluster_cosine,
    )
    notes = [f"coverage scores of {about['at']}, with {about['occupied']} samples already taken"]
    looked_at = len(ids) if candidates.patches is None else len(candidates.patches.owners)
    if approximate(len({q.vector.tobytes() for q in queries}), looked_at):
        notes.append(
            "neighbours of failures are approximate: the pool is large (docs/selection.md)"
        )
    return Gathered(candidates, evidence, name, tuple(notes))


def _refuse_mixture(context: Context, name: str) -> None:
    """What is compared below is by one embedder and one model, or nothing is compared."""
    now = context.embedder().name
    if now != name:
        raise VectorError(
            f"the coverage scores are by {name} vectors, and failures would be compared by {now} "
            "vectors: those of two models have nothing in common",
            fix="Run `annoloop score`, then select again.",
        )


def _twins(context: Context, ids: Sequence[str]) -> NDArray[np.int64]:
    """Near-duplicates in the open pool as pairs of rows (m, 2)."""
    with context.store.read() as connection:
        twins = samples.load_near_duplicates(connection)
    place = {key: row for row, key in enumerate(ids)} if twins else {}
    pairs = [(place[a], place[b]) for a, b in twins if a in place and b in place]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _scenes(pool: Sequence[Sample], rule: str, cap: int) -> Scenes | None:
    """The scene of each sample; where the rule names none, a sample is a scene of its own."""
    if rule == "none":
        return None
    if rule == "group":
        names = [s.group for s in pool]
    else:
        of = GroupRule(rule, None, setting="select.scene")
        names = [of.group(s.path) for s in pool]
    own = [name or f"sample {s.id}" for name, s in zip(names, pool, strict=True)]
    return Scenes(_numbered(own), cap)


def _units(pool: Sequence[Sample]) -> NDArray[np.int64] | None:
    """The number of each sample's group (n,), None where no group is declared."""
    if all(s.group is None for s in pool):
        return None
    return _numbered([s.group or f"sample {s.id}" for s in pool])


def _numbered(names: Sequence[str]) -> NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def labelled_vectors(
    context: Context, name: str, *, mix: Mapping[str, float]
) -> NDArray[np.float32] | None:
    """Vectors (m, d) of the pool samples that are labelled or selected, if a source reads them."""
    if mix.keys() <= BLIND_TO_LABELS:
        return None
    with context.store.read() as connection:
        known = samples.load_hashes(connection, split=Split.POOL, statuses=COVERED)
    return context.vectors.load_vectors(name, known) if known else None


def failure_queries(
    context: Context, before: Iteration, name: str, *, objects: bool
) -> list[selection.Query]:
    """The failures of the last evaluation, each with the vector of its val image or region."""
    if "evaluate" not in before.steps:  # no object was annotated yet, so nothing was trained
        return []
    with context.store.read() as connection:
        found = iterations.load_failures(connection, before.steps["evaluate"].seq)
        where = {s.id: s for s in samples.load(connection, ids={f.sample_id for f in found})}
        schema = samples.schema(connection)
    if not found:
        return []
    if objects:
        rows = failure_vectors(context, found, where)
    else:
        keys = [where[f.sample_id].sha256 for f in found]
        missing = len(set(keys)) - int(context.vectors.having(name, sorted(set(keys))).sum())
        if missing:
            context.say(f"{missing} val images have no vector: embedding them")
            embed(context)
        rows = context.vectors.load_vectors(name, keys)
    return [
        selection.Query(
            failure=f,
            text=core_failures.describe(f, schema.classes),
            where=where[f.sample_id].path,
            vector=row,
        )
        for f, row in zip(found, rows, strict=True)
    ]

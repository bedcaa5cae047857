"""Failures → the pool images that look most like them, ranked, and fair over the failures.

Images are taken in rounds: first the nearest neighbour of every failure, then the second of every
failure, and so on, so that no failure speaks for another. Failures that share a vector (those of
one image, where only whole images have vectors) speak with one voice: otherwise the image with
the most failures, which is the most crowded one, would fill the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.patches import Patches, patches_of
from annoloop.core.search import Search
from annoloop.errors import VectorError
from annoloop.records import Box, Failure

PER_QUERY = 5
ENTRIES = 1 << 22
"""Neighbours held at once, over all probes (about 100 MiB with their order)."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One failure, in words (``missed `cup` ``), the path of its image, and its vector (d,)."""

    failure: Failure
    text: str
    where: str
    vector: NDArray[np.floating]


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """One vector to search with: the dearest of the failures that share it, and how many others."""

    query: Query
    others: int

    def reason(self, rank: int, cosine: float) -> str:
        """Why its neighbour number `rank` is worth a label."""
        more = ""
        if self.others:
            more = f" and {self.others} more failure{'s' if self.others > 1 else ''}"
        return (
            f"neighbour {rank} of {self.query.text}{more} in val image {self.query.where}, "
            f"cosine {cosine:.2f}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """Ranked candidates (m,), each with the probe that it is credited to.

    `ranks` are counted from 1 over all patches of the pool, those of taken candidates included;
    `regions` (m,) are the places in the images that are near, None for whole images.
    """

    probes: tuple[Probe, ...]
    positions: NDArray[np.int64]
    cosines: NDArray[np.float32]
    ranks: NDArray[np.int64]
    credits: NDArray[np.int64]
    regions: tuple[Box | None, ...]

    def explain(self, index: int) -> tuple[str, dict[str, Any]]:
        """Reason and details of the row at `index` of `positions`."""
        probe = self.probes[int(self.credits[index])]
        rank, cosine = int(self.ranks[index]), float(self.cosines[index])
        failure, region = probe.query.failure, self.regions[index]
        return probe.reason(rank, cosine) + in_region(region), {
            "failure_sample_id": failure.sample_id,
            "failure_type": str(failure.type),
            "class_id": failure.class_id,
            "failures": probe.others + 1,
            "neighbour": rank,
            "cosine": cosine,
            **({} if region is None else {"region": list(region)}),
        }


def in_region(region: Box | None) -> str:
    """The end of a reason that names the region that it is about."""
    if region is None:
        return ""
    x, y, w, h = region
    return f" of its region x {x:.0f}, y {y:.0f}, {w:.0f} × {h:.0f}"


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Columns of one table: candidate, its patch, neighbour rank, cosine, probe."""

    positions: NDArray[np.int64]
    patches: NDArray[np.int64]
    ranks: NDArray[np.int64]
    cosines: NDArray[np.float32]
    credits: NDArray[np.int64]

    def rows(self, which: NDArray[Any]) -> _Found:
        return _Found(
            self.positions[which],
            self.patches[which],
            self.ranks[which],
            self.cosines[which],
            self.credits[which],
        )


def probes(queries: Sequence[Query]) -> tuple[Probe, ...]:
    """One probe for each distinct vector, by falling price, in whatever order they came."""
    shared: dict[bytes, list[Query]] = {}
    for query in sorted(queries, key=_importance):
        vector = np.asarray(query.vector, dtype=np.float32) + np.float32(0.0)  # -0.0 becomes 0.0
        shared.setdefault(vector.tobytes(), []).append(query)
    return tuple(Probe(same[0], len(same) - 1) for same in shared.values())


def _importance(query: Query) -> tuple[Any, ...]:
    failure = query.failure
    return (
        -failure.price,
        failure.sample_id,
        str(failure.type),
        failure.class_id,
        failure.box,
        query.text,
        query.where,
    )


def rank_neighbours(
    queries: Sequence[Query],
    pool: NDArray[np.floating] | Patches,
    *,
    want: int,
    taken: NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
    per_query: int = PER_QUERY,
) -> Neighbours:
    """Up to `want` candidates that are not `taken` (n,), best first.

    `pool` are the vectors (n, d) of the candidates, or patches of them. Round r holds the r-th
    neighbours of all probes by falling cosine; a row belongs to the first round that reaches it,
    and there to the probe nearest to it. Rounds go on, `per_query` at first and twice as many each
    time, until `want` is met or the pool is exhausted; a larger `want` only makes the answer
    longer. Raises VectorError as `neighbours.nearest` does.
    """
    patches = patches_of(pool)
    sizes = np.bincount(patches.owners)
    closed = np.zeros(len(sizes), dtype=bool) if taken is None else taken
    asked = probes(queries)
    want = min(want, int((~closed).sum()))
    if not asked or want < 1:
        none = np.empty(0, dtype=np.int64)
        return Neighbours(asked, none, none.astype(np.float32), none, none, ())
    asking = stacked(asked)
    search = Search(patches.vectors, queries=len(asking))
    # So many neighbours of one probe alone are enough.
    limit = (want + int(closed.sum())) * int(sizes.max(initial=1))
    depth = max(per_query, -(-2 * want // len(asked)))
    while True:
        depth = min(depth, limit)
        found = _reached(search, asking, patches.owners, depth=depth, names=names)
        free = found.rows(~closed[found.positions])
        if len(free.positions) >= want or depth >= limit:
            break
        depth *= 2
    best = free.rows(np.lexsort((free.positions, -free.cosines, free.ranks))[:want])
    regions = tuple(patches.box(place) for place in best.patches.tolist())
    return Neighbours(asked, best.positions, best.cosines, best.ranks, best.credits, regions)


def stacked(asked: Sequence[Probe]) -> NDArray[np.float32]:
    """The probes' vectors (p, d). Raises VectorError naming the image of one that is broken."""
    vectors = [np.asarray(p.query.vector, dtype=np.float32).ravel() for p in asked]
    width = len(vectors[0])
    for probe, vector in zip(asked, vectors, strict=True):
        if len(vector) != width or not np.isfinite(vector).all():
            raise VectorError(
                f"the vector of val image {probe.query.where} is not finite, or not {width} wide",
                fix="Embed everything with the same embedder: `annoloop embed`.",
            )
    return np.stack(vectors)


def _reached(
    search: Search,
    asking: NDArray[np.float32],
    owners: NDArray[np.int64],
    *,
    depth: int,
    names: Sequence[str] | None,
) -> _Found:
    """Each candidate among the `depth` nearest of any probe, once, with its probe."""
    step = max(1, ENTRIES // depth)
    none = np.empty(0, dtype=np.int64)
    best = _Found(none, none, none, none.astype(np.float32), none)
    for first in range(0, len(asking), step):
        part = asking[first : first + step]
        cosines, positions = search.nearest(part, k=depth, names=names)
        count, width = positions.shape
        table = _Found(
            owners[positions.ravel()],
            positions.ravel(),
            np.tile(np.arange(1, width + 1, dtype=np.int64), count),
            cosines.ravel(),
            np.repeat(np.arange(first, first + count, dtype=np.int64), width),
        )
        best = _first_of_each(_joined(best, table))
    return best


def _joined(a: _Found, b: _Found) -> _Found:
    return _Found(
        np.concatenate([a.positions, b.positions]),
        np.concatenate([a.patches, b.patches]),
        np.concatenate([a.ranks, b.ranks]),
        np.concatenate([a.cosines, b.cosines]),
        np.concatenate([a.credits, b.credits]),
    )


def _first_of_each(found: _Found) -> _Found:
    order = np.lexsort((found.credits, -found.cosines, found.ranks, found.positions))
    ordered = found.rows(order)
    return ordered.rows(np.flatnonzero(np.diff(ordered.positions, prepend=-1)))

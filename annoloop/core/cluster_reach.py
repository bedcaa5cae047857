"""For each cluster of failures its nearest pool images, all clusters in one search of the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from annoloop.core.clusters import Cluster
from annoloop.core.patches import Patches
from annoloop.core.search import Search
from annoloop.core.targeting import stacked

ENTRIES = 1 << 22
"""Neighbours held at once, over all vectors searched with."""
SPARE = 8
"""Members of a cluster share neighbours: so many times what would do if they did not. A deeper
search costs little, a second one of the pool costs as much as the first."""
SURPLUS = 4
"""What was found beyond a limit is kept up to so many times the limit: others' quotas flow on."""


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Candidates (m,) by falling cosine of their nearest patch to the member nearest to it.

    Of equal cosines the lower row comes first. `whole`: no other row can be picked.
    """

    rows: NDArray[np.int64]
    patches: NDArray[np.int64]
    cosines: NDArray[np.float32]
    members: NDArray[np.int64]
    whole: bool


def reach(
    clusters: Sequence[Cluster],
    pool: Patches,
    *,
    limits: NDArray[np.int64],
    closed: NDArray[np.bool_],
    names: Sequence[str] | None,
    depth: int = 0,
) -> tuple[list[Reach], int]:
    """The `limits` (c,) nearest rows that are not `closed` (n,) of each cluster, or all there are.

    More than the limit come back where they were found on the way. Starts with `depth` neighbours
    for each member (0: a guess) and doubles it until that is sure; returns the depth that did, too.
    Where a list has its limit, its beginning does not depend on the depth. Holds a block of the
    pool and ENTRIES neighbours beside its answer, never failures × pool.
    """
    free, per = int((~closed).sum()), -(-len(pool.vectors) // max(len(closed), 1))
    limits = np.minimum(limits, free)
    sizes = np.array([len(cluster.probes) for cluster in clusters])
    alone = limits + limits // 4 + 1  # what one member needs, some rows being closed
    depth = max(depth, per * int(np.minimum(alone, -(-SPARE * limits // sizes)).max()))
    search = _Asked(clusters, pool)
    while True:
        depth = min(depth, len(pool.vectors))
        found = search.run(pool, limits=limits, closed=closed, names=names, depth=depth)
        enough = all(len(f.rows) >= limit for f, limit in zip(found, limits, strict=True))
        if enough or depth == len(pool.vectors):
            return [replace(f, whole=len(f.rows) == free) for f in found], depth
        depth *= 2


class _Asked:
    """The clusters' distinct vectors, and which members of which clusters each stands for."""

    def __init__(self, clusters: Sequence[Cluster], pool: Patches) -> None:
        rows = [stacked(cluster.probes) + np.float32(0.0) for cluster in clusters]
        owners = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        members = np.concatenate([np.arange(len(part)) for part in rows])
        self.vectors, where = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
        order = np.argsort(where.ravel(), kind="stable")
        self.owners, self.members = owners[order], members[order]
        self.starts = np.searchsorted(where.ravel()[order], np.arange(len(self.vectors) + 1))
        self.count = len(clusters)
        self._search = Search(pool.vectors, queries=len(self.vectors))

    def run(
        self,
        pool: Patches,
        *,
        limits: NDArray[np.int64],
        closed: NDArray[np.bool_],
        names: Sequence[str] | None,
        depth: int,
    ) -> list[Reach]:
        """Each cluster's rows among the `depth` nearest of any member, as far as they are sure."""
        none = np.empty(0, dtype=np.int64)
        found = [Reach(none, none, none.astype(np.float32), none, whole=False)] * self.count
        bounds = np.full(self.count, -np.inf)
        step = max(1, ENTRIES // depth)
        for first in range(0, len(self.vectors), step):
            part = self.vectors[first : first + step]
            cosines, positions = self._search.nearest(part, k=depth, names=names)
            pieces: dict[int, list[Reach]] = {}
            for at in range(self.starts[first], self.starts[first + len(part)]):
                row = int(np.searchsorted(self.starts, at, side="right")) - 1 - first
                owner, open_ = int(self.owners[at]), ~closed[pool.owners[positions[row]]]
                hit = positions[row][open_]
                member = np.full(len(hit), self.members[at])
                pieces.setdefault(owner, []).append(
                    Reach(pool.owners[hit], hit, cosines[row][open_], member, whole=False)
                )
                if depth < len(pool.vectors):
                    bounds[owner] = max(bounds[owner], cosines[row, -1])
            for owner, new in pieces.items():
                limit = SURPLUS * int(limits[owner])
                found[owner] = _nearest_of([found[owner], *new], limit=limit)
        # A row that no member reached is at most as near as the last that one of them did reach.
        return [_cut(f, f.cosines > bound) for f, bound in zip(found, bounds, strict=True)]


def _nearest_of(pieces: Sequence[Reach], *, limit: int) -> Reach:
    """Each candidate once, by its nearest patch and member (of equal ones the first)."""
    rows = np.concatenate([p.rows for p in pieces])
    patches = np.concatenate([p.patches for p in pieces])
    cosines = np.concatenate([p.cosines for p in pieces])
    members = np.concatenate([p.members for p in pieces])
    by_row = np.lexsort((members, patches, -cosines, rows))
    once = by_row[np.flatnonzero(np.diff(rows[by_row], prepend=-1))]
    order = once[np.lexsort((rows[once], -cosines[once]))][:limit]
    return Reach(rows[order], patches[order], cosines[order], members[order], whole=False)


def _cut(found: Reach, keep: NDArray[np.bool_]) -> Reach:
    return Reach(
        found.rows[keep],
        found.patches[keep],
        found.cosines[keep],
        found.members[keep],
        whole=False,
    )

"""The search for neighbours: exact as long as that is a matter of seconds, in lists above.

Up to `EXACT` pairs of failures and rows every row is looked at. Above, the pool is clustered once
into lists, and a failure looks at the lists whose centres are nearest to it until they hold a
sixteenth of the pool; inside them the search is exact. Clustering costs as much as some hundred
failures do, so that below this size nothing is gained; benchmarks/targeted.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.cosines import fine
from annoloop.core.kmeans import clustered
from annoloop.core.neighbours import nearest

EXACT = 1 << 32
LISTS = 256
LOOKED_AT = 16
"""A failure looks at one row of the pool in so many, or at four times what it asks for."""


def approximate(queries: int, rows: int) -> bool:
    """Whether a search of so many vectors in a pool of so many rows goes by lists."""
    return queries * rows > EXACT


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """A pool (n, d) in clusters: `order` (n,) has their rows one after another, rising in each.

    List l is `order[starts[l] : starts[l + 1]]`; `centres` (l, d) are the means of unit rows.
    """

    pool: NDArray[np.floating]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    centres: NDArray[np.float64]

    def nearest(
        self, queries: NDArray[np.float32], *, k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Cosines and positions (q, k) as of `neighbours.nearest`, of the rows looked at."""
        sizes = np.diff(self.starts)
        enough = max(len(self.pool) / LOOKED_AT, 4 * k)
        near = np.argsort(-(fine(queries) @ fine(self.centres).T), axis=1, kind="stable")
        held = np.cumsum(sizes[near], axis=1)
        probed = held - sizes[near] < enough  # a list is looked at while those before it are few
        cosines = np.full((len(queries), k), -np.inf, dtype=np.float32)
        places = np.full((len(queries), k), len(self.pool), dtype=np.int64)
        for number in range(len(sizes)):
            asking = np.flatnonzero((probed & (near == number)).any(axis=1))
            if not len(asking):
                continue
            rows = self.order[self.starts[number] : self.starts[number + 1]]
            found, where = nearest(queries[asking], self.pool[rows], k=k)
            both = np.concatenate([cosines[asking], found], axis=1)
            either = np.concatenate([places[asking], rows[where]], axis=1)
            best = np.lexsort((either, -both), axis=1)[:, :k]
            cosines[asking] = np.take_along_axis(both, best, axis=1)
            places[asking] = np.take_along_axis(either, best, axis=1)
        return cosines, places


def listed(pool: NDArray[np.floating]) -> Lists:
    """The lists of a pool (n, d): the same whenever they are made, for any number of threads."""
    number = clustered(pool, LISTS, rng=np.random.default_rng(pool.shape))
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(int(number.max()) + 2))
    centres = np.stack(
        [
            fine(pool[order[first:last]]).mean(axis=0)
            for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        ]
    )
    return Lists(pool, order, starts, centres)


class Search:
    """Nearest rows of one pool (n, d) for a number of queries that is known beforehand."""

    def __init__(self, pool: NDArray[np.floating], *, queries: int) -> None:
        self._pool = pool
        self._lists = listed(pool) if approximate(queries, len(pool)) else None

    def nearest(
        self, queries: NDArray[np.float32], *, k: int, names: Sequence[str] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """As `neighbours.nearest`; in lists while `k` is small against what they hold."""
        if self._lists is None or 2 * LOOKED_AT * k > len(self._pool):
            return nearest(queries, self._pool, k=k, names=names)
        return self._lists.nearest(queries, k=k)

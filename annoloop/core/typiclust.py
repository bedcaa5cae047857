"""TypiClust: for the first labels, the most typical row of each cluster without labels.

Hacohen, Dekel, Weinshall (arXiv 2202.02794): cluster labelled and unlabelled rows together into as
many clusters as there will be labels, at most 500; visit the clusters with the fewest labels
first, of these the largest; take the row with the smallest mean distance to its 20 nearest
neighbours inside the cluster. Clusters too small for that come last.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from annoloop.core.kmeans import clustered
from annoloop.core.neighbours import nearest
from annoloop.core.panels import prepared

MOST = 500
TINY = 5
"""Clusters of so many rows, or fewer, are visited after all others."""
NEIGHBOURS = 20
LARGE = 5_000
"""Of a larger cluster so many rows, drawn at random, are compared with each other."""


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """Rows (m,) in the order of choice; `scores` (m,) are 1 / (1 + mean distance).

    `clusters` (m,) says which cluster each stands for, counted from 1 by falling size; `sizes` (m,)
    how many rows that has; `labels` (m,) how many of these were labelled or picked already.
    """

    positions: NDArray[np.int64]
    scores: NDArray[np.float64]
    clusters: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    count: int


def most_typical(
    vectors: NDArray[np.floating],
    *,
    want: int,
    rng: np.random.Generator,
    centres: NDArray[np.floating] | None = None,
    closed: NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
) -> Typical:
    """Up to `want` rows of `vectors` (n, d) that are not `closed` (n,), most typical first.

    `centres` (m, d) are the labelled rows. Distances are those of vectors at unit length; of equal
    means the lowest row comes first. `rng` starts the clustering and draws from large clusters.
    Raises VectorError as `panels.prepared` does.
    """
    n = len(vectors)
    rows = prepared(vectors, names=names)
    labelled = np.empty((0, vectors.shape[1]), np.float32) if centres is None else centres
    given = prepared(labelled, width=vectors.shape[1], what="labelled row")
    open_ = np.ones(n, dtype=bool) if closed is None else ~closed
    want = min(want, int(open_.sum()))
    none = np.empty(0, dtype=np.int64)
    if want < 1:
        return Typical(none, none.astype(np.float64), none, none, none, 0)
    everything = np.concatenate([rows.raw, given.raw]) if len(given.raw) else rows.raw
    number = clustered(everything, min(len(given.raw) + want, MOST, len(everything)), rng=rng)
    sizes = np.bincount(number)
    order = np.argsort(-sizes, kind="stable")  # number the clusters by falling size
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    number, sizes = place[number], sizes[order]
    labels = np.bincount(number[n:], minlength=len(sizes))
    visit = _Visit(rows.raw, np.where(open_, number[:n], -1), want=want, rng=rng)
    return visit.run(sizes, labels)


class _Visit:
    """The clusters in the order in which they are visited, each with its rows by typicality."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        number: NDArray[np.int64],
        *,
        want: int,
        rng: np.random.Generator,
    ) -> None:
        self.vectors, self.number, self.want, self.rng = vectors, number, want, rng
        by_cluster = np.argsort(number, kind="stable")
        starts = np.searchsorted(number[by_cluster], np.arange(number.max() + 2))
        self.members = [by_cluster[a:b] for a, b in pairwise(starts.tolist())]

    def run(self, sizes: NDArray[np.int64], labels: NDArray[np.int64]) -> Typical:
        queue = [(bool(sizes[c] <= TINY), int(labels[c]), c) for c in range(len(self.members))]
        heapq.heapify(queue)
        ranked: dict[int, list[tuple[float, int]]] = {}
        table: list[tuple[int, float, int, int, int]] = []
        while queue and len(table) < self.want:
            tiny, count, cluster = heapq.heappop(queue)
            if cluster not in ranked:
                ranked[cluster] = self._typical(self.members[cluster])
            if not ranked[cluster]:
                continue
            distance, row = ranked[cluster].pop()
            table.append((row, 1 / (1 + distance), cluster + 1, int(sizes[cluster]), count))
            heapq.heappush(queue, (tiny, count + 1, cluster))
        rows, scores, clusters, rows_in, labelled = zip(*table, strict=True)
        return Typical(
            np.array(rows, dtype=np.int64),
            np.array(scores, dtype=np.float64),
            np.array(clusters, dtype=np.int64),
            np.array(rows_in, dtype=np.int64),
            np.array(labelled, dtype=np.int64),
            len(sizes),
        )

    def _typical(self, members: NDArray[np.int64]) -> list[tuple[float, int]]:
        """(mean distance, row), the most typical last; a large cluster by a sample of it."""
        rest: list[tuple[float, int]] = []
        if len(members) > LARGE:
            drawn = np.zeros(len(members), dtype=bool)
            drawn[self.rng.choice(len(members), LARGE, replace=False)] = True
            # Those not drawn come after the others, if they come at all.
            rest = [(2.0, int(row)) for row in members[~drawn][::-1]]
            members = members[drawn]
        if len(members) < 2:
            return rest + [(0.0, int(row)) for row in members]
        some = self.vectors[members]
        cosines, _ = nearest(some, some, k=min(NEIGHBOURS + 1, len(members)))
        # Each row is its own first neighbour, or ties with it: the first column is left out.
        distance = np.sqrt(np.maximum(2.0 - 2.0 * cosines[:, 1:].astype(np.float64), 0.0))
        mean = distance.mean(axis=1)
        order = np.lexsort((members, mean))[::-1]
        return rest + [(float(mean[i]), int(members[i])) for i in order]

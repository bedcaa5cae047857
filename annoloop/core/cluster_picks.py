"""Clusters of failures → pool images, by quota, alike but not all the same.

The quotas are dealt one pick at a time (Huntington and Hill's rule, which gives every cluster its
first before any gets its second), so that every beginning of the ranking keeps them, and a longer
ranking only goes on where a shorter one ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.cluster_reach import Reach, reach
from annoloop.core.clusters import Cluster
from annoloop.core.cosines import coarse
from annoloop.core.patches import Patches, patches_of
from annoloop.core.targeting import in_region
from annoloop.records import Box

LARGEST_SHARE = 4
"""No cluster gets more than one pick in so many, where there are so many clusters."""
VARIETY = 0.3
"""Weight λ of likeness to the cluster's own picks (maximal marginal relevance)."""
WINDOW, STRETCH, WIDEST = 32, 3, 1_024
"""A cluster chooses among its nearest 32 images, 3 more after each pick, never above 1,024."""


TOGETHER = 4_096
"""Picks that rows are compared with at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ClusterPicks:
    """Ranked candidates (m,), each with its cluster and the member of it that is nearest.

    `regions` (m,) are the places in them that are near, None for whole images;
    `numbers` (m,) count the picks of a cluster from 1, `quotas` (c,) are all that it got.
    """

    clusters: tuple[Cluster, ...]
    positions: NDArray[np.int64]
    cosines: NDArray[np.float32]
    owners: NDArray[np.int64]
    members: NDArray[np.int64]
    numbers: NDArray[np.int64]
    quotas: NDArray[np.int64]
    regions: tuple[Box | None, ...]

    def explain(self, index: int) -> tuple[str, dict[str, Any]]:
        """Reason and details of the row at `index` of `positions`."""
        owner, cosine = int(self.owners[index]), float(self.cosines[index])
        cluster = self.clusters[owner]
        query = cluster.probes[int(self.members[index])].query
        number, quota = int(self.numbers[index]), int(self.quotas[owner])
        below = cosine < cluster.floor
        crowd = f"{cluster.failures} failure{'s' if cluster.failures > 1 else ''}"
        if 1 < len(cluster.probes) < cluster.failures:
            crowd += f" in {len(cluster.probes)} images"
        reason = (
            f"targeted: {number} of {quota} for {query.text} (cluster of {crowd}, "
            f"e.g. val image {query.where}), cosine {cosine:.2f}"
        )
        region = self.regions[index]
        reason += in_region(region)
        if below:
            reason += f", below the {cluster.floor:.2f} that belongs to the cluster"
        return reason, {
            "failure_sample_id": query.failure.sample_id,
            "failure_type": str(query.failure.type),
            "class_id": query.failure.class_id,
            "failures": cluster.failures,
            "cluster": owner,
            "clusters": len(self.clusters),
            "cluster_images": len(cluster.probes),
            "cluster_pick": number,
            "cluster_quota": quota,
            "cosine": cosine,
            "floor": cluster.floor,
            "below_floor": below,
            **({} if region is None else {"region": list(region)}),
        }


def rank_clusters(
    clusters: Sequence[Cluster],
    pool: NDArray[np.floating] | Patches,
    *,
    want: int,
    taken: NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
    variety: float = VARIETY,
) -> ClusterPicks:
    """Up to `want` candidates that are not `taken` (n,), best first.

    `pool` are the vectors (n, d) of the candidates, or patches of them: then a candidate is as near
    as its nearest patch. Each pick goes to the cluster with the highest weight / sqrt(k (k + 1))
    that has k picks so far, one without picks first. Of four clusters or more none gets more than a
    quarter (rounded up) of any beginning. A cluster takes, among the nearest images that are left,
    the one with the highest cosine to any of its members less `variety` × the highest to one of its
    own picks; its images below its floor come after all that lie above one, and what is over a
    quarter after those: a floor puts things in order and never shortens, and what a cluster cannot
    spend flows to the others. Only the first pick of a cluster is taken whatever its floor. Raises
    VectorError as `neighbours.nearest` does.
    """
    patches = patches_of(pool)
    count = int(patches.owners.max(initial=-1)) + 1
    closed = np.zeros(count, dtype=bool) if taken is None else taken
    want = min(want, int((~closed).sum()))
    if not clusters or want < 1:
        return _picks(clusters, patches, [], [])
    weights = np.array([cluster.weight for cluster in clusters])
    # Clusters take from each other's lists: twice as long ones cost less than a second search.
    limits = 2 * _room(_planned(weights, want))
    depth = 0
    while True:
        reached, depth = reach(
            clusters, patches, limits=limits, closed=closed, names=names, depth=depth
        )
        lines = [
            _Line(patches.vectors, found, floor=cluster.floor, variety=variety)
            for found, cluster in zip(reached, clusters, strict=True)
        ]
        picks = _deal(lines, weights, want=want, picked=closed.copy())
        if not any(line.starved for line in lines):
            break
        limits = 2 * limits
    return _picks(clusters, patches, reached, picks)


def _picks(
    clusters: Sequence[Cluster],
    patches: Patches,
    reached: Sequence[Reach],
    dealt: Sequence[tuple[int, int]],
) -> ClusterPicks:
    quotas = [0] * len(clusters)
    numbers = []
    for owner, _ in dealt:
        quotas[owner] += 1
        numbers.append(quotas[owner])
    return ClusterPicks(
        tuple(clusters),
        np.array([reached[owner].rows[at] for owner, at in dealt], dtype=np.int64),
        np.array([reached[owner].cosines[at] for owner, at in dealt], dtype=np.float32),
        np.array([owner for owner, _ in dealt], dtype=np.int64),
        np.array([reached[owner].members[at] for owner, at in dealt], dtype=np.int64),
        np.array(numbers, dtype=np.int64),
        np.array(quotas, dtype=np.int64),
        tuple(patches.box(int(reached[owner].patches[at])) for owner, at in dealt),
    )


def _room(picks: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many images a cluster's list needs for so many picks."""
    return picks + np.minimum(WINDOW + STRETCH * picks, WIDEST)


def _planned(weights: NDArray[np.float64], want: int) -> NDArray[np.int64]:
    """The quotas (c,) where every cluster has images enough."""
    got = np.zeros(len(weights), dtype=np.int64)
    for number in range(1, want + 1):
        got[_next(weights, got, may=got < _most(len(weights), number))] += 1
    return got


def _most(clusters: int, number: int) -> int:
    """The most picks that one cluster may have when `number` picks are dealt."""
    return -(-number // LARGEST_SHARE) if clusters >= LARGEST_SHARE else number


def _next(
    weights: NDArray[np.float64], got: NDArray[np.int64], *, may: NDArray[np.bool_]
) -> int | None:
    """Whose turn it is among those that `may`: the first of the highest claims; None if no one."""
    if not may.any():
        return None
    claims = np.where(got > 0, weights / np.sqrt(np.maximum(got * (got + 1), 1)), np.inf)
    return int(np.where(may, claims, -1.0).argmax())


def _deal(
    lines: Sequence[_Line], weights: NDArray[np.float64], *, want: int, picked: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Cluster and place in its list of each pick, in order; ends early if a line is starved."""
    got = np.zeros(len(lines), dtype=np.int64)
    above = np.ones(len(lines), dtype=bool)
    any_left = above.copy()
    picks: list[tuple[int, int]] = []
    while len(picks) < want:
        within = got < _most(len(lines), len(picks) + 1)
        turns = (
            (within & above, True),
            (within & any_left, False),
            (above, True),
            (any_left, False),
        )
        asked = ((_next(weights, got, may=may), floored) for may, floored in turns)
        owner, floored = next((turn for turn in asked if turn[0] is not None), (None, False))
        if owner is None:
            return picks
        place = lines[owner].best(picked, floored=floored and got[owner] > 0)
        if lines[owner].starved:
            return picks
        if place is None:
            (above if floored else any_left)[owner] = False
            continue
        lines[owner].take(place)
        picked[lines[owner].found.rows[place]] = True
        got[owner] += 1
        picks.append((owner, place))
    return picks


class _Line:
    """One cluster's images by falling cosine, and how much each is like its picks so far.

    `starved` says that the list ended before the window was full, although the pool goes on.
    """

    def __init__(
        self, vectors: NDArray[np.floating], found: Reach, *, floor: float, variety: float
    ) -> None:
        self.found, self.floor, self.starved = found, floor, False
        self._vectors, self._variety = vectors, variety
        self._units = np.empty((len(found.rows), vectors.shape[1]), dtype=np.float32)
        self._alike = np.zeros(len(found.rows), dtype=np.float32)
        self._against = np.zeros(len(found.rows), dtype=np.int64)
        """How many of the picks, from the first on, each row was compared with."""
        self._mine = np.empty((WINDOW, vectors.shape[1]), dtype=np.float32)
        self._open = np.empty(0, dtype=np.int64)
        self._count = self._seen = self._likened = 0

    def best(self, picked: NDArray[np.bool_], *, floored: bool) -> int | None:
        """The place of the next pick; None if nothing is left (or nothing above the floor)."""
        room = min(WINDOW + STRETCH * self._count, WIDEST)
        among = self._first(picked, room)
        self.starved = len(among) < room and not self.found.whole
        if floored:
            among = among[self.found.cosines[among] >= self.floor]
        if self.starved or not len(among):
            return None
        if not self._count:  # nothing to be like yet
            return int(among[0])
        self._liken(among)
        gain = self.found.cosines[among] - self._variety * self._alike[among].astype(np.float64)
        return int(among[gain.argmax()])

    def _first(self, picked: NDArray[np.bool_], room: int) -> NDArray[np.int64]:
        """The first `room` places that nobody has picked, or all there are."""
        while True:
            head = self._open[:room]
            gone = picked[self.found.rows[head]]
            if gone.any():
                self._open = np.concatenate([head[~gone], self._open[room:]])
            elif len(head) == room or self._seen == len(self.found.rows):
                return head
            else:
                self._look_on(picked, room)

    def _look_on(self, picked: NDArray[np.bool_], room: int) -> None:
        # Twice as far each time: many small looks cost more than some rows in vain.
        last = min(len(self.found.rows), self._seen + max(2 * room, self._seen))
        new = np.arange(self._seen, last)
        self._seen = last
        self._open = np.concatenate([self._open, new[~picked[self.found.rows[new]]]])

    def _liken(self, among: NDArray[np.int64]) -> None:
        """Compare these rows with the picks that they were not compared with yet.

        The likeness to many picks is a product of many rows at once, for the rows to come too.
        """
        first, last = int(among[0]), int(among[-1]) + 1
        while self._likened < last:
            new = slice(self._likened, min(self._likened + WIDEST, self._seen))
            self._units[new] = coarse(self._vectors[self.found.patches[new]])
            self._compare(new, 0)
            self._likened = new.stop
        behind = self._against[among]
        late = among[behind < self._count - 1]
        if len(late):
            self._compare(late, int(behind.min()))
        # Between the first and the last of them are only rows that were picked.
        near = last - first <= 2 * len(among)
        self._compare(slice(first, last) if near else among, self._count - 1)

    def _compare(self, rows: slice | NDArray[np.int64], first: int) -> None:
        """How much rows are like the picks from `first` on: exact, whatever the order."""
        units = self._units[rows]
        for start in range(first, self._count, TOGETHER):
            picks = self._mine[start : min(start + TOGETHER, self._count)]
            self._alike[rows] = np.maximum(self._alike[rows], (units @ picks.T).max(axis=1))
        self._against[rows] = self._count

    def take(self, place: int) -> None:
        """Count this place as picked: what is like it becomes less wanted."""
        if self._likened <= place:  # the first pick of all is compared with nothing
            self._units[place] = coarse(self._vectors[self.found.patches[place : place + 1]])[0]
        if self._count == len(self._mine):
            self._mine = np.concatenate([self._mine, np.empty_like(self._mine)])
        self._mine[self._count] = self._units[place]
        self._count += 1

"""Near-duplicates: a perceptual hash proposes, pixels confirm, clusters do not chain.

Boards under a fixed camera, scans and night scenes look alike to a hash. So a pair counts only if
its thumbnails agree everywhere, a crowd is reported and not expanded, and a cluster that would hold
more than a small share of the samples is dissolved.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import InputError

MAX_DISTANCE = 4
"""Bits of 64 in which two hashes may differ."""
CROWD = 256
"""From more than so many images with equal parts of their hash, not all pairs are compared."""
SIDE = 32
"""Width and height of a thumbnail."""
CELL = 2
"""Width and height of the cells whose mean grey may not differ much."""
MAX_MEAN_DIFFERENCE = 4.0
MAX_CELL_DIFFERENCE = 16.0
"""Grey levels of 255. Measured on 180 photographs: copies that were compressed again, halved or
made noisy differ by less than 1 on average and by at most 3 in a cell (95 %), cut by 0.5 % on each
side by 3 and 16; an object of 4 % of the width that stands out differs by 18 or more in a cell
(95 %), but by 0.3 on average, which is why the average alone does not confirm."""
LIMIT_SHARE = 0.02
CHUNK = 1 << 14


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """Pairs of positions (m, 2), lower first, sorted; those in `crowded` (c,) were not all met."""

    pairs: NDArray[np.int64]
    crowded: NDArray[np.int64]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Near-duplicates in clusters.

    `representative` (n,) is the position that stands for each sample (itself where it is alone).
    `pairs` (m, 2) are the confirmed pairs inside of clusters, `apart` those that link two clusters,
    `dissolved` the clusters that were too large to be believed, as tuples of positions.
    """

    representative: NDArray[np.int64]
    pairs: NDArray[np.int64]
    apart: NDArray[np.int64]
    dissolved: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()


def propose(
    hashes: NDArray[np.uint64], *, max_distance: int = MAX_DISTANCE, crowd: int = CROWD
) -> Proposal:
    """All pairs of `hashes` (n,) that differ in at most `max_distance` bits.

    Of `max_distance` + 2 bands of the 64 bits, two at least are untouched in such a pair: samples
    are brought together by every two bands, and only those that meet are compared. Exact but for
    places where more than `crowd` samples meet: these are reported in `crowded`.
    """
    if not 0 <= max_distance <= 30:
        raise InputError(
            f"hashes that differ in {max_distance} of 64 bits say nothing",
            fix="Allow 0 to 30 bits; 4 is the default.",
        )
    n = len(hashes)
    found = [np.empty(0, dtype=np.int64)]
    crowded = np.zeros(n, dtype=bool)
    for key in _keys(hashes, max_distance + 2):
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[:n])
        size = np.diff(np.append(starts, n))
        ends = np.repeat(starts + size, size)
        full = np.repeat(size > crowd, size)
        crowded[order[full]] = True
        rows = np.flatnonzero(~full)
        step = 1
        while True:  # each sample against the one `step` places on, as long as they meet
            rows = rows[rows + step < ends[rows]]
            if not len(rows):
                break
            a, b = order[rows], order[rows + step]
            near = np.bitwise_count(hashes[a] ^ hashes[b]) <= max_distance
            found.append(np.minimum(a, b)[near] * n + np.maximum(a, b)[near])
            step += 1
    codes = np.unique(np.concatenate(found))
    pairs = np.stack([codes // max(n, 1), codes % max(n, 1)], axis=1)
    count = int(crowded.sum())
    notes = (
        f"{count} images look alike to the hash in crowds of more than {crowd}: not every two of "
        "them were compared",
    )
    return Proposal(pairs, np.flatnonzero(crowded), notes if count else ())


def _keys(hashes: NDArray[np.uint64], bands: int) -> Iterator[NDArray[np.uint64]]:
    edges = [64 * i // bands for i in range(bands + 1)]
    masks = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    for first, second in combinations(masks, 2):
        yield hashes & np.uint64(first | second)


def confirm(
    pairs: NDArray[np.int64],
    thumbnails: NDArray[np.uint8],
    *,
    max_mean_difference: float = MAX_MEAN_DIFFERENCE,
    max_cell_difference: float = MAX_CELL_DIFFERENCE,
) -> NDArray[np.bool_]:
    """Which of the `pairs` (m, 2) are near-duplicates by their grey `thumbnails` (n, 1024).

    The mean absolute difference must be small, and so must that of the mean grey in every cell of
    2 × 2 pixels, so that an object which moved before a fixed camera is noticed.
    """
    if thumbnails.ndim != 2 or thumbnails.shape[1] != SIDE * SIDE:
        raise InputError(
            f"thumbnails of shape {thumbnails.shape}",
            fix=f"Give {SIDE} × {SIDE} grey pixels for each image, as one row.",
        )
    result = np.empty(len(pairs), dtype=bool)
    cells = SIDE // CELL
    for start in range(0, len(pairs), CHUNK):
        part = slice(start, start + CHUNK)
        a, b = pairs[part, 0], pairs[part, 1]
        difference = thumbnails[a].astype(np.int16) - thumbnails[b]
        mean = np.abs(difference).mean(axis=1)
        by_cell = difference.reshape(-1, cells, CELL, cells, CELL).mean(axis=(2, 4))
        worst = np.abs(by_cell).max(axis=(1, 2))
        result[part] = (mean <= max_mean_difference) & (worst <= max_cell_difference)
    return result


def clusters(n: int, pairs: NDArray[np.int64], *, limit_share: float = LIMIT_SHARE) -> Clusters:
    """Stars of confirmed `pairs` (m, 2) among `n` samples: a centre, and its confirmed partners.

    The sample with the most free partners is the next centre (of equal ones the lowest), so nothing
    joins a cluster through a third image. A star of more than max(2, `limit_share` × n) samples is
    dissolved, with all its pairs.
    """
    limit = max(2, math.floor(limit_share * n))
    partners: dict[int, set[int]] = {}
    for a, b in pairs.tolist():
        if a != b:
            partners.setdefault(a, set()).add(b)
            partners.setdefault(b, set()).add(a)
    representative = np.arange(n, dtype=np.int64)
    free = set(partners)
    dissolved: list[tuple[int, ...]] = []
    queue = [(-len(others), centre) for centre, others in partners.items()]
    heapq.heapify(queue)
    while queue:
        promised, centre = heapq.heappop(queue)
        if centre not in free:
            continue
        members = partners[centre] & free
        if len(members) < -promised:  # some were taken since: it queues again
            if members:
                heapq.heappush(queue, (-len(members), centre))
            continue
        free -= {centre, *members}
        if len(members) < limit:
            representative[sorted(members)] = centre
        else:
            dissolved.append(tuple(sorted({centre, *members})))
    lone = np.zeros(n, dtype=bool)
    lone[[i for star in dissolved for i in star]] = True
    kept = np.array(sorted({(min(p), max(p)) for p in pairs.tolist() if p[0] != p[1]}))
    kept = kept.astype(np.int64).reshape(-1, 2)
    kept = kept[~lone[kept].any(axis=1)]
    inside = representative[kept[:, 0]] == representative[kept[:, 1]]
    return Clusters(
        representative,
        kept[inside],
        kept[~inside],
        tuple(dissolved),
        _notes(dissolved, int((~inside).sum()), limit),
    )


def _notes(dissolved: list[tuple[int, ...]], apart: int, limit: int) -> tuple[str, ...]:
    notes = []
    if dissolved:
        count, largest = sum(map(len, dissolved)), max(map(len, dissolved))
        notes.append(
            f"{count} images look alike in {len(dissolved)} sets of more than {limit} (up to "
            f"{largest}): scenes, not near-duplicates; declare groups to keep them together"
        )
    if apart:
        notes.append(f"{apart} near-duplicate pairs link two clusters and do not join them")
    return tuple(notes)

"""The compiled half of facility location: gains, the pairs that matter, and the greedy choice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from annoloop.core.panels import (
    LANES,
    Centres,
    Vectors,
    approach,
    centred,
    compiled,
    four,
    products,
    spread,
    unknown,
)

UNIT = 1 << 30
"""Cosines are counted in this many steps to 1."""
IMAGES = 256


class Lists(NamedTuple):
    """For each image its candidates and their cosines: `starts` (R + 1,), the others one a pair.

    Candidates are numbers from 0 on, rising for each image.
    """

    starts: NDArray[np.int64]
    candidates: NDArray[np.int32]
    cosines: NDArray[np.int32]


def served(rows: Vectors, images: NDArray[np.int64], centres: Centres) -> NDArray[np.int32]:
    """The largest cosine of each image to a centre, at least 0, in steps (R,)."""
    known = unknown(len(rows.raw))
    approach(rows, images, centres, known)
    return (np.maximum(known.best[images], 0.0) * np.float32(UNIT)).astype(np.int32)


@compiled
def _listed(
    rows: Vectors,
    images: NDArray[np.int64],
    have: NDArray[np.int32],
    centres: Centres,
    found: tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]],
) -> None:
    columns, count = centres
    counts, candidates, cosines = found
    room = candidates.shape[1]
    some, out = np.empty(4, np.int64), np.empty((4, LANES), np.float32)
    for number in range((count + LANES - 1) // LANES):
        used = min(LANES, count - number * LANES)
        for at in range(0, len(images), 4):
            four(images, at, len(images), some)
            products(rows.raw, some, columns[number], out)
            for i in range(min(4, len(images) - at)):
                inverse, mine, filled = rows.inverse[some[i]], have[at + i], counts[at + i]
                if filled + LANES > room:
                    for lane in range(used):
                        cosine = max(out[i, lane] * inverse, np.float32(0.0))
                        filled += np.int32(cosine * np.float32(UNIT)) > mine
                else:
                    for lane in range(used):
                        cosine = max(out[i, lane] * inverse, np.float32(0.0))
                        steps = np.int32(cosine * np.float32(UNIT))
                        candidates[at + i, filled] = number * LANES + lane
                        cosines[at + i, filled] = steps
                        filled += steps > mine
                counts[at + i] = filled


def lists(
    rows: Vectors,
    images: NDArray[np.int64],
    have: NDArray[np.int32],
    candidates: NDArray[np.int64],
    *,
    expected: int,
) -> Lists:
    """For each image the candidates with more cosine to it than it has, about `expected` each."""
    centres = centred(rows, candidates)
    room = 2 * expected + LANES

    def work(first: int, last: int) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
        nonlocal room
        while True:
            size = last - first
            places = np.empty((size, room), np.int32), np.empty((size, room), np.int32)
            counts = np.zeros(size, np.int64)
            found = (counts, *places)
            _listed(rows, images[first:last], have[first:last], centres, found)
            if counts.max() + LANES <= places[0].shape[1]:
                inside = np.arange(places[0].shape[1]) < counts[:, None]
                return counts, [place[inside] for place in places]
            room = max(room, int(counts.max()) * 5 // 4 + LANES)

    parts = spread(work, len(images), step=IMAGES)
    starts = np.zeros(len(images) + 1, dtype=np.int64)
    if not parts:
        return Lists(starts, np.empty(0, np.int32), np.empty(0, np.int32))
    np.cumsum(np.concatenate([counts for counts, _ in parts]), out=starts[1:])
    return Lists(
        starts,
        np.concatenate([kept[0] for _, kept in parts]),
        np.concatenate([kept[1] for _, kept in parts]),
    )


@compiled
def _turned(found: Lists, n: int) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """The same pairs by candidate: starts, images, cosines."""
    starts, candidates, cosines = found
    first = np.zeros(n + 1, np.int64)
    for at in range(len(candidates)):
        first[candidates[at] + 1] += 1
    for j in range(n):
        first[j + 1] += first[j]
    place = first[:-1].copy()
    images, values = np.empty(len(candidates), np.int32), np.empty(len(candidates), np.int32)
    for image in range(len(starts) - 1):
        for at in range(starts[image], starts[image + 1]):
            j = candidates[at]
            images[place[j]] = image
            values[place[j]] = cosines[at]
            place[j] += 1
    return first, images, values


@compiled
def drain(
    found: Lists, have: NDArray[np.int32], n: int, want: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Greedy choice among candidates 0 … n - 1: numbers, gains, images that each then represents.

    `have` rises in place, and pairs that no longer matter are dropped from the lists. Ends with
    the first gain of 0.
    """
    starts, candidates, cosines = found
    first, images, values = _turned(found, n)
    ends = starts[1:].copy()
    gain = np.zeros(n, np.int64)
    for image in range(len(starts) - 1):
        for at in range(starts[image], ends[image]):
            gain[candidates[at]] += cosines[at] - have[image]
    order, gains, counts = (
        np.empty(want, np.int64),
        np.empty(want, np.int64),
        np.empty(want, np.int64),
    )
    done = 0
    while done < want and n > 0:
        pick = np.argmax(gain)
        if gain[pick] <= 0:
            break
        order[done], gains[done], counts[done] = pick, gain[pick], 0
        for at in range(first[pick], first[pick + 1]):
            image, value = images[at], values[at]
            before = have[image]
            if value <= before:
                continue
            counts[done] += 1
            have[image] = value
            kept = starts[image]
            for pair in range(starts[image], ends[image]):
                other = cosines[pair]
                gain[candidates[pair]] -= min(other, value) - before
                if other > value:
                    candidates[kept] = candidates[pair]
                    cosines[kept] = other
                    kept += 1
            ends[image] = kept
        done += 1
    return order[:done], gains[:done], counts[:done]

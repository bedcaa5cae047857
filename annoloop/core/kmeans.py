"""k-means on the sphere, the same for any number of threads.

Rows belong to the centre of greatest cosine, centres are the means of their rows (Dhillon and Modha
2001), started by greedy k-means++ (Arthur and Vassilvitskii 2007) on a sample.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from annoloop.core.panels import Vectors, approach, centred, prepared, table, unknown

ROUNDS = 20
TRAINED = 128
"""Rows that centres are fitted on, for each cluster."""
STARTED = 16
"""Rows among which starting centres are drawn, for each cluster."""
TRIALS = 16
"""Rows tried for each starting centre; a panel holds them all at one price."""


def clustered(
    vectors: NDArray[np.floating], k: int, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """The cluster of each row of `vectors` (n, d), numbers from 0 without gaps, at most `k`.

    Centres are fitted on a random sample where there are more than 128 rows for each. Raises
    VectorError as `panels.prepared` does.
    """
    rows = prepared(vectors)
    n = len(rows.raw)
    sample = np.sort(rng.choice(n, min(n, TRAINED * k), replace=False))
    some = rows.rows(sample)
    centres = _start(some, k, rng)
    number = _assigned(some, centres)
    for _ in range(ROUNDS):
        centres = _means(some, number, centres)
        moved = _assigned(some, centres)
        if (moved == number).all():
            break
        number = moved
    final = number if len(sample) == n else _assigned(rows, centres)
    return np.unique(final, return_inverse=True)[1].astype(np.int64)


def _start(rows: Vectors, k: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """k rows, each drawn by its distance to those before it: the best of `TRIALS` at a time."""
    chosen = rng.choice(len(rows.raw), min(len(rows.raw), STARTED * k), replace=False)
    some = rows.rows(np.sort(chosen))
    everyone = np.arange(len(some.raw))
    far = np.full(len(everyone), 2.0, dtype=np.float32)
    picks: list[int] = []
    while len(picks) < k:
        sums = np.cumsum(far, dtype=np.float64)
        if sums[-1] <= 0.0:
            break
        at = np.searchsorted(sums, rng.random(TRIALS) * sums[-1], side="right")
        tried = np.minimum(at, len(everyone) - 1)
        apart = np.maximum(1 - table(some, everyone, centred(some, tried)), 0)
        apart[tried, np.arange(TRIALS)] = 0.0
        left = np.minimum(far[:, None], apart)
        best = int(np.argmin(left.sum(axis=0, dtype=np.float64)))
        far = left[:, best]
        picks.append(int(tried[best]))
    found: NDArray[np.float32] = some.raw[picks] * some.inverse[picks, None]
    return found


def _assigned(rows: Vectors, centres: NDArray[np.float32]) -> NDArray[np.int64]:
    known = unknown(len(rows.raw))
    approach(rows, np.arange(len(rows.raw)), centred(prepared(centres)), known)
    return known.nearest


def _means(
    rows: Vectors, number: NDArray[np.int64], centres: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The mean direction of each cluster; an empty one stays where it was."""
    out = centres.copy()
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(centres) + 1))
    for cluster, (first, last) in enumerate(pairwise(starts.tolist())):
        if last > first:
            mine = order[first:last]
            mean = (rows.raw[mine] * rows.inverse[mine, None]).sum(axis=0, dtype=np.float64)
            length = float(np.sqrt((mean * mean).sum()))
            if length > 0.0:
                out[cluster] = mean / length
    return out

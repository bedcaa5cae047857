"""Farthest-first: each pick is the row least like everything chosen before it (k-centre).

Gonzalez (1985) shows that the greatest distance of any row to its nearest pick is then at most
twice the smallest that is possible. Sener and Savarese (arXiv 1708.00489) use it to choose what to
label, with the labelled rows as centres already, as here. Distance is cosine distance, 1 - cosine.

Distances to the nearest centre only shrink. So a row is brought up to date only when what it knew
puts it among the farthest, and most rows never meet most centres; the picks are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.panels import (
    Centres,
    Closest,
    Vectors,
    approach,
    centred,
    joined,
    prepared,
    table,
    unknown,
)

FRONT = 512
"""Rows brought up to date at a time. They are compared with each other, so not too many."""


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Rows (m,) in the order of choice, each with its cosine distance when it was chosen.

    `nearest` says to what: below `centres` that centre, from there on the pick at `nearest` -
    `centres`; -1 for a first pick with nothing before it, whose distance is to the pool's mean.
    """

    positions: NDArray[np.int64]
    distances: NDArray[np.float64]
    nearest: NDArray[np.int64]
    centres: int


def farthest_first(
    vectors: NDArray[np.floating],
    *,
    want: int,
    centres: NDArray[np.floating] | None = None,
    closed: NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
) -> Spread:
    """Up to `want` rows of `vectors` (n, d) that are not `closed` (n,), farthest first.

    `centres` (m, d) are there from the beginning. Without any, the row most like the mean of all
    rows comes first. Of equally far rows the lowest comes first. Vectors of length zero are alike
    (cosine 1) and at cosine 0 to all others. Raises VectorError as `panels.prepared` does.
    """
    rows = prepared(vectors, names=names)
    given = prepared(
        np.empty((0, vectors.shape[1]), np.float32) if centres is None else centres,
        width=vectors.shape[1],
        what="labelled row",
    )
    chase = _Chase(rows, given, want=want, closed=closed)
    picks, distances, nearest = chase.run()
    return Spread(
        np.array(picks, dtype=np.int64),
        np.clip(np.array(distances, dtype=np.float64), 0.0, 2.0),
        np.array(nearest, dtype=np.int64),
        len(given.raw),
    )


class _Chase:
    """The state of one search: centres so far, and what each row knows of them."""

    def __init__(
        self, rows: Vectors, given: Vectors, *, want: int, closed: NDArray[np.bool_] | None
    ) -> None:
        n = len(rows.raw)
        self.rows = rows
        self.open = np.ones(n, dtype=bool) if closed is None else ~closed
        self.want = min(want, int(self.open.sum()))
        self.void = rows.inverse == 0.0
        self.known: Closest = unknown(n)
        self.centres: Centres = centred(given, room=max(0, self.want))
        self.picks: list[int] = []
        self.distances: list[float] = []
        self.nearest: list[int] = []
        zeros = np.flatnonzero(given.inverse == 0.0)
        if len(zeros):
            self._meet_void(int(zeros[0]))

    def run(self) -> tuple[list[int], list[float], list[int]]:
        if self.want < 1:
            return [], [], []
        if not self.centres.used:
            self._start()
        front = FRONT
        everyone = np.flatnonzero(self.open)
        first = Centres(self.centres.columns[:1], min(self.centres.used, 64))
        approach(self.rows, everyone, first, self.known)
        while len(self.picks) < self.want:
            got = self._advance(front)
            front = FRONT if got else 2 * front
        return self.picks, self.distances, self.nearest

    def _start(self) -> None:
        """The first pick where there is no centre: the open row most like the mean of all."""
        mean = np.zeros(self.rows.raw.shape[1])
        for start in range(0, len(self.rows.raw), FRONT):
            part = slice(start, start + FRONT)
            mean += (self.rows.raw[part] * self.rows.inverse[part, None]).sum(axis=0, dtype=float)
        middle = centred(prepared(mean[None]))
        cosines = table(self.rows, np.arange(len(self.open)), middle)[:, 0]
        row = int(np.argmax(np.where(self.open, cosines, -np.inf)))
        self._pick(row, 1.0 - float(cosines[row]), -1)
        self._settle([row])

    def _advance(self, front: int) -> int:
        """Pick from the rows that are farthest by what they know; how many could be picked."""
        best = np.where(self.open, self.known.best, np.inf)
        index, level = _least(best, front)
        approach(self.rows, index, self.centres, self.known)
        value = self.known.best[index]
        if float(value.min()) > level:
            return 0
        nearest = self.known.nearest[index]
        # All ties belong to the front; where they are many, it is too large to compare with itself.
        few = len(index) <= 2 * FRONT
        between = table(self.rows, index, centred(self.rows, index)) if few else None
        got: list[int] = []
        while len(self.picks) < self.want:
            at = int(np.argmin(value))
            if not value[at] <= level:
                break
            row, number = int(index[at]), self.centres.used + len(got)
            self._pick(row, 1.0 - float(value[at]), int(nearest[at]))
            got.append(row)
            if between is None:
                break
            closer = between[:, at] > value
            value[closer], nearest[closer] = between[closer, at], number
            if self.void[row]:
                value[self.void[index] & (value < 1.0)] = 1.0
            value[at] = np.inf
        self._settle(got)
        return len(got)

    def _pick(self, row: int, distance: float, nearest: int) -> None:
        self.picks.append(row)
        self.distances.append(distance)
        self.nearest.append(nearest)
        self.open[row] = False

    def _settle(self, got: list[int]) -> None:
        void = [at for at, row in enumerate(got) if self.void[row]]
        if void:
            self._meet_void(self.centres.used + void[0])
        self.centres = joined(self.centres, self.rows.rows(np.array(got, dtype=np.int64)))

    def _meet_void(self, number: int) -> None:
        self.known.best[self.void] = 1.0
        self.known.nearest[self.void] = number


def _least(values: NDArray[np.floating], count: int) -> tuple[NDArray[np.int64], float]:
    """Positions of the `count` least finite values and their ties, rising; the last of them."""
    finite = int(np.isfinite(values).sum())
    if count >= finite:
        return np.flatnonzero(np.isfinite(values)), np.inf
    level = float(np.partition(values, count - 1)[count - 1])
    return np.flatnonzero(values <= level), level

"""Facility location: the rows that together represent the pool best, given what is labelled.

A set is worth Σ_u max(0, largest cosine of u to a member), over the images u of the pool. The next
pick j is the one that adds most, gain(j) = Σ_u max(0, s(u, j) - have(u)), where have(u) is the
largest cosine of u to anything labelled or picked so far, at least 0. Greedy choice is within
1 - 1/e of the best set (Nemhauser, Wolsey, Fisher 1978). Cosines are counted in units of 2^-30, so
that gains are whole numbers: no order of summation, and no number of threads, can change a pick.

Exact where all pairs of image and candidate fit into `PAIRS` (8,192 rows). Where they do not, an
image counts only the candidates most like it, so many that the pairs fit; above `WHOLE` rows a
random sample of the images counts for all, a fresh one for each stretch of picks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.facility_kernel import UNIT, drain, lists, served
from annoloop.core.panels import Vectors, centred, prepared, table

WHOLE = 50_000
SAMPLE = 20_000
"""Images that stand for a larger pool."""
PER_PICK = 64
"""Images of the sample for each pick, if that makes fewer than `SAMPLE`; at least `SMALLEST`."""
SMALLEST = 2_000
STRETCH = 4
"""A sample of R images serves R / STRETCH picks."""
PAIRS = 1 << 26
"""Pairs of image and candidate held at once, 16 bytes each."""
PROBE = 4_096
"""Candidates from which it is judged how alike the nearest ones of an image are."""
BLOCK = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Facilities:
    """Rows (m,) in the order of choice; `gains` in cosines, `served` images it then represents.

    Where `sampled`, both are scaled up from a sample to the pool.
    """

    positions: NDArray[np.int64]
    gains: NDArray[np.float64]
    served: NDArray[np.int64]
    sampled: bool


def facility_location(
    vectors: NDArray[np.floating],
    *,
    want: int,
    rng: np.random.Generator,
    centres: NDArray[np.floating] | None = None,
    closed: NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
) -> Facilities:
    """Up to `want` rows of `vectors` (n, d) that are not `closed` (n,), greatest gain first.

    `centres` (m, d) represent already what lies near them. Of equal gains the lowest row comes
    first. Ends early where no row adds anything. `rng` draws the sample, and the candidates by
    which the most alike are judged; where all pairs fit it is not touched. A vector of length zero
    resembles nothing. Raises VectorError as `panels.prepared` does.
    """
    rows = prepared(vectors, names=names)
    given = prepared(
        np.empty((0, vectors.shape[1]), np.float32) if centres is None else centres,
        width=vectors.shape[1],
        what="labelled row",
    )
    n = len(rows.raw)
    market = _Market(rows, given, np.ones(n, dtype=bool) if closed is None else ~closed)
    want = min(want, int(market.open.sum()))
    while len(market.picks) < want:
        left, before = want - len(market.picks), len(market.picks)
        size = n if n <= WHOLE else min(SAMPLE, max(SMALLEST, PER_PICK * left))
        images = np.arange(n) if size == n else np.sort(rng.choice(n, size, replace=False))
        market.enter(images)
        narrowed = market.narrow(rng)
        market.choose(left if size == n else min(left, size // STRETCH))
        if len(market.picks) == before or (size == n and not narrowed):
            break
    return market.result(sampled=n > WHOLE)


class _Market:
    """Images that want to be represented, candidates that would, and what is chosen."""

    def __init__(self, rows: Vectors, given: Vectors, open_: NDArray[np.bool_]) -> None:
        self.rows, self.given, self.open = rows, given, open_.copy()
        self.picks: list[int] = []
        self.gains: list[float] = []
        self.served: list[float] = []
        self.images = np.empty(0, dtype=np.int64)
        self.have = np.empty(0, dtype=np.int32)

    def enter(self, images: NDArray[np.int64]) -> None:
        """Let these rows be the images, represented by what is labelled and picked so far."""
        self.images = images
        self.have = np.zeros(len(images), dtype=np.int32)
        for group in (self.given, self.rows.rows(np.array(self.picks, dtype=np.int64))):
            if len(group.raw):
                np.maximum(self.have, served(self.rows, images, centred(group)), out=self.have)

    def narrow(self, rng: np.random.Generator) -> bool:
        """Let an image count only the candidates most like it, so many that all pairs fit.

        False where all of them fit as they are.
        """
        candidates = np.flatnonzero(self.open)
        share = PAIRS / (len(self.images) * max(1, len(candidates)))
        if share >= 1.0:
            return False
        probe = np.sort(rng.choice(candidates, min(PROBE, len(candidates)), replace=False))
        keep = max(1, int(share * len(probe)))
        some = centred(self.rows, probe)
        for start in range(0, len(self.images), BLOCK):
            part = slice(start, start + BLOCK)
            cosines = table(self.rows, self.images[part], some)
            level = -np.partition(-cosines, keep - 1, axis=1)[:, keep - 1]
            floor = (np.maximum(level, 0.0) * np.float32(UNIT)).astype(np.int32)
            np.maximum(self.have[part], floor, out=self.have[part])
        return True

    def choose(self, count: int) -> None:
        """Up to `count` picks, with all pairs that matter at hand."""
        candidates = np.flatnonzero(self.open)
        expected = min(PAIRS // len(self.images), len(candidates))
        found = lists(self.rows, self.images, self.have, candidates, expected=expected)
        order, gains, counts = drain(found, self.have, len(candidates), count)
        for at, gain, images in zip(order.tolist(), gains.tolist(), counts.tolist(), strict=True):
            self._take(int(candidates[at]), float(gain), images)

    def _take(self, row: int, gain: float, count: int) -> None:
        scale = len(self.rows.raw) / len(self.images)
        self.picks.append(row)
        self.gains.append(gain / UNIT * scale)
        self.served.append(count * scale)
        self.open[row] = False

    def result(self, *, sampled: bool) -> Facilities:
        return Facilities(
            np.array(self.picks, dtype=np.int64),
            np.array(self.gains, dtype=np.float64),
            np.rint(np.array(self.served, dtype=np.float64)).astype(np.int64),
            sampled,
        )

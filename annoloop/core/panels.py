"""Cosines of many rows to many others, in panels of 64: fast, and the same for any threads.

The product of two vectors is summed along the dimensions in one fixed order, so that neither the
shape of a block nor the number of threads reaches a single bit of it. Whatever is built on these
kernels (farthest-first, facility location, k-means) may therefore compare numbers for equality.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from annoloop.errors import VectorError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

LANES = 64
"""Columns of a panel: with 512 dimensions it fits the cache of a core."""
ROWS = 256
"""Rows of one piece of work; they stay in the cache while the panels pass by."""
UNIT = 1 << 30
"""Cosines become whole numbers of this unit, so that sums of them do not depend on an order."""
NAMED = 5


def compiled(function: F) -> F:
    """Compile on first call, without the GIL, cached on disk where that can be written.

    Products and sums may be fused (one rounding instead of two), but nothing is put in another
    order.
    """
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write a cache: each process compiles anew
        return cast(F, numba.njit(**options)(function))


class Vectors(NamedTuple):
    """Rows (n, d) in single precision as they came, and 1 / length of each (0 for length 0)."""

    raw: NDArray[np.float32]
    inverse: NDArray[np.float32]

    def rows(self, which: NDArray[Any]) -> Vectors:
        return Vectors(self.raw[which], self.inverse[which])


class Centres(NamedTuple):
    """Unit vectors as columns of panels (p, d, 64), and how many of the columns are used."""

    columns: NDArray[np.float32]
    used: int


class Closest(NamedTuple):
    """For each row: centres that it knows, its greatest cosine to one of them (-2: none), whose."""

    seen: NDArray[np.int64]
    best: NDArray[np.float32]
    nearest: NDArray[np.int64]


def unknown(n: int) -> Closest:
    """The state of n rows that have not met any centre."""
    return Closest(np.zeros(n, np.int64), np.full(n, -2.0, np.float32), np.full(n, -1, np.int64))


def prepared(
    vectors: NDArray[np.floating],
    *,
    width: int | None = None,
    names: Sequence[str] | None = None,
    what: str = "row",
) -> Vectors:
    """The vectors with their lengths; a float32 array is not copied.

    Raises VectorError for a shape other than (n, width), and for values that are not finite,
    naming the rows by `names`, or as `what` and number.
    """
    if vectors.ndim != 2 or (width is not None and vectors.shape[1] != width):
        raise VectorError(
            f"vectors of shape {vectors.shape} cannot be compared with others {width} wide"
            if width is not None
            else f"vectors of shape {vectors.shape} are not one row per sample",
            fix="Embed everything with the same embedder: `annoloop embed`.",
        )
    with np.errstate(over="ignore"):  # too large for single precision: refused below, as infinite
        raw = np.ascontiguousarray(vectors, dtype=np.float32)
    length = np.empty(len(raw))
    for start in range(0, len(raw), ROWS):
        wide = raw[start : start + ROWS].astype(np.float64)
        length[start : start + ROWS] = np.sqrt((wide * wide).sum(axis=1))
    broken = np.flatnonzero(~np.isfinite(length)).tolist()
    if broken:
        listed = [f"{what} {i}" if names is None else names[i] for i in broken[:NAMED]]
        more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise VectorError(
            f"vectors hold NaN or infinite values: {', '.join(listed)}{more}",
            fix="Remove them and run `annoloop embed` again; check the embedder if they come back.",
        )
    inverse = np.divide(1.0, length, out=np.zeros(len(raw)), where=length > 0.0)
    return Vectors(raw, inverse.astype(np.float32))


def centred(vectors: Vectors, which: NDArray[np.int64] | None = None, *, room: int = 0) -> Centres:
    """The rows (or those of `which`) at unit length as centres, with room for that many more."""
    width = vectors.raw.shape[1]
    index = np.arange(len(vectors.raw)) if which is None else which
    columns = np.zeros((-(-(len(index) + room) // LANES), width, LANES), dtype=np.float32)
    for number in range(-(-len(index) // LANES)):
        part = index[number * LANES : (number + 1) * LANES]
        unit = vectors.raw[part] * vectors.inverse[part, None]
        columns[number, :, : len(part)] = unit.T
    return Centres(columns, len(index))


def joined(centres: Centres, vectors: Vectors) -> Centres:
    """The centres and these rows after them, written into the room that there is."""
    for at, (row, inverse) in enumerate(zip(*vectors, strict=True), start=centres.used):
        centres.columns[at // LANES, :, at % LANES] = row * inverse
    return Centres(centres.columns, centres.used + len(vectors.raw))


def spread(work: Callable[[int, int], T], count: int, *, step: int = ROWS) -> list[T]:
    """`work(first, last)` over pieces of `count`, on numba's number of threads; in order."""
    pieces = [(first, min(first + step, count)) for first in range(0, count, step)]
    if len(pieces) < 2:
        return [work(first, last) for first, last in pieces]
    with ThreadPoolExecutor(int(numba.get_num_threads())) as pool:
        try:
            return list(pool.map(lambda piece: work(*piece), pieces))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@compiled
def products(
    raw: NDArray[np.float32],
    rows: NDArray[np.int64],
    panel: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Products of the four `rows` with each column of a panel, into `out` (4, 64)."""
    width = panel.shape[0]
    whole = width - width % 4
    for pair in range(0, 4, 2):
        a, b = raw[rows[pair]], raw[rows[pair + 1]]
        x, y = out[pair], out[pair + 1]
        x[:] = 0.0
        y[:] = 0.0
        for k in range(0, whole, 4):
            a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            p0, p1, p2, p3 = panel[k], panel[k + 1], panel[k + 2], panel[k + 3]
            for lane in range(LANES):
                x[lane] = x[lane] + a0 * p0[lane] + a1 * p1[lane] + a2 * p2[lane] + a3 * p3[lane]
                y[lane] = y[lane] + b0 * p0[lane] + b1 * p1[lane] + b2 * p2[lane] + b3 * p3[lane]
        for k in range(whole, width):
            for lane in range(LANES):
                x[lane] = x[lane] + a[k] * panel[k, lane]
                y[lane] = y[lane] + b[k] * panel[k, lane]


@compiled
def four(index: NDArray[np.int64], at: int, last: int, rows: NDArray[np.int64]) -> None:
    """The next four of `index` from `at` on; past `last` the last one again."""
    for i in range(4):
        rows[i] = index[min(at + i, last - 1)]


@compiled
def _approach(vectors: Vectors, index: NDArray[np.int64], centres: Centres, known: Closest) -> None:
    columns, count = centres
    seen, best, nearest = known
    rows, out = np.empty(4, np.int64), np.empty((4, LANES), np.float32)
    for number in range((count + LANES - 1) // LANES):
        used = min(LANES, count - number * LANES)
        for at in range(0, len(index), 4):
            four(index, at, len(index), rows)
            least = count
            for i in range(4):
                least = min(least, seen[rows[i]])
            if least >= number * LANES + used:
                continue
            products(vectors.raw, rows, columns[number], out)
            for i in range(4):
                row = rows[i]
                for lane in range(used):
                    cosine = out[i, lane] * vectors.inverse[row]
                    if cosine > best[row]:
                        best[row] = cosine
                        nearest[row] = number * LANES + lane
    for at in range(len(index)):
        seen[index[at]] = count


def approach(vectors: Vectors, index: NDArray[np.int64], centres: Centres, known: Closest) -> None:
    """Let the rows of `index` know all centres, in place; of equal ones the first is nearest."""

    def work(first: int, last: int) -> None:
        _approach(vectors, index[first:last], centres, known)

    spread(work, len(index))


@compiled
def _table(
    vectors: Vectors, index: NDArray[np.int64], centres: Centres, out: NDArray[np.float32]
) -> None:
    columns, count = centres
    rows, some = np.empty(4, np.int64), np.empty((4, LANES), np.float32)
    for number in range((count + LANES - 1) // LANES):
        used = min(LANES, count - number * LANES)
        for at in range(0, len(index), 4):
            four(index, at, len(index), rows)
            products(vectors.raw, rows, columns[number], some)
            for i in range(min(4, len(index) - at)):
                for lane in range(used):
                    cosine = some[i, lane] * vectors.inverse[rows[i]]
                    out[at + i, number * LANES + lane] = cosine


def table(vectors: Vectors, index: NDArray[np.int64], centres: Centres) -> NDArray[np.float32]:
    """Cosines of the rows of `index` to the centres, (len(index), count)."""
    out = np.empty((len(index), centres.used), dtype=np.float32)

    def work(first: int, last: int) -> None:
        _table(vectors, index[first:last], centres, out[first:last])

    spread(work, len(index))
    return out

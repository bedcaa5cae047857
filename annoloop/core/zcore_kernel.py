"""The compiled half of ZCore: exact neighbours in two dimensions without looking at every row.

Rows sorted by one coordinate form a line. Every row within L1 distance r of a query lies on the
line within gap r of it, so a bound on the K-th distance turns the search into one run over a short
stretch of the line. The bound is guessed from every s-th row of the line and proven by counting the
rows within it, so the answer is exact whatever the data.

Importing this module compiles nothing: a kernel compiles on its first call and is cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

BLOCK = 16
SAMPLED = 64
"""How many of the K neighbours the sparse walk aims at: its stride is K // SAMPLED."""


def compiled(function: F) -> F:
    """Compile on first call, without the GIL, cached beside the source or in the user's cache."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write a cache: each process compiles anew
        return cast(F, numba.njit(**options)(function))


class Table(NamedTuple):
    """All vectors by column: their numbers (d, n), and in which of 256 bins each lies.

    Bin c of a dimension holds edges[c] <= x < edges[c + 1]; the outer edges are infinite. One byte
    per number keeps a column of a million rows near the processor, and is enough to leave a row out.
    """

    columns: NDArray[Any]
    codes: NDArray[np.uint8]
    edges: NDArray[np.float64]
    sparse: NDArray[Any]


class Line(NamedTuple):
    """All rows in the order of one coordinate; equal values in the order of their rows."""

    values: NDArray[Any]
    order: NDArray[np.uint32]
    sparse_values: NDArray[Any]
    sparse_order: NDArray[np.uint32]


class Chunk(NamedTuple):
    """Draws that walk the line of `dim`: their other dimensions; their points on and off it."""

    dim: int
    others: NDArray[np.int32]
    on: NDArray[np.float64]
    off: NDArray[np.float64]


class Rules(NamedTuple):
    """`unit` is what a score of 1 is in fixed point; occupied rows are not rewarded."""

    neighbours: int
    unit: int
    occupied: NDArray[np.bool_]


class Scratch(NamedTuple):
    """What one thread writes to: one entry per row, but for `least`, one per bin."""

    scores: NDArray[np.int64]
    distances: NDArray[np.float64]
    rows: NDArray[np.uint32]
    least: NDArray[np.float64]


class Query(NamedTuple):
    """A row, its place on the line, and its coordinates on (a) and off (b) the line."""

    row: int
    place: int
    a: float
    b: float


class Other(NamedTuple):
    """The dimension off the line: its numbers, their bins, each bin's least distance to b, sample."""

    column: NDArray[Any]
    codes: NDArray[np.uint8]
    least: NDArray[np.float64]
    sparse: NDArray[Any]


@compiled
def encode(column: NDArray[Any], edges: NDArray[np.float64], codes: NDArray[np.uint8]) -> None:
    """The bin of every number of a column, by a binary search without branches."""
    for i in range(len(column)):
        code = 0
        for half in (128, 64, 32, 16, 8, 4, 2, 1):
            code += half * (edges[code + half] <= column[i])
        codes[i] = code


@compiled
def score_draws(line: Line, table: Table, chunk: Chunk, rules: Rules, scratch: Scratch) -> None:
    """Add rewards and penalties of a chunk of draws to `scratch.scores`, in fixed point."""
    wanted = min(rules.neighbours, len(line.order) - 1)
    before = -1
    for t in range(len(chunk.others)):
        dim = chunk.others[t]
        column = table.columns[dim]
        if dim != before:
            before = dim
            scratch.least[0] = table.codes[dim].sum()
        other = Other(column, table.codes[dim], scratch.least, table.sparse[dim])
        _measure(other, table.edges[dim], chunk.off[t])
        row = _nearest(line, other, chunk.on[t], chunk.off[t])
        if not rules.occupied[row]:
            scratch.scores[row] += rules.unit
        if wanted == 0:
            continue
        a, b = np.float64(table.columns[chunk.dim, row]), np.float64(column[row])
        place, twin = _place(line, column, row, a, b)
        if twin >= 0:
            scratch.scores[twin] -= rules.unit
            continue
        _measure(other, table.edges[dim], b)
        found = _gather(line, other, Query(row, place, a, b), wanted, scratch)
        if found > wanted:
            _drop_farthest(scratch.distances[:found], scratch.rows[:found], wanted)
        _share(scratch.distances[:found], scratch.rows[:found], rules.unit, scratch.scores)


@compiled
def _measure(other: Other, edges: NDArray[np.float64], b: float) -> None:
    """Fill in how far the bins are from b."""
    for c in range(256):
        other.least[c] = max(edges[c] - b, b - edges[c + 1], 0.0)


@compiled
def _rank(values: NDArray[Any], q: float, limit: float, inclusive: bool) -> int:
    """How many values lie at an offset from q below `limit` (or at it, if inclusive)."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) >> 1
        offset = np.float64(values[middle]) - q
        if offset < limit or (inclusive and offset == limit):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _nearest(line: Line, other: Other, a: float, b: float) -> int:
    """The row nearest to (a, b): outward along the line, block by block from the nearer side."""
    values, order, _, _ = line
    column, codes, least, _ = other
    n = len(values)
    right = _rank(values, a, 0.0, False)
    left = right - 1
    best, row = np.inf, n
    while left >= 0 or right < n:
        before = a - values[left] if left >= 0 else np.inf
        after = values[right] - a if right < n else np.inf
        if min(before, after) > best:
            break
        if before < after:
            start, stop = max(left - BLOCK, -1) + 1, left + 1
            left = start - 1
        else:
            start, stop = right, min(right + BLOCK, n)
            right = stop
        for i in range(start, stop):
            j = int(order[i])
            if abs(values[i] - a) + least[codes[j]] > best:
                continue
            distance = abs(values[i] - a) + abs(column[j] - b)
            if distance < best or (distance == best and j < row):
                best, row = distance, j
    return row


@compiled
def _place(
    line: Line, column: NDArray[Any], row: int, a: float, b: float
) -> tuple[int, int]:
    """Where the row stands on the line, and the first other row at distance 0 (-1: none)."""
    values, order, _, _ = line
    place, twin = -1, -1
    i = _rank(values, a, 0.0, False)
    while i < len(values) and values[i] == a and (place < 0 or twin < 0):
        j = int(order[i])
        if j == row:
            place = i
        elif twin < 0 and column[j] == b:
            twin = j
        i += 1
    return place, twin


@compiled
def _gather(line: Line, other: Other, q: Query, wanted: int, scratch: Scratch) -> int:
    """Collect all rows but the query's within a bound that holds at least `wanted`; how many."""
    values, order, _, _ = line
    column, codes, least, _ = other
    distances, rows = scratch.distances, scratch.rows
    n = len(values)
    aim = wanted
    while True:
        bound = np.inf if 4 * aim > n else _bound(line, other, q, aim, distances)
        low, high = _rank(values, q.a, -bound, False), _rank(values, q.a, bound, True)
        near = 0
        for start, stop in ((low, q.place), (q.place + 1, high)):
            for i in range(start, stop):
                gap = abs(values[i] - q.a)
                distances[near] = gap
                rows[near] = order[i]
                near += gap + least[codes[order[i]]] <= bound
        found = 0
        for i in range(near):
            distance = distances[i] + abs(column[rows[i]] - q.b)
            distances[found] = distance
            rows[found] = rows[i]
            found += distance <= bound
        if found >= wanted:
            return found
        aim *= 2


@compiled
def _bound(line: Line, other: Other, q: Query, wanted: int, room: NDArray[np.float64]) -> float:
    """A distance that likely holds `wanted` rows and few more, judged from the sparse rows."""
    _, _, values, order = line
    column, m = other.sparse, len(order)
    share = wanted * m / len(line.order)
    # Three standard deviations above the expected rank: one bound in a thousand is too small.
    rank = int(share + 3 * np.sqrt(share)) + 2
    if rank > m:
        return np.inf
    place = _rank(values, q.a, 0.0, False)
    reach = int(np.sqrt(m * rank / 2)) + rank
    low, high = max(place - reach, 0), min(place + reach, m)
    while True:
        distances = room[: high - low]
        for i in range(low, high):
            distances[i - low] = abs(values[i] - q.a) + abs(column[order[i]] - q.b)
        bound, _ = _cut(distances, rank)
        first, last = _rank(values, q.a, -bound, False), _rank(values, q.a, bound, True)
        if low <= first and last <= high:
            return bound
        low, high = first, last


@compiled
def _drop_farthest(distances: NDArray[np.float64], rows: NDArray[np.uint32], wanted: int) -> None:
    """Set all but the `wanted` smallest distances to infinity; ties: the lowest rows stay."""
    cut, exact = _cut(distances, wanted)
    if not exact:
        last = _last_tied_row(distances, rows, cut, wanted)
        for i in range(len(rows)):
            if distances[i] == cut and rows[i] > last:
                distances[i] = np.inf
    for i in range(len(distances)):
        distances[i] = distances[i] if distances[i] <= cut else np.inf


@compiled
def _cut(distances: NDArray[np.float64], wanted: int) -> tuple[float, bool]:
    """(a value with exactly `wanted` of the distances up to it, True), searched from both ends.

    (the wanted-th distance, False) where ties leave no such value. All distances are above 0.
    """
    low, high = 0.0, distances.max()
    below, above = 0, len(distances)
    halve = False
    while True:
        share = 0.5 if halve else (wanted + 0.5 - below) / (above + 1 - below)
        middle = low + (high - low) * share
        if not low < middle < high:
            middle = (low + high) / 2
            if not low < middle < high:
                return high, False
        count = 0
        for i in range(len(distances)):
            count += distances[i] <= middle
        if count == wanted:
            return middle, True
        if count < wanted:
            low, below = middle, count
        else:
            high, above = middle, count
        halve = not halve


@compiled
def _last_tied_row(
    distances: NDArray[np.float64], rows: NDArray[np.uint32], cut: float, wanted: int
) -> int:
    """The highest row that stays among those at distance `cut`, so that `wanted` rows stay."""
    tied = np.sort(rows[distances == cut])
    return int(tied[wanted - np.sum(distances < cut) - 1])


@compiled
def _share(
    distances: NDArray[np.float64], rows: NDArray[np.uint32], unit: int, scores: NDArray[np.int64]
) -> None:
    """Take weights proportional to distance^-4 that sum to 1 from the rows."""
    nearest = distances.min()
    for i in range(len(distances)):
        ratio = nearest / distances[i]  # a ratio cannot overflow where distance^-4 would
        distances[i] = ratio * ratio * ratio * ratio
    sums = np.zeros(8)  # eight sums, so that additions need not wait for each other
    for i in range(len(distances)):
        sums[i & 7] += distances[i]
    factor = unit / sums.sum()
    for i in range(len(distances)):
        scores[rows[i]] -= int(distances[i] * factor + 0.5)

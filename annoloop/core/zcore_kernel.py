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


class Line(NamedTuple):
    """All rows in the order of one coordinate; equal values in the order of their rows."""

    values: NDArray[Any]
    order: NDArray[np.uint32]


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
    """What one thread writes to; each array has one entry per row."""

    scores: NDArray[np.int64]
    distances: NDArray[np.float64]
    rows: NDArray[np.uint32]
    heap: NDArray[np.float64]


class Query(NamedTuple):
    """A row, its place on the line, and its coordinates on (a) and off (b) the line."""

    row: int
    place: int
    a: float
    b: float


@compiled
def score_draws(
    line: Line, columns: NDArray[Any], chunk: Chunk, rules: Rules, scratch: Scratch
) -> None:
    """Add rewards and penalties of a chunk of draws to `scratch.scores`, in fixed point."""
    unit = np.int64(rules.unit)
    for t in range(len(chunk.others)):
        other = columns[chunk.others[t]]
        row = _nearest(line, other, chunk.on[t], chunk.off[t])
        if not rules.occupied[row]:
            scratch.scores[row] += unit
        wanted = min(rules.neighbours, len(other) - 1)
        if wanted == 0:
            continue
        a, b = np.float64(columns[chunk.dim, row]), np.float64(other[row])
        place, twin = _place(line, other, row, a, b)
        if twin >= 0:
            scratch.scores[twin] -= unit
        else:
            found = _gather(line, other, Query(row, place, a, b), wanted, scratch)
            kept = _keep_nearest(found, wanted, scratch)
            _share(kept, unit, scratch)


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
def _nearest(line: Line, other: NDArray[Any], a: float, b: float) -> int:
    """The row nearest to (a, b): outward along the line, block by block from the nearer side."""
    values, order = line
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
            j = np.int64(order[i])
            distance = abs(values[i] - a) + abs(other[j] - b)
            if distance < best or (distance == best and j < row):
                best, row = distance, j
    return row


@compiled
def _place(line: Line, other: NDArray[Any], row: int, a: float, b: float) -> tuple[int, int]:
    """Where the row stands on the line, and the first other row at distance 0 (-1: none)."""
    values, order = line
    place, twin = -1, -1
    i = _rank(values, a, 0.0, False)
    while i < len(values) and values[i] == a and (place < 0 or twin < 0):
        j = np.int64(order[i])
        if j == row:
            place = i
        elif twin < 0 and other[j] == b:
            twin = j
        i += 1
    return place, twin


@compiled
def _gather(line: Line, other: NDArray[Any], q: Query, wanted: int, scratch: Scratch) -> int:
    """Collect all rows but the query's within a bound that holds at least `wanted`; how many."""
    values, order = line
    distances, rows = scratch.distances, scratch.rows
    stride = max(wanted // SAMPLED, 1)
    # Three standard deviations above the expected rank: one bound in a thousand is too small.
    rank = wanted if stride == 1 else np.int64(wanted / stride + 3 * np.sqrt(wanted / stride))
    while True:
        bound = _bound(line, other, q, stride, rank, scratch.heap)
        low, high = _rank(values, q.a, -bound, False), _rank(values, q.a, bound, True)
        found = 0
        for start, stop in ((low, q.place), (q.place + 1, high)):
            for i in range(start, stop):
                j = order[i]
                distance = abs(values[i] - q.a) + abs(other[j] - q.b)
                distances[found] = distance
                rows[found] = j
                found += distance <= bound
        if found >= wanted:
            return found
        rank *= 2


@compiled
def _bound(
    line: Line, other: NDArray[Any], q: Query, stride: int, rank: int, heap: NDArray[np.float64]
) -> float:
    """The rank-th smallest distance among every stride-th row of the line; inf if too few."""
    values, order = line
    n = len(values)
    size = 0
    step = stride
    left_open, right_open = True, True
    while left_open or right_open:
        for side in range(2):
            i = q.place - step if side == 0 else q.place + step
            if i < 0 or i >= n:
                if side == 0:
                    left_open = False
                else:
                    right_open = False
                continue
            if not (left_open if side == 0 else right_open):
                continue
            gap = abs(values[i] - q.a)
            if size == rank and gap > heap[0]:
                if side == 0:
                    left_open = False
                else:
                    right_open = False
                continue
            distance = gap + abs(other[order[i]] - q.b)
            if size < rank:
                _push(heap, size, distance)
                size += 1
            elif distance < heap[0]:
                _replace_top(heap, size, distance)
        step += stride
    return heap[0] if size == rank else np.inf


@compiled
def _push(heap: NDArray[np.float64], size: int, value: float) -> None:
    """Add a value to a max-heap of `size` entries."""
    child = size
    while child > 0:
        parent = (child - 1) >> 1
        if heap[parent] >= value:
            break
        heap[child] = heap[parent]
        child = parent
    heap[child] = value


@compiled
def _replace_top(heap: NDArray[np.float64], size: int, value: float) -> None:
    """Put a smaller value in the place of the greatest of a max-heap."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[parent] = heap[child]
        parent = child
    heap[parent] = value


@compiled
def _keep_nearest(found: int, wanted: int, scratch: Scratch) -> int:
    """Move the `wanted` nearest rows to the front of the scratch; ties: the lowest rows."""
    distances, rows = scratch.distances[:found], scratch.rows[:found]
    if found == wanted:
        return wanted
    cut, exact = _cut(distances, wanted)
    last = np.int64(0xFFFFFFFF) if exact else _last_tied_row(distances, rows, cut, wanted)
    kept = 0
    for i in range(found):
        distance, row = distances[i], rows[i]
        distances[kept] = distance
        rows[kept] = row
        kept += (distance < cut) | ((distance == cut) & (np.int64(row) <= last))
    return kept


@compiled
def _cut(distances: NDArray[np.float64], wanted: int) -> tuple[float, bool]:
    """A value with exactly `wanted` distances up to it, found by bisection: (value, True).

    (the wanted-th distance, False) where ties leave no such value. Distances are above 0.
    """
    low, high = 0.0, distances.max()
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return high, False
        count = 0
        for i in range(len(distances)):
            count += distances[i] <= middle
        if count == wanted:
            return middle, True
        if count < wanted:
            low = middle
        else:
            high = middle


@compiled
def _last_tied_row(
    distances: NDArray[np.float64], rows: NDArray[np.uint32], cut: float, wanted: int
) -> int:
    """The highest row kept among those at distance `cut`, so that `wanted` rows are kept."""
    for i in range(len(distances)):
        wanted -= distances[i] < cut
    low, high = -1, np.int64(rows.max())
    while high - low > 1:
        middle = (low + high) >> 1
        count = 0
        for i in range(len(rows)):
            count += (distances[i] == cut) & (np.int64(rows[i]) <= middle)
        if count >= wanted:
            high = middle
        else:
            low = middle
    return high


@compiled
def _share(kept: int, unit: int, scratch: Scratch) -> None:
    """Take weights proportional to distance^-4 that sum to 1 from the kept rows."""
    distances, rows, scores = scratch.distances[:kept], scratch.rows[:kept], scratch.scores
    nearest = distances.min()
    total = 0.0
    for i in range(kept):
        ratio = nearest / distances[i]  # a ratio cannot overflow where distance^-4 would
        distances[i] = ratio * ratio * ratio * ratio
        total += distances[i]
    factor = unit / total
    for i in range(kept):
        scores[rows[i]] -= np.int64(distances[i] * factor + 0.5)

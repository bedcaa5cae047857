"""Which distances count in ZCore, and for how much: compiled functions of plain arrays.

Importing this module compiles nothing: a function compiles on its first call and is cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

TIES_SUSPECTED = 12
"""Rounds of closing in, after which the next distance is tried itself: most searches need ten."""


def compiled(function: F) -> F:
    """Compile on first call, without the GIL, cached beside the source or in the user's cache."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except RuntimeError:  # nowhere to write a cache: each process compiles anew
        return cast(F, numba.njit(**options)(function))


@compiled
def smallest(values: NDArray[np.float64]) -> float:
    """The smallest of some numbers that are not negative."""
    bits = values.view(np.int64)  # in the same order as the numbers, and compared eight at a time
    least = bits[0]
    for i in range(len(bits)):
        least = min(least, bits[i])
    return float(np.int64(least).view(np.float64))


@compiled
def largest(values: NDArray[np.float64]) -> float:
    """The largest of some numbers that are not negative."""
    bits = values.view(np.int64)
    most = bits[0]
    for i in range(len(bits)):
        most = max(most, bits[i])
    return float(np.int64(most).view(np.float64))


@compiled
def next_above(values: NDArray[np.float64], low: float) -> float:
    """The smallest of some numbers that are not negative above `low`; infinity if none is."""
    bits, floor = values.view(np.int64), np.float64(low).view(np.int64)
    least = np.float64(np.inf).view(np.int64)
    for i in range(len(bits)):
        least = min(least, bits[i] if bits[i] > floor else least)
    return float(np.int64(least).view(np.float64))


@compiled
def first_at(values: NDArray[np.float64], value: float) -> int:
    """Where a value that occurs stands first."""
    first = 0
    while values[first] != value:
        first += 1
    return first


@compiled
def limit_of(distances: NDArray[np.float64], rows: NDArray[np.uint32], wanted: int) -> float:
    """The distance up to which `wanted` rows lie; of rows tied there, the lowest stay.

    The other tied rows are put at infinity.
    """
    limit, exact = cut_at(distances, wanted)
    if not exact:
        tied = np.sort(rows[distances == limit])
        last = tied[wanted - np.sum(distances < limit) - 1]
        for i in range(len(rows)):
            if distances[i] == limit and rows[i] > last:
                distances[i] = np.inf
    return limit


@compiled
def cut_at(distances: NDArray[np.float64], wanted: int) -> tuple[float, bool]:
    """(a value with exactly `wanted` of the distances up to it, True), closed in from both ends.

    (the wanted-th distance, False) where ties leave no such value. That distance must be above 0.
    """
    low, high = 0.0, largest(distances)
    below, above = 0, len(distances)
    if wanted == above:
        return high, True
    turn = 0
    while True:
        turn += 1
        step = turn % TIES_SUSPECTED == 0
        if step:
            middle = next_above(distances, low)
        else:
            share = 0.5 if turn & 1 == 0 else (wanted + 0.5 - below) / (above + 1 - below)
            middle = low + (high - low) * share
        count = 0
        for i in range(len(distances)):
            count += distances[i] <= middle
        if count == wanted:
            return middle, True
        if count < wanted:
            low, below = middle, count
        elif step:
            return middle, False
        else:
            high, above = middle, count


@compiled
def weigh(distances: NDArray[np.float64], limit: float) -> float:
    """Turn distances into weights proportional to distance^-4, 0 beyond the limit; their sum."""
    nearest = smallest(distances)
    for i in range(len(distances)):
        ratio = nearest / distances[i]  # cannot overflow where distance^-4 would
        square = ratio * ratio
        distances[i] = square * square * (distances[i] <= limit)
    sums = np.zeros(8)  # eight sums, so that no addition waits for the one before
    for i in range(len(distances)):
        sums[i & 7] += distances[i]
    return float(sums.sum())

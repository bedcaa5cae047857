"""The compiled half of ZCore: exact neighbours in two dimensions without looking at every row.

Rows sorted by one coordinate form a line. Every row within L1 distance r of a query lies on the
line within gap r of it, so a bound on the K-th distance turns the search into one run over a short
stretch of the line. The bound is guessed from a sparse line (every so-many-th row) and proven by
counting the rows within it, so the answer is exact whatever the data. Where K is not small beside
n, the stretch would be most of the line, and looking at all rows in their own order is faster.

Importing this module compiles nothing: a kernel compiles on its first call and is cached on disk.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from annoloop.core.zcore_weights import compiled, cut_at, first_at, limit_of, smallest, weigh

DENSE = 8
"""All rows are looked at where there are at most this many times K of them."""
WALKED, SIFTED = 16, 256
"""Rows looked at together when walking outward, for the nearest row and for the K nearest."""


class Table(NamedTuple):
    """All vectors by column: their numbers (d, n), and in which of 256 bins each lies.

    Bin c of a dimension holds edges[c] <= x < edges[c + 1]; the outer edges are infinite. One byte
    per number keeps a column of a million rows near the processor, and can tell that a row is far.
    `sparse` holds the numbers of every so-many-th row.
    """

    columns: NDArray[Any]
    codes: NDArray[np.uint8]
    edges: NDArray[np.float64]
    sparse: NDArray[Any]


class Line(NamedTuple):
    """All rows, and the sparse ones, by one coordinate; where it is the same, by row."""

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
    """`unit` is what a score of 1 is in fixed point; occupied rows are not rewarded.

    With `conditional`, a row that is rewarded gives back what its occupied neighbours lose.
    """

    neighbours: int
    unit: int
    occupied: NDArray[np.bool_]
    conditional: bool


class Scratch(NamedTuple):
    """What one thread writes to: one entry per row, but for `least`, one per bin.

    `rows` starts as 0, 1, 2, …
    """

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
    """The dimension off the line; `least` is each bin's distance from b at the least."""

    column: NDArray[Any]
    codes: NDArray[np.uint8]
    least: NDArray[np.float64]
    sparse: NDArray[Any]


@compiled
def encode(column: NDArray[Any], edges: NDArray[np.float64], codes: NDArray[np.uint8]) -> None:
    """Write the bin of every number of a column, by a binary search without branches."""
    for i in range(len(column)):
        code = 0
        for half in (128, 64, 32, 16, 8, 4, 2, 1):
            code += half * (edges[code + half] <= column[i])
        codes[i] = code


@compiled
def score_dense(table: Table, chunk: Chunk, rules: Rules, scratch: Scratch) -> None:
    """Add rewards and penalties of a chunk of draws to `scratch.scores`, looking at all rows."""
    scores, distances, rows, _ = scratch
    n = len(rows)
    wanted = min(rules.neighbours, n - 1)
    x = table.columns[chunk.dim]
    for t in range(len(chunk.others)):
        y = table.columns[chunk.others[t]]
        _measure_rows(x, y, chunk.on[t], chunk.off[t], distances)
        row = first_at(distances, smallest(distances))
        if not rules.occupied[row]:
            scores[row] += rules.unit
        if wanted == 0:
            continue
        _measure_rows(x, y, np.float64(x[row]), np.float64(y[row]), distances)
        distances[row] = np.inf
        if smallest(distances) == 0:
            _penalise_twin(row, first_at(distances, 0.0), rules, scores)
            continue
        distances[row] = 0
        limit = limit_of(distances, rows, wanted + 1)
        distances[row] = np.inf
        factor = rules.unit / weigh(distances, limit)
        for i in range(n):
            scores[i] -= int(distances[i] * factor + 0.5)
        if rules.conditional:
            _give_back(row, distances, rows, factor, rules, scores)


@compiled
def score_sparse(line: Line, table: Table, chunk: Chunk, rules: Rules, scratch: Scratch) -> None:
    """Add rewards and penalties of a chunk of draws to `scratch.scores`, walking the line."""
    scores, distances, rows, least = scratch
    wanted = rules.neighbours
    before = -1
    for t in range(len(chunk.others)):
        dim = chunk.others[t]
        column = table.columns[dim]
        other = Other(column, table.codes[dim], least, table.sparse[dim])
        if dim != before:
            # Reading the codes in order brings them near; the walk reads them in random order.
            least[0] = other.codes.sum()
            before = dim
        _measure_bins(other, table.edges[dim], chunk.off[t])
        row = _nearest(line, other, chunk.on[t], chunk.off[t])
        if not rules.occupied[row]:
            scores[row] += rules.unit
        a, b = np.float64(table.columns[chunk.dim, row]), np.float64(column[row])
        place, twin = _place(line, column, row, a, b)
        if twin >= 0:
            _penalise_twin(row, twin, rules, scores)
            continue
        _measure_bins(other, table.edges[dim], b)
        found = _gather(line, other, Query(row, place, a, b), wanted, scratch)
        limit = limit_of(distances[:found], rows[:found], wanted)
        factor = rules.unit / weigh(distances[:found], limit)
        for i in range(found):
            scores[rows[i]] -= int(distances[i] * factor + 0.5)
        if rules.conditional:
            _give_back(row, distances[:found], rows[:found], factor, rules, scores)


@compiled
def _penalise_twin(row: int, twin: int, rules: Rules, scores: NDArray[np.int64]) -> None:
    """Take 1 from the first row at distance 0 of the rewarded row."""
    scores[twin] -= rules.unit
    if rules.conditional and rules.occupied[twin] and not rules.occupied[row]:
        scores[row] -= rules.unit


@compiled
def _give_back(
    row: int,
    weights: NDArray[np.float64],
    rows: NDArray[np.uint32],
    factor: float,
    rules: Rules,
    scores: NDArray[np.int64],
) -> None:
    """Take from the rewarded row what its occupied neighbours have just lost."""
    if rules.occupied[row]:
        return
    for i in range(len(rows)):
        if rules.occupied[rows[i]]:
            scores[row] -= int(weights[i] * factor + 0.5)


@compiled
def _measure_rows(
    x: NDArray[Any], y: NDArray[Any], a: float, b: float, out: NDArray[np.float64]
) -> None:
    """Write the distance of every row from (a, b)."""
    for i in range(len(x)):
        out[i] = abs(x[i] - a) + abs(y[i] - b)


@compiled
def _measure_bins(other: Other, edges: NDArray[np.float64], b: float) -> None:
    """Write how far from b the numbers of each bin are at the least."""
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
            start, stop = max(left - WALKED, -1) + 1, left + 1
            left = start - 1
        else:
            start, stop = right, min(right + WALKED, n)
            right = stop
        for i in range(start, stop):
            j = int(order[i])
            gap = abs(values[i] - a)
            if gap + least[codes[j]] <= best:
                distance = gap + abs(column[j] - b)
                if distance < best or (distance == best and j < row):
                    best, row = distance, j
    return row


@compiled
def _place(line: Line, column: NDArray[Any], row: int, a: float, b: float) -> tuple[int, int]:
    """Where the row stands on the line, and the first other row at distance 0 (-1: none).

    The row is the nearest to a point, so of rows in the same spot it is the first.
    """
    values, order, _, _ = line
    place = _rank(values, a, 0.0, False)
    while order[place] != row:
        place += 1
    twin = place + 1
    while twin < len(values) and values[twin] == a:
        if column[order[twin]] == b:
            return place, int(order[twin])
        twin += 1
    return place, -1


@compiled
def _gather(line: Line, other: Other, q: Query, wanted: int, scratch: Scratch) -> int:
    """Collect all rows but the query's within a bound that holds at least `wanted`; how many."""
    values, order, _, _ = line
    distances, rows = scratch.distances, scratch.rows
    aim = wanted
    while True:
        bound = _bound(line, other, q, aim, distances)
        found = 0
        for k in range(_sift(line, other, q, bound, rows)):
            i = rows[k]
            distance = abs(values[i] - q.a) + abs(other.column[order[i]] - q.b)
            distances[found] = distance
            rows[found] = order[i]
            found += distance <= bound
        if found >= wanted:
            return found
        aim *= 2


@compiled
def _bound(line: Line, other: Other, q: Query, wanted: int, room: NDArray[np.float64]) -> float:
    """A distance that likely holds `wanted` rows and few more, judged from the sparse rows."""
    _, _, values, order = line
    m = len(order)
    share = wanted * m / len(line.order)
    # Three standard deviations above the expected rank: one bound in a thousand is too small.
    rank = int(share + 2 * np.sqrt(share)) + 2
    if rank > m:
        return np.inf
    place = _rank(values, q.a, 0.0, False)
    reach = int(np.sqrt(m * rank / 2)) + rank
    low, high = max(place - reach, 0), min(place + reach, m)
    while True:
        distances = room[: high - low]
        for i in range(low, high):
            distances[i - low] = abs(values[i] - q.a) + abs(other.sparse[order[i]] - q.b)
        bound, _ = cut_at(distances, rank)
        first, last = _rank(values, q.a, -bound, False), _rank(values, q.a, bound, True)
        if low <= first and last <= high:
            return bound
        low, high = first, last


@compiled
def _sift(line: Line, other: Other, q: Query, bound: float, places: NDArray[np.uint32]) -> int:
    """Write the places on the line that the bins leave in reach of the bound; how many.

    Block by block outward: the farther a block, the fewer bins are in reach.
    """
    values, order, _, _ = line
    _, codes, least, _ = other
    low, high = _rank(values, q.a, -bound, False), _rank(values, q.a, bound, True)
    own = int(codes[q.row])
    near = 0
    for side in range(2):
        edge, first, last = q.place + side, 0, 255
        while low < edge if side == 0 else edge < high:
            if side == 0:
                start, stop = max(edge - SIFTED, low), edge
                gap, edge = q.a - values[stop - 1], start
            else:
                start, stop = edge, min(edge + SIFTED, high)
                gap, edge = values[start] - q.a, stop
            while first < own and gap + least[first] > bound:
                first += 1
            while last > own and gap + least[last] > bound:
                last -= 1
            base, width = np.uint8(first), np.uint8(last - first)
            for i in range(start, stop):
                places[near] = i
                near += int(np.uint8(codes[order[i]] - base) <= width)
    return near

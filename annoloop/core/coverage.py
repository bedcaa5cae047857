"""ZCore coverage scores, exact and fast (Griffin, Marks, Corso, arXiv 2411.15349).

A draw chooses two dimensions of the vectors and a point in them. The row nearest to the point (L1
in the two dimensions) gains 1: it stands for that region. The rows nearest to that row lose 1
between them: it stands for them too. Summed over many draws, high scores cover the space without
repeating each other. Nothing here is random but `make_draws`, so same draws in, same scores out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import SettingsError, VectorError

if TYPE_CHECKING:
    from annoloop.core.zcore_kernel import Chunk, Line, Rules, Table

Progress = Callable[[int, int, str], None]

ROWS, DIMENSIONS = 1 << 14, 8
"""Blocks in which large arrays are read, so that no copy of all rows is held beside them."""
WHAT = "coverage draws"
CHUNK = 256
"""Draws between two looks at progress and cancellation: tens of milliseconds."""
STRIDE = 13
SAMPLE = 4096
"""Rows, evenly spread, from which the density along each dimension is judged."""


@dataclass(frozen=True)
class Draws:
    """T draws: `dims` int32 (T, 2), two dimensions each; `points` float32 (T, 2), a point in them."""

    dims: NDArray[np.int32]
    points: NDArray[np.float32]


def default_draws(n: int) -> int:
    """How many draws n rows need for ranks that two seeds agree on."""
    return min(max(100 * n, 10_000), 1_000_000)


def make_draws(embeddings: NDArray[Any], n_draws: int, *, rng: np.random.Generator) -> Draws:
    """Draw dimensions uniformly and points from the triangular distribution of each dimension.

    `embeddings` is (n, d), float16, float32 or float64. The two dimensions of a draw differ (with
    d = 1 both are 0). Each coordinate follows the triangular distribution on (minimum, median,
    maximum) of its dimension; in a constant dimension it is that constant.
    Raises VectorError for vectors that are empty or not finite, SettingsError for n_draws < 1.
    """
    n, d = _checked(embeddings).shape
    if n_draws < 1:
        raise SettingsError(f"{n_draws} coverage draws", fix="Ask for at least one draw.")
    first = rng.integers(0, d, n_draws)
    second = rng.integers(0, max(d - 1, 1), n_draws)
    second += (second >= first) & (d > 1)
    dims = np.stack([first, second], axis=1).astype(np.int32)
    low, middle, high = (np.empty(d) for _ in range(3))
    for start in range(0, d, DIMENSIONS):
        some = slice(start, start + DIMENSIONS)
        block = np.ascontiguousarray(embeddings[:, some].T, dtype=np.float64)
        low[some], high[some] = block.min(axis=1), block.max(axis=1)
        middle[some] = np.median(block, axis=1)
    varies = high > low
    points = rng.triangular(
        low[dims],
        np.where(varies, middle, low)[dims],
        np.where(varies, high, low + 1 + abs(low))[dims],
    )
    return Draws(dims, np.where(varies[dims], points, low[dims]).astype(np.float32))


def zcore(
    embeddings: NDArray[Any],
    draws: Draws,
    *,
    n_neighbours: int = 1000,
    occupied: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """The raw ZCore score of every row, float64 (n,): no noise, not scaled.

    For each draw, with L1 distances in its two dimensions, computed in float64:
    the row nearest to the point gains 1; of the `n_neighbours` rows nearest to that row (all n - 1
    others if there are fewer) the first loses 1 if it is at distance 0, else each loses a weight
    proportional to distance^-4, the weights summing to 1. Ties go to the lowest row.

    `occupied` marks rows that are labelled or selected already. They take part like any row, so
    what lies next to them is penalised, but where one of them is nearest to the point nobody gains.
    Scores of the other rows are therefore those of the plain definition; an occupied row keeps its
    penalties only, never scores above 0, and is not meant to be ranked.

    Scores are summed in fixed point: equal to the plain definition within 1e-6 for up to a million
    draws, and the same to the bit for any number of threads (`numba.set_num_threads`).
    `progress(done, total, "coverage draws")` is called between chunks of draws; what it raises
    ends the work, as does Ctrl-C. Raises VectorError for vectors that are empty or not finite, and for draws or a
    mask that do not fit them; SettingsError for n_neighbours < 1.
    """
    from annoloop.core.zcore_kernel import Rules

    n, d = _checked(embeddings).shape
    if n_neighbours < 1:
        raise SettingsError(
            f"coverage with {n_neighbours} neighbours", fix="Use at least 1; the paper uses 1000."
        )
    if draws.dims.size and not 0 <= draws.dims.min() <= draws.dims.max() < d:
        raise VectorError(
            f"the draws name dimension {draws.dims.max()}, but the vectors have {d}",
            fix="Make the draws from these vectors.",
        )
    taken = np.zeros(n, dtype=np.bool_) if occupied is None else np.asarray(occupied, np.bool_)
    if taken.shape != (n,):
        raise VectorError(
            f"the mask of occupied rows has shape {taken.shape}, but there are {n} vectors",
            fix="Pass one boolean per row.",
        )
    total = len(draws.dims)
    if total == 0:
        return np.zeros(n)
    # One row moves by at most 1 a draw, so this is the finest unit that cannot overflow.
    unit = 1 << (62 - total.bit_length())
    sample = np.sort(embeddings[:: max(n // SAMPLE, 1)].T.astype(np.float64), axis=1)
    table = _table(embeddings, sample)
    rules = Rules(n_neighbours, unit, taken)
    groups = _plan(draws, sample, min(np.sqrt(n_neighbours / (2 * n)), 0.5))
    scores = _scored(table, groups, rules=rules, total=total, progress=progress)
    return scores / unit


def scale(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Min-max scaling to [0, 1]; all 0 where every score is the same."""
    if not raw.size:
        return raw.astype(np.float64)
    spread = raw.max() - raw.min()
    return (raw - raw.min()) / (spread if spread > 0 else 1.0)


def _checked(embeddings: NDArray[Any]) -> NDArray[Any]:
    if embeddings.ndim != 2 or not embeddings.size:
        raise VectorError(
            f"vectors of shape {embeddings.shape}",
            fix="Pass one row per sample and at least one row and one dimension.",
        )
    bad: list[int] = []
    for start in range(0, len(embeddings), ROWS):
        finite = np.isfinite(embeddings[start : start + ROWS]).all(axis=1)
        bad += (start + np.flatnonzero(~finite)).tolist()
    if bad:
        rows = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise VectorError(
            f"{len(bad)} of {len(embeddings)} vectors hold NaN or infinite values: rows {rows}",
            fix="Embed these samples again, or leave them out.",
        )
    return embeddings


def _table(embeddings: NDArray[Any], sample: NDArray[np.float64]) -> Table:
    """The vectors by dimension, float32 (float64 where they are), and the bins of their numbers."""
    from annoloop.core.zcore_kernel import Table, encode

    n, d = embeddings.shape
    columns = np.empty((d, n), np.float64 if embeddings.dtype == np.float64 else np.float32)
    for start in range(0, n, ROWS):
        columns[:, start : start + ROWS] = embeddings[start : start + ROWS].T
    quantiles = sample[:, np.arange(256) * sample.shape[1] // 256]
    edges = np.full((d, 257), np.inf)
    edges[:, :256] = quantiles
    edges[:, 0] = -np.inf
    codes = np.empty((d, n), np.uint8)
    for dim in range(d):
        encode(columns[dim], edges[dim], codes[dim])
    return Table(columns, codes, edges, np.ascontiguousarray(columns[:, ::STRIDE]))


def _plan(draws: Draws, sample: NDArray[np.float64], reach: float) -> list[list[Chunk]]:
    """The draws grouped by the dimension to walk: of the two, where fewer rows are nearby.

    Inside a group they are sorted by the other dimension, so that its column stays in the cache.
    """
    from annoloop.core.zcore_kernel import Chunk

    points = draws.points.astype(np.float64)
    nearby = _density(sample, draws.dims, points, reach)
    walked = np.argmin(nearby, axis=1)
    t = np.arange(len(walked))
    dim, other = draws.dims[t, walked], draws.dims[t, 1 - walked]
    order = np.lexsort((other, dim))
    dim, other = dim[order], np.ascontiguousarray(other[order], np.int32)
    on, off = points[t, walked][order], points[t, 1 - walked][order]
    edges = np.flatnonzero(np.diff(dim, prepend=-1, append=-1))
    groups = []
    for first, last in pairwise(edges.tolist()):
        pieces = [slice(s, min(s + CHUNK, last)) for s in range(first, last, CHUNK)]
        groups.append([Chunk(int(dim[first]), other[p], on[p], off[p]) for p in pieces])
    return groups


def _density(
    sample: NDArray[np.float64], dims: NDArray[np.int32], points: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """Rows per unit of length around each coordinate (T, 2): `reach` of all rows to each side."""
    m = sample.shape[1]
    steps = max(int(m * reach), 1)
    flat, coordinate = dims.ravel(), points.ravel()
    order = np.argsort(flat, kind="stable")
    bounds = np.searchsorted(flat[order], np.arange(len(sample) + 1))
    density = np.empty(len(flat))
    for dim, values in enumerate(sample):
        mine = order[bounds[dim] : bounds[dim + 1]]
        place = np.searchsorted(values, coordinate[mine])
        low, high = np.maximum(place - steps, 0), np.minimum(place + steps, m - 1)
        length = values[high] - values[low]
        density[mine] = np.where(length > 0, (high - low) / np.where(length > 0, length, 1), np.inf)
    return density.reshape(dims.shape)


def _line(columns: NDArray[Any], dim: int) -> Line:
    """All rows in the order of one dimension; equal values in the order of their rows."""
    from annoloop.core.zcore_kernel import Line

    column = columns[dim] + 0  # makes -0.0 the 0.0 that it is equal to
    if column.dtype == np.float64:
        order = np.argsort(column, kind="stable").astype(np.uint32)
    else:
        # As integers, float32 bits sort like the numbers once negative ones are turned over; with
        # the row in the low half one sort of 64-bit integers is several times a stable argsort.
        bits = column.view(np.uint32)
        bits = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        keys = (bits.astype(np.uint64) << np.uint64(32)) | np.arange(len(bits), dtype=np.uint64)
        keys.sort()
        order = keys.astype(np.uint32)
    sparse = order[order % STRIDE == 0]
    return Line(column[order], order, column[sparse], sparse // np.uint32(STRIDE))


def _scored(
    table: Table,
    groups: list[list[Chunk]],
    *,
    rules: Rules,
    total: int,
    progress: Progress | None,
) -> NDArray[np.int64]:
    """Run the chunks over threads, each with sums of its own: integers add up in any order."""
    import numba

    from annoloop.core.zcore_kernel import Scratch, score_draws

    n = table.columns.shape[1]
    threads = int(numba.get_num_threads())
    scratches = [
        Scratch(np.zeros(n, np.int64), np.empty(n), np.empty(n, np.uint32), np.empty(256))
        for _ in range(threads)
    ]
    free = deque(scratches)

    def work(line: Future[Line], chunk: Chunk) -> int:
        scratch = free.pop()
        try:
            score_draws(line.result(), table, chunk, rules, scratch)
        finally:
            free.append(scratch)
        return len(chunk.others)

    def submitted(pool: ThreadPoolExecutor) -> Iterator[Future[int]]:
        # Each line is sorted one group ahead, and first in the queue, so no thread waits for long.
        line = pool.submit(_line, table.columns, groups[0][0].dim)
        for here, group in enumerate(groups):
            ahead = groups[min(here + 1, len(groups) - 1)][0].dim
            following = pool.submit(_line, table.columns, ahead) if here + 1 < len(groups) else line
            for chunk in group:
                yield pool.submit(work, line, chunk)
            line = following

    done = 0
    with ThreadPoolExecutor(threads) as pool:
        try:
            waiting: deque[Future[int]] = deque()
            for future in submitted(pool):
                waiting.append(future)
                while len(waiting) > 3 * threads:
                    done += waiting.popleft().result()
                    if progress:
                        progress(done, total, WHAT)
            for future in waiting:
                done += future.result()
                if progress:
                    progress(done, total, WHAT)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return np.sum([scratch.scores for scratch in scratches], axis=0)

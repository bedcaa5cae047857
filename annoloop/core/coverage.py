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
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import SettingsError, VectorError

if TYPE_CHECKING:
    from annoloop.core.zcore_kernel import Chunk, Line, Rules, Table

Progress = Callable[[int, int, str], None]

BLOCK, DIMENSIONS, DRAWN = 1 << 14, 8, 1 << 20
"""Rows, dimensions and draws handled at once, so that no wide copy of them all is held."""


@dataclass(frozen=True)
class Draws:
    """T draws: `dims` int32 (T, 2), two dimensions; `points` float32 (T, 2), a point in them."""

    dims: NDArray[np.int32]
    points: NDArray[np.float32]


def default_draws(n: int) -> int:
    """How many draws to make for n rows: 5,000 a row up to 2,000 rows, then about equal time.

    What a draw says about one row is mostly luck (the row gains in one of n draws), so agreement
    of two seeds depends on draws per row: 5,000 give a Spearman correlation of 0.90 to 0.98. A
    draw costs about sqrt(n), so beyond 2,000 rows the number falls with sqrt(n), to the paper's
    million: minutes, not hours, and seeds agree less. benchmarks/zcore.md has the measurements.
    """
    steady = round(10_000_000 * (2_000 / max(n, 1)) ** 0.5)
    return int(min(5_000 * n, max(steady, 1_000_000)))


def make_draws(embeddings: NDArray[Any], n_draws: int, *, rng: np.random.Generator) -> Draws:
    """Draw dimensions uniformly and points from the triangular distribution of each dimension.

    `embeddings` is (n, d), float16, float32 or float64. The two dimensions of a draw differ (with
    d = 1 both are 0). Each coordinate follows the triangular distribution on (minimum, median,
    maximum) of its dimension; in a constant dimension it is that constant.
    Raises VectorError for vectors that are empty or not finite, SettingsError for n_draws < 1.
    """
    d = _checked(embeddings).shape[1]
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
    constant = high == low
    # Any other triangle will do where the constant takes its place; a flat one is not allowed.
    middle, top = np.where(constant, low, middle), np.where(constant, low + 1 + abs(low), high)
    points = np.empty(dims.shape, np.float32)
    for start in range(0, n_draws, DRAWN):
        of = dims[start : start + DRAWN]
        drawn = rng.triangular(low[of], middle[of], top[of])
        points[start : start + DRAWN] = np.where(constant[of], low[of], drawn)
    return Draws(dims, points)


def zcore(
    embeddings: NDArray[Any],
    draws: Draws,
    *,
    n_neighbours: int = 1000,
    occupied: NDArray[np.bool_] | None = None,
    conditional: bool = False,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """The raw ZCore score of every row, float64 (n,): no noise, not scaled.

    For each draw, with L1 distances in its two dimensions, computed in float64:
    the row nearest to the point gains 1; of the `n_neighbours` rows nearest to that row (all n - 1
    others if there are fewer) the first loses 1 if it is at distance 0, else each loses a weight
    proportional to distance^-4, the weights summing to 1. Ties go to the lowest row.

    `occupied` marks rows that are labelled or selected already. They take part like any row: what
    lies next to them is penalised, and where one of them is nearest to the point, nobody gains. The
    scores of the other rows are then exactly those without a mask; an occupied row keeps only its
    penalties, so its score is never above 0, and it is not meant to be ranked.
    `conditional` makes the mask count for the others too (ours, not the paper's): a row that gains
    1 gives back what its occupied neighbours lose in that draw, as it stands for what they stand
    for already; a twin of an occupied row gains nothing. Without occupied rows it changes nothing.

    Scores are summed in fixed point: equal to the plain definition within 1e-6 for up to a million
    draws, and the same to the bit for any number of threads (`numba.set_num_threads`).
    `progress(done, total, "coverage draws")` is called between chunks of draws; what it raises
    ends the work, and so does Ctrl-C. Raises VectorError for vectors that are empty or not finite,
    and for draws or a mask that do not fit them; SettingsError for n_neighbours < 1.
    """
    from annoloop.core.zcore_kernel import DENSE, Rules
    from annoloop.core.zcore_table import chunks_of, empty_table, sample_of, walk_of

    n, d = _checked(embeddings).shape
    if n_neighbours < 1:
        raise SettingsError(
            f"coverage with {n_neighbours} neighbours", fix="Use at least 1; the paper uses 1000."
        )
    taken = np.zeros(n, dtype=np.bool_) if occupied is None else np.asarray(occupied, np.bool_)
    _check_fit(draws, taken, (n, d))
    total = len(draws.dims)
    if total == 0:
        return np.zeros(n)
    sample = sample_of(embeddings)
    table = empty_table(embeddings, sample)
    dense = n <= DENSE * n_neighbours
    if dense:
        walk = np.zeros(total, np.intp)
    else:
        walk = walk_of(draws.dims, draws.points, sample, np.sqrt(n_neighbours / (2 * n)))
    # A draw moves a row by at most 1, so this is the finest unit that cannot overflow.
    rules = Rules(n_neighbours, 1 << (62 - total.bit_length()), taken, conditional)
    groups = chunks_of(draws.dims, draws.points, walk)
    counts = _counted(table, groups, rules=rules, dense=dense, report=_reporter(total, progress))
    return counts.astype(np.float64) / rules.unit


def scale(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Min-max scaling to [0, 1]; all 0 where every score is the same."""
    if not raw.size:
        return raw.astype(np.float64)
    spread = float(raw.max() - raw.min())
    scaled: NDArray[np.float64] = (raw - raw.min()) / (spread if spread > 0 else 1.0)
    return scaled


def _checked(embeddings: NDArray[Any]) -> NDArray[Any]:
    if embeddings.ndim != 2 or not embeddings.size:
        raise VectorError(
            f"vectors of shape {embeddings.shape}",
            fix="Pass one row per sample, at least one row and at least one dimension.",
        )
    bad: list[int] = []
    for start in range(0, len(embeddings), BLOCK):
        # False for NaN too; points are float32, so what float32 cannot hold cannot be drawn for.
        held = np.abs(embeddings[start : start + BLOCK]) <= np.finfo(np.float32).max
        bad += (start + np.flatnonzero(~held.all(axis=1))).tolist()
    if bad:
        rows = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise VectorError(
            f"{len(bad)} of {len(embeddings)} vectors hold NaN or infinite values: rows {rows}",
            fix="Embed these samples again, or leave them out.",
        )
    return embeddings


def _check_fit(draws: Draws, taken: NDArray[np.bool_], shape: tuple[int, int]) -> None:
    n, d = shape
    if draws.dims.size and not 0 <= draws.dims.min() <= draws.dims.max() < d:
        raise VectorError(
            f"the draws name dimension {draws.dims.max()}, but the vectors have {d}",
            fix="Make the draws from these vectors.",
        )
    if taken.shape != (n,):
        raise VectorError(
            f"the mask of occupied rows has shape {taken.shape}, but there are {n} vectors",
            fix="Pass one boolean per row.",
        )


def _reporter(total: int, progress: Progress | None) -> Callable[[int], None]:
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total, "coverage draws")

    return report


def _jobs(
    pool: ThreadPoolExecutor, table: Table, groups: list[list[Chunk]], *, dense: bool
) -> Iterator[tuple[Future[Line] | None, Chunk]]:
    """Every chunk with its line (none is needed where all rows are looked at)."""
    from annoloop.core.zcore_kernel import encode
    from annoloop.core.zcore_table import line_of

    if dense:
        yield from ((None, chunk) for group in groups for chunk in group)
        return
    list(pool.map(encode, table.columns, table.edges, table.codes))
    ahead = pool.submit(line_of, table.columns[groups[0][0].dim])
    for group, following in zip_longest(groups, groups[1:]):
        line = ahead
        if following:  # sorted while this group runs, so that no thread waits for long
            ahead = pool.submit(line_of, table.columns[following[0].dim])
        yield from ((line, chunk) for chunk in group)


def _counted(
    table: Table,
    groups: list[list[Chunk]],
    *,
    rules: Rules,
    dense: bool,
    report: Callable[[int], None],
) -> NDArray[np.int64]:
    """Run the chunks over threads, each with sums of its own: integers add up in any order."""
    import numba

    from annoloop.core.zcore_kernel import Scratch, score_dense, score_sparse

    n = table.columns.shape[1]
    threads = int(numba.get_num_threads())
    scratches = [
        Scratch(np.zeros(n, np.int64), np.empty(n), np.arange(n, dtype=np.uint32), np.empty(256))
        for _ in range(threads)
    ]
    free = deque(scratches)

    def work(line: Future[Line] | None, chunk: Chunk) -> int:
        scratch = free.pop()
        try:
            if line is None:
                score_dense(table, chunk, rules, scratch)
            else:
                score_sparse(line.result(), table, chunk, rules, scratch)
        finally:
            free.append(scratch)
        return len(chunk.others)

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[int]] = deque()
        try:
            for line, chunk in _jobs(pool, table, groups, dense=dense):
                waiting.append(pool.submit(work, line, chunk))
                if len(waiting) > 3 * threads:
                    report(waiting.popleft().result())
            for future in waiting:
                report(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return sum((scratch.scores for scratch in scratches), np.zeros(n, np.int64))

"""Nearest neighbours by cosine: exact, block by block, the same for any number of threads.

faiss proposes rows of a block in single precision; what may belong to the nearest is measured again
in double precision, each pair alone, so that neither the shape of a block nor the number of threads
can reach a score or the order of a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import SettingsError, VectorError

BLOCK = 65_536
MARGIN = 16
CHUNK = 1 << 17
"""Numbers widened to double precision at once (1 MiB, which fits a core's cache)."""
ANSWERS = 1 << 24
"""Proposals held at once when a crowd of ties asks for many of them."""
NAMED = 5


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Vectors (n, d) as given, their lengths (n,) in double precision, and both divided."""

    raw: NDArray[np.float32]
    norms: NDArray[np.float64]
    unit: NDArray[np.float32]


def nearest(
    queries: NDArray[np.floating],
    pool: NDArray[np.floating],
    *,
    k: int,
    names: Sequence[str] | None = None,
    block: int = BLOCK,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `k` rows of `pool` (n, d) nearest to each query (q, d): cosines and positions, (q, k).

    Cosines fall along a row; of equal ones the lowest position comes first. A vector of length zero
    is at cosine 0 to everything. With k > n all n rows come back. Beside its answer this holds one
    block of the pool, never queries × pool. Raises VectorError for values that are not finite
    (rows of the pool by `names`, where given) and for widths that differ.
    """
    if k < 1 or block < 1:
        raise SettingsError(
            f"nearest neighbours were asked with k = {k}, block = {block}",
            fix="Ask for at least one neighbour, in blocks of at least one row.",
        )
    if queries.ndim != 2 or pool.ndim != 2 or queries.shape[1] != pool.shape[1]:
        raise VectorError(
            f"vectors of shape {queries.shape} cannot be compared with {pool.shape}",
            fix="Embed everything with the same embedder: `annoloop embed`.",
        )
    asked = _rows(queries, 0, what="query", names=None)
    k = min(k, len(pool))
    best = np.empty((len(queries), 0), dtype=np.float32)
    where = np.empty((len(queries), 0), dtype=np.int64)
    if not len(queries) or not len(pool):
        return best, where
    for first in range(0, len(pool), block):
        rows = _rows(pool[first : first + block], first, what="row", names=names)
        best, where = _merge(asked, rows, first, k=k, so_far=(best, where))
    return best, where


def _rows(
    vectors: NDArray[np.floating], first: int, *, what: str, names: Sequence[str] | None
) -> _Rows:
    with np.errstate(over="ignore"):  # too large for single precision: refused below, as infinite
        raw = np.ascontiguousarray(vectors, dtype=np.float32)
    norms = np.empty(len(raw), dtype=np.float64)
    unit = np.zeros_like(raw)
    step = max(1, CHUNK // max(1, raw.shape[1]))
    for start in range(0, len(raw), step):
        part = slice(start, start + step)
        wide = raw[part].astype(np.float64)
        norms[part] = np.sqrt((wide * wide).sum(axis=1))
        long = norms[part, None] > 0.0
        np.divide(wide, norms[part, None], out=wide, where=long & np.isfinite(norms[part, None]))
        unit[part] = wide
    broken = np.flatnonzero(~np.isfinite(norms)) + first
    if len(broken):
        listed = [f"{what} {i}" if names is None else names[i] for i in broken[:NAMED].tolist()]
        more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
        raise VectorError(
            f"vectors hold NaN or infinite values: {', '.join(listed)}{more}",
            fix="Remove them and run `annoloop embed` again; check the embedder if they come back.",
        )
    return _Rows(raw, norms, unit)


def _merge(
    asked: _Rows,
    rows: _Rows,
    first: int,
    *,
    k: int,
    so_far: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k nearest of what was found `so_far` and one more block that starts at row `first`."""
    best, where = so_far
    width = min(k, best.shape[1] + len(rows.raw))
    merged = np.empty((len(best), width), dtype=np.float32)
    places = np.empty((len(best), width), dtype=np.int64)
    todo = np.arange(len(best))
    depth = min(len(rows.raw), k + MARGIN + k // 8)
    while len(todo):
        doubtful = []
        for start in range(0, len(todo), max(1, ANSWERS // depth)):
            part = todo[start : start + max(1, ANSWERS // depth)]
            cosines, found, rest = _propose(asked, rows, part, k=k, depth=depth, best=best)
            # Everything found so far lies before this block: a stable sort keeps ties in order.
            cosines = np.concatenate([best[part], cosines], axis=1)
            found = np.concatenate([where[part], found + first], axis=1)
            order = np.argsort(-cosines, axis=1, kind="stable")[:, :width]
            merged[part] = np.take_along_axis(cosines, order, axis=1)
            places[part] = np.take_along_axis(found, order, axis=1)
            doubtful.append(part[merged[part, -1] <= rest])
        todo = np.concatenate(doubtful)
        depth = min(len(rows.raw), depth * 8)
    return merged, places


def _propose(
    asked: _Rows,
    rows: _Rows,
    part: NDArray[np.int64],
    *,
    k: int,
    depth: int,
    best: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """What a block offers to the queries `part`: cosines, rising positions, and a bound.

    The bound is the most that a row which was not proposed can reach (-inf if all were). Proposals
    that cannot be among the k nearest have cosine -inf.
    """
    import faiss

    slack = np.float32((asked.raw.shape[1] + 8) * 2.0**-24)  # error of a single-precision product
    rough, found = faiss.knn(asked.unit[part], rows.unit, depth, metric=faiss.METRIC_INNER_PRODUCT)
    floor = rough[:, min(k, depth) - 1] - 2 * slack
    if best.shape[1] == k:
        floor = np.maximum(floor, best[part, -1] - slack)
    rest = np.full(len(part), -np.inf, dtype=np.float32)
    if depth < len(rows.raw):
        rest = rough[:, -1] + slack
    by_position = np.argsort(found, axis=1)
    found = np.take_along_axis(found, by_position, axis=1)
    near = np.take_along_axis(rough, by_position, axis=1) >= floor[:, None]
    cosines = np.full(found.shape, -np.inf, dtype=np.float32)
    cosines[near] = _cosines(asked, rows, part[np.nonzero(near)[0]], found[near])
    return cosines, found, rest


def _cosines(
    asked: _Rows, rows: _Rows, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Cosine of each pair, summed in double precision along the row, whatever its neighbours."""
    out = np.empty(len(left), dtype=np.float64)
    step = max(1, CHUNK // max(1, asked.raw.shape[1]))
    for start in range(0, len(left), step):
        part = slice(start, start + step)
        product = asked.raw[left[part]].astype(np.float64)
        product *= rows.raw[right[part]]
        out[part] = product.sum(axis=1)
    length = asked.norms[left] * rows.norms[right]
    np.divide(out, length, out=out, where=length > 0.0)
    return np.clip(out, -1.0, 1.0).astype(np.float32)

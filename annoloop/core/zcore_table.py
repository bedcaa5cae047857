"""How ZCore lays out vectors and draws for its kernel: by column, by line, by walked dimension."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.zcore_kernel import Chunk, Line, Table

BLOCK = 512
"""Rows turned into columns at once: what is read stays near until all of it is written."""
SAMPLE = 4096
"""Rows, evenly spread, that the bins and the density along each dimension are judged from."""
STRIDE = 19
"""Every so-many-th row is sparse; a prime, to miss the rhythm of cameras and frames."""
CHUNK = 512
"""Draws between two looks at progress and cancellation: tens of milliseconds."""


def sample_of(embeddings: NDArray[Any]) -> NDArray[np.float64]:
    """Sorted numbers of evenly spread rows, (d, about SAMPLE)."""
    rows = embeddings[:: max(len(embeddings) // SAMPLE, 1)]
    return np.sort(rows.T.astype(np.float64), axis=1)


def empty_table(embeddings: NDArray[Any], sample: NDArray[np.float64]) -> Table:
    """The vectors by column, float32 (float64 where that is too narrow); bins not yet encoded.

    Bin edges are quantiles of the sample: any edges are right, these are narrow where rows are.
    """
    n, d = embeddings.shape
    edges = np.full((d, 257), np.inf)
    edges[:, :256] = sample[:, np.arange(256) * sample.shape[1] // 256]
    edges[:, 0] = -np.inf
    codes = np.empty((d, n), np.uint8)
    return Table(_columns(embeddings), codes, edges, _columns(embeddings[::STRIDE]))


def _columns(embeddings: NDArray[Any]) -> NDArray[Any]:
    n, d = embeddings.shape
    narrow = embeddings.dtype in (np.float16, np.float32)
    columns = np.empty((d, n), np.float32 if narrow else np.float64)
    for start in range(0, n, BLOCK):
        columns[:, start : start + BLOCK] = embeddings[start : start + BLOCK].T
    return columns


def line_of(column: NDArray[Any]) -> Line:
    """All rows in the order of one column; equal values in the order of their rows."""
    column = column + 0  # makes -0.0 the 0.0 that it is equal to
    if column.dtype == np.float64:
        order = np.argsort(column, kind="stable").astype(np.uint32)
        values = column[order]
    else:
        # Signed integers sort like the float32 whose bits they hold, once those of negative
        # numbers are turned over. With the row in the low half of an int64, one plain sort is
        # stable, and several times faster than a stable argsort.
        keys = _turned(column.view(np.int32)).astype(np.int64) << 32
        keys |= np.arange(len(column))
        keys.sort()
        order = keys.astype(np.uint32)
        values = _turned((keys >> 32).astype(np.int32)).view(np.float32)
    places = np.flatnonzero(order % STRIDE == 0)
    return Line(values, order, values[places], order[places] // np.uint32(STRIDE))


def _turned(bits: NDArray[np.int32]) -> NDArray[np.int32]:
    # The shift copies the sign to all bits, so only those of negative numbers are turned over.
    turned: NDArray[np.int32] = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return turned


def walk_of(
    dims: NDArray[np.int32], points: NDArray[np.float32], sample: NDArray[np.float64], reach: float
) -> NDArray[np.intp]:
    """Which of its two dimensions each draw had better walk, 0 or 1: where fewer rows are nearby.

    Judged by the distance between the sample's numbers `reach` (a share of all rows) to each side.
    """
    m = sample.shape[1]
    steps = max(int(m * reach), 1)
    flat, coordinate = dims.ravel(), points.ravel()
    order = np.argsort(flat)
    bounds = np.searchsorted(flat[order], np.arange(len(sample) + 1))
    density = np.empty(len(flat))
    for dim, values in enumerate(sample):
        mine = order[bounds[dim] : bounds[dim + 1]]
        place = np.searchsorted(values, coordinate[mine])
        low, high = np.maximum(place - steps, 0), np.minimum(place + steps, m - 1)
        length = values[high] - values[low]
        density[mine] = np.where(length > 0, (high - low) / np.where(length > 0, length, 1), np.inf)
    fewer: NDArray[np.intp] = np.argmin(density.reshape(dims.shape), axis=1)
    return fewer


def chunks_of(
    dims: NDArray[np.int32], points: NDArray[np.float32], walk: NDArray[np.intp]
) -> list[list[Chunk]]:
    """The draws in chunks of the same walked dimension, one list of chunks for each dimension.

    Within a list they are sorted by the other dimension, so that its column stays in the cache.
    """
    t = np.arange(len(walk))
    dim, other = dims[t, walk], dims[t, 1 - walk]
    order: NDArray[np.intp] = np.argsort(dim.astype(np.int64) << 32 | other)
    dim, other = dim[order], other[order]
    on, off = (points[t, side][order].astype(np.float64) for side in (walk, 1 - walk))
    edges = np.flatnonzero(np.diff(dim, prepend=-1, append=-1))
    groups = []
    for first, last in pairwise(edges.tolist()):
        pieces = [slice(s, min(s + CHUNK, last)) for s in range(first, last, CHUNK)]
        groups.append([Chunk(int(dim[first]), other[p], on[p], off[p]) for p in pieces])
    return groups

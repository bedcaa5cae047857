"""Vectors as points of a plane, so that a person can look at them: neighbours stay neighbours.

PaCMAP after PCA. It shows which images look alike, and which crowds there are; how far apart two
crowds are, and how wide one is, means nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import DependencyError, VectorError

KEPT = 50
"""Directions that PCA keeps: more cost time and change no neighbour that a plane could show."""
FEW = 30
"""Up to so many vectors lie as PCA lays them: there are too few pairs for PaCMAP to weigh."""

Told = Callable[[int, int, str], None]


def layout(
    vectors: NDArray[np.float32],
    *,
    seed: int,
    names: Sequence[str] | None = None,
    progress: Told = lambda _done, _total, _what: None,
) -> NDArray[np.float32]:
    """Points (n, 2) of vectors (n, d), by the angle between them.

    The same for the same seed, by the same libraries on the same kind of processor. Raises
    VectorError naming the first vector (by `names`, else by row) that is not finite, and
    DependencyError where PaCMAP has nowhere to keep what it compiles.
    """
    if vectors.ndim != 2:
        raise VectorError(
            f"vectors of shape {vectors.shape} are no table", fix="Give one row for each image."
        )
    n = len(vectors)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        first = int(broken[0])
        raise VectorError(
            f"{len(broken)} of {n} vectors hold NaN or infinity, first that of "
            f"{names[first] if names is not None else f'row {first}'}",
            fix="Look at that image, or choose another embedder with `embed --embedder`.",
        )
    progress(0, 3, "reducing vectors")
    reduced = _reduced(_directions(vectors))
    if n <= FEW or not np.ptp(reduced, axis=0).any():
        progress(3, 3, "laying out")
        return np.ascontiguousarray(reduced[:, :2])
    progress(1, 3, "laying out")
    points = _pacmap(reduced, seed)
    progress(3, 3, "laying out")
    return points


def _directions(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; those of zeros stay."""
    long = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(long > 0, long, 1)).astype(np.float32)


def _reduced(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The directions of most variance, (n, at least 2 and at most KEPT), greatest first."""
    n, width = rows.shape
    kept = min(KEPT, width, n)
    out = np.zeros((n, max(2, kept)), dtype=np.float32)
    if n > 1 and np.ptp(rows, axis=0).any():
        from sklearn.decomposition import PCA

        # The eigenvectors of (d, d): exact, without chance, and the fastest where n is large.
        solver = "covariance_eigh" if n > width else "full"
        out[:, :kept] = PCA(kept, svd_solver=solver).fit_transform(rows)
    return out


def _pacmap(rows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    import faiss

    try:
        from pacmap import pacmap
    except RuntimeError as error:  # numba's: it compiles when it is imported, and keeps the result
        raise DependencyError(
            f"PaCMAP cannot keep its compiled kernels ({error})",
            fix="Set NUMBA_CACHE_DIR to a folder that may be written, and run it again.",
        ) from error
    # It logs that it was given a seed, and leaves faiss with one thread.
    pacmap.logger.disabled = True
    threads = faiss.omp_get_max_threads()
    try:
        made = pacmap.PaCMAP(n_components=2, apply_pca=False, random_state=seed)
        points = made.fit_transform(rows, init="pca")
    finally:
        faiss.omp_set_num_threads(threads)
    return np.ascontiguousarray(points, dtype=np.float32)

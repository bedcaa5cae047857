"""Cosines by matrix product that come out the same to the last bit for any number of threads.

A matrix product adds in an order that its library chooses. On a grid of powers of two every product
and every sum of unit vectors is exact, so the order cannot matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FINE = 2.0**24
"""Steps to 1 in double precision: sums of unit vectors' products stay below 2^53."""
COARSE = 2.0**11
"""Steps to 1 in single precision: sums stay below 2^24; a cosine is good to about 0.001."""


def fine(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows (n, d) at length 1, rounded to 2^-24; a row of length zero stays zero."""
    return np.asarray(np.rint(_unit(vectors) * FINE) / FINE)


def coarse(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows (n, d) at length 1 in single precision, rounded to 2^-11: half the memory of `fine`."""
    return np.asarray(np.rint(_unit(vectors) * COARSE) / COARSE, dtype=np.float32)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = np.ascontiguousarray(vectors, dtype=np.float64)
    lengths = np.sqrt((wide * wide).sum(axis=1, keepdims=True))
    unit = np.zeros_like(wide)
    np.divide(wide, lengths, out=unit, where=lengths > 0.0)
    return unit

"""What the verb `map` answers, and the map of all samples for those who draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MapResult:
    """`computed` is False where all images had their place already."""

    embedder: str
    images: int
    computed: bool
    seconds: float
    method: str
    seed: int
    at: str


@dataclass(frozen=True, slots=True)
class MapState:
    """How much of a project is on the map of its current vectors; `at` is None if there is none."""

    embedder: str
    images: int
    placed: int
    missing: int
    at: str | None


@dataclass(frozen=True, slots=True)
class Facet:
    """One thing to colour by: `codes` (n,) point into `values`; value 0 is that there is none."""

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class SampleMap:
    """Samples that have a place, sorted by id: `points` (n, 2), and what is known of each."""

    state: MapState
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    points: NDArray[np.float32]
    facets: tuple[Facet, ...]

"""Failures → the modes that they come in: clusters by density inside (class × type).

Average link, not k-means: k-means splits the largest cluster until all are of one size, which gives
the biggest crowd the most clusters and so undoes any quota.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.cosines import fine
from annoloop.core.targeting import Probe, Query, probes, stacked
from annoloop.errors import SettingsError
from annoloop.records import FailureType

THRESHOLD = 0.5
FLOOR_PERCENTILE = 5.0
AT_ONCE = 2_000
"""Vectors linked at once: 2 million pairs, 16 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Failures of one type and class that look alike: one probe for each distinct vector.

    `failures` counts all of them; `weight` is sqrt(distinct vectors) × what the type costs in
    AP50; `floor` is the cosine that the members' own pairs reach but for the lowest 5 %.
    """

    probes: tuple[Probe, ...]
    failures: int
    weight: float
    floor: float


def find_clusters(queries: Sequence[Query], *, threshold: float = THRESHOLD) -> tuple[Cluster, ...]:
    """The clusters of failures, heaviest first; the order of `queries` does not matter.

    Inside one class and type, average link joins vectors while their mean cosine is at least
    `threshold`. A cluster counts distinct vectors: failures that share one (those of one image,
    where only whole images have vectors) are a crowd in one place, not a mode of their own. Its
    floor is the 5th percentile of the cosines between its vectors; a vector alone has the
    threshold for a floor, below which nothing would have joined it. Where no failure has a price,
    all types weigh the same. Above 2,000 vectors of a class and type the dearest 2,000 are linked,
    the others join the cluster with the highest mean cosine that reaches the threshold, and those
    that reach none are linked among themselves in turn. Raises SettingsError for a threshold
    outside [0, 1), VectorError for vectors that are broken or of several widths.
    """
    if not 0.0 <= threshold < 1.0:
        raise SettingsError(
            f"failures would be clustered at a cosine of {threshold}",
            fix="Choose a threshold from 0 to just below 1, for instance 0.5.",
        )
    if queries:
        stacked(probes(queries))  # refuses broken vectors
    cells: dict[tuple[FailureType, int], list[Query]] = {}
    for query in queries:
        cells.setdefault((query.failure.type, query.failure.class_id), []).append(query)
    worth = _worth(queries)
    found = [
        _cluster(members, worth[kind], threshold=threshold)
        for (kind, _), cell in sorted(cells.items())
        for members in _linked(probes(cell), threshold=threshold)
    ]
    order = sorted(range(len(found)), key=lambda i: -found[i].weight)  # ties stay in their order
    return tuple(found[i] for i in order)


def _worth(queries: Sequence[Query]) -> dict[FailureType, float]:
    """What repairing all failures of a type would gain; 1 for every type if nothing is known."""
    prices: dict[FailureType, list[float]] = {}
    for query in queries:
        prices.setdefault(query.failure.type, []).append(query.failure.price)
    worth = {kind: math.fsum(listed) for kind, listed in prices.items()}
    return worth if any(worth.values()) else dict.fromkeys(worth, 1.0)


def _linked(cell: Sequence[Probe], *, threshold: float) -> list[list[Probe]]:
    """The probes of one class and type, cluster by cluster, dearest first."""
    left, found = list(cell), []
    while left:
        head, rest = left[:AT_ONCE], left[AT_ONCE:]
        labels = _average_link(_units(head), threshold=threshold)
        groups = [
            [head[i] for i in np.flatnonzero(labels == label).tolist()]
            for label in dict.fromkeys(labels.tolist())
        ]
        left = []
        if rest:
            # The mean cosine with a cluster's members is the product with the mean of their units.
            centres = np.stack([_units(group).mean(axis=0) for group in groups])
            for probe, unit in zip(rest, _units(rest), strict=True):
                near = (centres * unit).sum(axis=1)
                best = int(near.argmax())
                (groups[best] if near[best] >= threshold else left).append(probe)
        found += groups
    return found


def _average_link(units: NDArray[np.float64], *, threshold: float) -> NDArray[np.int64]:
    """The cluster of each unit vector (n, d): (n,)."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(units) == 1:
        return np.zeros(1, dtype=np.int64)
    tree = linkage(np.clip(1.0 - _pairs(units), 0.0, 2.0), method="average")
    return np.asarray(fcluster(tree, t=1.0 - threshold, criterion="distance"), dtype=np.int64)


def _cluster(members: Sequence[Probe], worth: float, *, threshold: float) -> Cluster:
    floor = threshold
    if len(members) > 1:
        floor = float(np.percentile(_pairs(_units(members[:AT_ONCE])), FLOOR_PERCENTILE))
    return Cluster(
        probes=tuple(members),
        failures=sum(1 + probe.others for probe in members),
        weight=math.sqrt(len(members)) * worth,
        floor=floor,
    )


def _units(members: Sequence[Probe]) -> NDArray[np.float64]:
    return fine(stacked(members))


def _pairs(units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines of all pairs of rows, (n (n - 1) / 2,)."""
    return np.asarray((units @ units.T)[np.triu_indices(len(units), 1)])

"""Coverage by distance: `kcenter`, `facility` and `typiclust` as sources of a mix.

All three know what is labelled (`Evidence.labelled`) and what the batch holds already
(`Evidence.picked`), and none repeats it. They need vectors; without, they rank nobody and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.candidates import Candidates, Evidence, Ranking
from annoloop.core.facility import facility_location
from annoloop.core.kcenter import farthest_first
from annoloop.core.typiclust import most_typical


def kcenter(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """Farthest first: whatever is least like all that is chosen (see `kcenter`)."""
    vectors = candidates.vectors
    if vectors is None:
        return _blind()
    centres, labelled = _chosen(vectors, evidence)
    found = farthest_first(vectors, want=want, centres=centres, closed=taken, names=candidates.ids)

    def explain(index: int) -> tuple[str, Mapping[str, Any]]:
        nearest, distance = int(found.nearest[index]), float(found.distances[index])
        if nearest < 0:
            return (
                "nothing is labelled or chosen yet, and this is most like the whole pool: cosine "
                f"distance {distance:.2f} to its mean",
                {"distance": distance},
            )
        details: dict[str, Any] = {"distance": distance}
        to = "image of this batch"
        if nearest < labelled:
            to = "labelled image"
        elif nearest >= found.centres:
            other = candidates.ids[int(found.positions[nearest - found.centres])]
            to, details["nearest"] = f"{to} ({other})", other
        return (
            f"farthest from everything chosen: cosine distance {distance:.2f} to its nearest {to}",
            details,
        )

    return Ranking(found.positions, found.distances, explain)


def facility(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """What represents the most of the pool that nothing chosen represents (see `facility`)."""
    vectors = candidates.vectors
    if vectors is None:
        return _blind()
    centres, _ = _chosen(vectors, evidence)
    found = facility_location(
        vectors, want=want, rng=rng, centres=centres, closed=taken, names=candidates.ids
    )
    about = "about " if found.sampled else ""

    def explain(index: int) -> tuple[str, Mapping[str, Any]]:
        images, gain = int(found.served[index]), float(found.gains[index])
        reason = (
            f"represents {about}{images:,} image{'' if images == 1 else 's'} of the pool better "
            "than anything chosen before"
        )
        return reason, {"represents": images, "gain": gain}

    note = None
    if len(found.positions) < want:
        note = "every other image is represented by one that is chosen"
    return Ranking(found.positions, found.gains, explain, note)


def typiclust(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """The most typical image of each cluster with the fewest labels (see `typiclust`)."""
    vectors = candidates.vectors
    if vectors is None:
        return _blind()
    centres, _ = _chosen(vectors, evidence)
    found = most_typical(
        vectors, want=want, rng=rng, centres=centres, closed=taken, names=candidates.ids
    )

    def explain(index: int) -> tuple[str, Mapping[str, Any]]:
        cluster, size = int(found.clusters[index]), int(found.sizes[index])
        labels = int(found.labels[index])
        reason = (
            f"most typical of cluster {cluster} of {found.count}: {size:,} "
            f"image{'' if size == 1 else 's'}, {labels or 'none'} labelled or chosen"
        )
        return reason, {
            "cluster": cluster,
            "clusters": found.count,
            "images": size,
            "labelled": labels,
        }

    return Ranking(found.positions, found.scores, explain)


def _chosen(
    vectors: NDArray[np.floating], evidence: Evidence
) -> tuple[NDArray[np.floating] | None, int]:
    """Vectors of what is labelled and of what this batch holds, and how many are the former."""
    picked = None if evidence.picked is None else vectors[evidence.picked]
    if evidence.labelled is None:
        return picked, 0
    if picked is None or not len(picked):
        return evidence.labelled, len(evidence.labelled)
    return np.concatenate([evidence.labelled, picked]), len(evidence.labelled)


def _blind() -> Ranking:
    none = np.empty(0, dtype=np.int64)
    note = "no vectors are stored (`annoloop embed` makes them)"
    return Ranking(none, none.astype(np.float64), lambda _: ("", {}), note)

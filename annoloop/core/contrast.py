"""How a batch differs from the pool that it was picked from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annoloop.core.neighbours import nearest
from annoloop.core.uncertainty import MIN_SCORE
from annoloop.records import Detection, Pick

LOOKED_AT = 1_000
"""Images from which distances of pool and batch are estimated; of more, a random choice."""


def distances(
    pool: NDArray[np.floating],
    picked: NDArray[np.bool_],
    labelled: NDArray[np.floating],
    *,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Mean cosine distance to the nearest labelled image: pool (n, d), labelled (m, d).

    Of the pool before the batch is labelled and after, and of the batch itself before. Without a
    labelled image there is only the distance after. Empty without picks.
    """
    if not picked.any():
        return {}
    some = np.arange(len(pool))
    if len(some) > LOOKED_AT:
        some = np.sort(rng.choice(len(some), LOOKED_AT, replace=False))
    to_batch = nearest(pool[some], pool[picked], k=1)[0][:, 0]
    if not len(labelled):
        return {"pool_distance_after": _distance(to_batch)}
    batch = np.flatnonzero(picked)
    if len(batch) > LOOKED_AT:
        batch = np.sort(rng.choice(batch, LOOKED_AT, replace=False))
    to_labelled = nearest(pool[some], labelled, k=1)[0][:, 0]
    return {
        "pool_distance_before": _distance(to_labelled),
        "pool_distance_after": _distance(np.maximum(to_labelled, to_batch)),
        "batch_distance_before": _distance(nearest(pool[batch], labelled, k=1)[0][:, 0]),
    }


def _distance(cosines: NDArray[np.float32]) -> float:
    return round(1.0 - float(cosines.mean(dtype=np.float64)), 6)


def clusters_touched(picks: Sequence[Pick]) -> dict[str, float]:
    """How many clusters of failures the targeted picks stand for, and of how many."""
    told = [pick.details for pick in picks if "cluster" in pick.details]
    if not told:
        return {}
    touched = {(details["cluster"], details["clusters"]) for details in told}
    return {"clusters": told[0]["clusters"], "clusters_touched": len(touched)}


def believed_boxes(found: Sequence[Sequence[Detection]], *, classes: int) -> NDArray[np.float64]:
    """Boxes of each class that a model believes in, (n, classes): scores that are 0.05 or more."""
    believed = np.zeros((len(found), classes))
    for row, boxes in enumerate(found):
        for one in boxes:
            if one.score >= MIN_SCORE:
                believed[row, one.class_id] += one.score
    return believed

"""The numbers that say how a batch differs from the pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core import contrast as core_contrast
from annoloop.core.selection import Candidates
from annoloop.records import Selection, Split, Status
from annoloop.steps.context import Context
from annoloop.store import iterations, samples


def contrast(
    context: Context, candidates: Candidates, chosen: Selection, *, name: str
) -> dict[str, Any]:
    """Distances before and after, clusters touched, boxes and classes expected where known."""
    picked = {pick.sample_id for pick in chosen.picks}
    summary: dict[str, Any] = dict(core_contrast.clusters_touched(chosen.picks))
    with context.store.read() as connection:
        labeled = samples.load_hashes(connection, split=Split.POOL, statuses=(Status.ANNOTATED,))
        trained = iterations.step_history(connection, "train")
    if candidates.vectors is not None:
        width = candidates.vectors.shape[1]
        known = np.empty((0, width), dtype=np.float32)
        if labeled:
            known = context.vectors.load_vectors(name, labeled)
        inside = np.array([key in picked for key in candidates.ids], dtype=bool)
        rng = np.random.default_rng(context.settings.select.seed)
        summary |= core_contrast.distances(candidates.vectors, inside, known, rng=rng)
    if trained:
        summary |= _expected(context, str(trained[-1].record["model"]), candidates.ids, picked)
    return summary


def _expected(
    context: Context, model: str, pool: Sequence[str], picked: set[str]
) -> dict[str, Any]:
    """Boxes that the model believes in, of the batch and of as many images of the pool at random.

    Empty unless it predicted on every pick. The pool is judged by 1,000 of its images.
    """
    rng = np.random.default_rng(context.settings.select.seed)
    some = pool
    if len(pool) > core_contrast.LOOKED_AT:
        some = rng.choice(pool, core_contrast.LOOKED_AT, replace=False).tolist()
    found = context.vectors.load_predictions(model, picked.union(some)) or {}
    if not picked or not picked <= found.keys():
        return {}
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
    batch, random = (
        core_contrast.believed_boxes(
            [found[key] for key in keys if key in found], classes=len(classes)
        )
        for keys in (sorted(picked), some)
    )
    expected, usual = batch.sum(axis=0), random.mean(axis=0) * len(picked)
    return {
        "boxes_expected": round(float(expected.sum()), 3),
        "boxes_per_image": round(float(expected.sum()) / len(picked), 3),
        "boxes_per_image_of_pool": round(float(random.sum(axis=1).mean()), 3),
        "classes_expected": _by_class(classes, expected),
        "classes_expected_at_random": _by_class(classes, usual),
    }


def _by_class(classes: Sequence[str], boxes: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(n, 1) for name, n in zip(classes, boxes.tolist(), strict=True)}

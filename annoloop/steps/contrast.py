"""The numbers that say how a batch differs from the pool."""

from __future__ import annotations

import numpy as np

from annoloop.core import contrast as core_contrast
from annoloop.core.selection import Candidates
from annoloop.records import Selection, Split, Status
from annoloop.steps.context import Context
from annoloop.store import iterations, samples


def contrast(
    context: Context, candidates: Candidates, chosen: Selection, *, name: str
) -> dict[str, float]:
    """Distances before and after, clusters touched, boxes expected where all picks are predicted.

    Boxes are what the newest model believes, as many per image in the batch and in what it
    predicted on in the pool.
    """
    picked = {pick.sample_id for pick in chosen.picks}
    summary = dict(core_contrast.clusters_touched(chosen.picks))
    with context.store.read() as connection:
        labeled = samples.load(connection, split=Split.POOL, statuses=(Status.ANNOTATED,))
        trained = iterations.step_history(connection, "train")
    if candidates.vectors is not None:
        width = candidates.vectors.shape[1]
        known = np.empty((0, width), dtype=np.float32)
        if labeled:
            known = context.vectors.load_vectors(name, [s.sha256 for s in labeled])
        inside = np.array([key in picked for key in candidates.ids], dtype=bool)
        rng = np.random.default_rng(context.settings.select.seed)
        summary |= core_contrast.distances(candidates.vectors, inside, known, rng=rng)
    model = str(trained[-1].record["model"]) if trained else None
    found = (context.vectors.load_predictions(model, candidates.ids) or {}) if model else {}
    if picked and picked <= found.keys():
        boxes = core_contrast.expected_boxes(found[key] for key in picked)
        everyone = core_contrast.expected_boxes(found.values())
        summary["boxes_expected"] = round(boxes, 3)
        summary["boxes_per_image"] = round(boxes / len(picked), 3)
        summary["boxes_per_image_of_pool"] = round(everyone / len(found), 3)
    return summary

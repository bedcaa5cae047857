"""Vectors of regions: where the model failed on val, and where objects may be in the pool."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import cast

import numpy as np
from numpy.typing import NDArray

from annoloop.core.patches import Patches, proposals, whole_images, with_context
from annoloop.errors import SettingsError
from annoloop.ports import CropEmbedder
from annoloop.records import Box, Failure, Sample
from annoloop.steps.context import Context
from annoloop.steps.train import pool_predictions

Crop = tuple[Sample, Box]
"""A region of one sample: whole pixels, context included."""


def pool_patches(
    context: Context, pool: Sequence[Sample], vectors: NDArray[np.floating]
) -> Patches:
    """The regions that the newest model proposes in the pool, and each whole image (n, d)."""
    _, found = pool_predictions(context, pool)
    crops = [(s, _cut(s, box)) for s in pool for box in proposals(found[s.id])]
    whole = whole_images(vectors)
    if not crops:
        return whole
    place = {s.id: i for i, s in enumerate(pool)}
    regions = crop_vectors(context, crops, what="regions of the pool")
    return Patches(
        np.concatenate([whole.vectors, regions]),
        np.concatenate([whole.owners, np.array([place[s.id] for s, _ in crops])]),
        np.concatenate([whole.boxes, np.array([box for _, box in crops])]),
    )


def failure_vectors(
    context: Context, failures: Sequence[Failure], where: dict[str, Sample]
) -> NDArray[np.float32]:
    """The vector of each failure's own region (m, d): the missed object, or the wrong box."""
    crops = [(where[f.sample_id], _cut(where[f.sample_id], f.box)) for f in failures]
    return crop_vectors(context, crops, what="regions that failed")


def crop_vectors(context: Context, crops: Sequence[Crop], *, what: str) -> NDArray[np.float32]:
    """The vectors of regions (m, d), stored by image content and box; what is missing is made.

    Raises SettingsError where the embedder describes whole images only.
    """
    embedder = context.embedder()
    if not callable(getattr(embedder, "embed_crops", None)):
        raise SettingsError(
            f"the embedder of {embedder.name} vectors describes whole images only",
            fix='Set `look_at = "images"` in [select], or choose an embedder with `embed_crops`.',
        )
    name = f"{embedder.name}-crops"
    keys = [_key(crop) for crop in crops]
    known = context.vectors.having(name, keys)
    todo = dict(
        sorted((key, crop) for key, crop, has in zip(keys, crops, known, strict=True) if not has)
    )
    images = [
        (list(of_one), [todo[key] for key in of_one])
        for of_one in (
            list(group) for _, group in groupby(todo, key=lambda key: todo[key][0].sha256)
        )
    ]
    chunk = context.settings.embed.chunk
    for start in range(0, len(images), chunk):
        part = images[start : start + chunk]
        rows = cast(CropEmbedder, embedder).embed_crops(
            [group[0][0].uri for _, group in part],
            [[box for _, box in group] for _, group in part],
        )
        context.vectors.add_vectors(name, [key for of_one, _ in part for key in of_one], rows)
        context.progress(min(start + chunk, len(images)), len(images), what)
    return context.vectors.load_vectors(name, keys)


def _key(crop: Crop) -> str:
    sample, (x, y, w, h) = crop
    return f"{sample.sha256}:{x:.0f},{y:.0f},{w:.0f},{h:.0f}"


def _cut(sample: Sample, box: Box) -> Box:
    return with_context(box, width=sample.width, height=sample.height)

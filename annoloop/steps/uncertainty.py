"""How unsure the newest model is of each image of the open pool."""

from __future__ import annotations

from collections.abc import Sequence

from annoloop.core import uncertainty as core_uncertainty
from annoloop.records import Half, Sample, Split
from annoloop.steps.context import Context
from annoloop.steps.train import pool_predictions, predictions
from annoloop.store import samples


def pool_uncertainty(context: Context, pool: Sequence[Sample]) -> dict[str, float]:
    """Uncertainty by sample id; predicts on images without predictions first, and says so.

    Classes weigh by how well the model finds them on mine. Raises NotReadyError without a model.
    """
    model, found = pool_predictions(context, pool)
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
        references = samples.newest_references(connection, split=Split.VAL)
        mine = [
            s
            for s in samples.load(connection, split=Split.VAL)
            if s.half is Half.MINE and s.id in references
        ]
    quality = core_uncertainty.class_quality(
        {s.id: references[s.id].labels for s in mine},
        predictions(context, model, mine),
        classes=len(classes),
    )
    weights = core_uncertainty.difficulty(quality)
    return {s.id: core_uncertainty.image_uncertainty(found[s.id], weights) for s in pool}

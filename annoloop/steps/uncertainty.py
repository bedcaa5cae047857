"""How unsure the newest model is of each image of the open pool."""

from __future__ import annotations

from collections.abc import Sequence

from annoloop.core import uncertainty as core_uncertainty
from annoloop.records import Half, Sample, Split
from annoloop.steps.context import Context
from annoloop.steps.train import newest_model, predictions
from annoloop.store import samples


def pool_uncertainty(context: Context, pool: Sequence[Sample]) -> dict[str, float]:
    """Uncertainty by sample id; predicts on images without predictions first, and says so.

    Classes weigh by how well the model finds them on mine. Raises NotReadyError without a model.
    """
    model = newest_model(context)
    known = context.vectors.load_predictions(model, {s.id for s in pool}) or {}
    if len(known) < len(pool):
        context.say(
            f"{len(pool) - len(known)} pool images have no predictions of {model}: "
            "predicting (annoloop predict)"
        )
    with context.store.read() as connection:
        classes = samples.schema(connection).classes
        references = samples.newest_references(connection, split=Split.VAL)
        mine = [
            s
            for s in samples.load(connection, split=Split.VAL)
            if s.half is Half.MINE and s.id in references
        ]
    found = predictions(context, model, [*pool, *mine])
    quality = core_uncertainty.class_quality(
        {s.id: references[s.id].labels for s in mine}, found, classes=len(classes)
    )
    weights = core_uncertainty.difficulty(quality)
    return {s.id: core_uncertainty.image_uncertainty(found[s.id], weights) for s in pool}

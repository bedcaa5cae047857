"""The embedder of the settings; one that describes by the newest model is told which that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from annoloop.errors import NotReadyError, SettingsError
from annoloop.ports import Embedder, Features, ModelEmbedder
from annoloop.steps.context import Context
from annoloop.store import iterations, samples


def embedder(context: Context, before: Callable[[], Embedder] | None) -> Embedder:
    """`context.embedder()`, bound to the newest model if it describes by one.

    Until a model is trained it is `before` (`[embed] first`). Raises NotReadyError without
    either, SettingsError where the trainer's models describe no images.
    """
    made: Any = context.embedder()
    if not callable(getattr(made, "of", None)):
        return cast(Embedder, made)
    name = context.settings.embed.embedder
    with context.store.read() as connection:
        trained = iterations.step_history(connection, "train")
        classes = samples.schema(connection).classes
    if not trained and before is not None:
        return before()
    if not trained:
        raise NotReadyError(
            f"embedder {name!r} describes images by the newest model, and none is trained yet",
            fix='Choose the first batch with another one: set first = "pixels" in [embed], or '
            "`annoloop select --embedder pixels`; then train.",
        )
    model = str(trained[-1].record["model"])
    folder = context.model_folder(model)
    if not folder.is_dir():
        raise NotReadyError(
            f"embedder {name!r}: the folder of model {model} is gone ({folder})",
            fix="Bring it back, or train again: `annoloop train`.",
        )
    trainer: Any = context.trainer()
    if not callable(getattr(trainer, "features", None)):
        raise SettingsError(
            f"embedder {name!r}: models of the trainer {context.settings.train.trainer!r} give no "
            "features of images",
            fix="Train with `ultralytics`, `torchvision` or `classical` ([train] trainer), or "
            "choose another [embed] embedder.",
        )
    return cast(ModelEmbedder, made).of(cast(Features, trainer), folder, classes=classes)

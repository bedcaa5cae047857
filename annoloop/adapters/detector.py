"""The embedder `detector`: images and regions as the project's newest model sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annoloop.ports import CropEmbedder, Features
from annoloop.records import Box


@dataclass(frozen=True, eq=False)
class ModelVectors:
    """Vectors of one model, by the trainer that made it; an embedder like any other."""

    trainer: Features
    folder: Path
    classes: tuple[str, ...]

    @cached_property
    def name(self) -> str:
        """`detector-TRAINER-HASH`: another model, other vectors."""
        return f"detector-{self.trainer.features_name(self.folder, classes=self.classes)}"

    def embed(self, files: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of image files or URLs, (len(files), d) float32, rows of length 1.

        Raises InputError naming a bad image, TrainerError for a model that is no longer whole.
        """
        return self.trainer.features(self.folder, files, classes=self.classes)

    def embed_crops(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]]
    ) -> NDArray[np.float32]:
        """Vectors of regions, (boxes of all files, d): the image is looked at once, as a whole."""
        return self.trainer.features(self.folder, files, boxes, classes=self.classes)


class DetectorEmbedder:
    """Asks the trainer of the newest model; has no options, and without a model no vectors."""

    def __init__(self) -> None:
        self._last: ModelVectors | None = None

    def of(self, trainer: Features, folder: Path, *, classes: Sequence[str]) -> CropEmbedder:
        """The vectors of this model; kept, since its name takes reading all of its weights."""
        wanted = ModelVectors(trainer, folder, tuple(classes))
        last = self._last
        if last is None or (last.trainer, last.folder, last.classes) != (
            wanted.trainer,
            wanted.folder,
            wanted.classes,
        ):
            self._last = wanted
            return wanted
        return last

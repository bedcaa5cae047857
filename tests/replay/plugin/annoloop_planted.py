"""A trainer and an embedder for worlds whose answer is known; found by their entry points.

An image is `MODE/NUMBER.png`; a mode `cK-…` shows one box of class K, a mode `empty…` nothing. The
model finds the box of an image of a mode if it has seen enough images of that mode: of `needs`
images it finds all, of fewer that share, always the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from annoloop.records import Detection, LabeledImage, ModelCard

BOX = (4.0, 4.0, 12.0, 12.0)


def chance(*what: object) -> float:
    """A number in [0, 1) that is always the same for the same words."""
    return int(hashlib.sha256(repr(what).encode()).hexdigest()[:12], 16) / 16**12


class PlantedTrainer:
    """`needs`: images of a mode until it is learnt, by mode ("" for all others). With `lottery` any
    image teaches any mode, each by an amount of its own: no way of selecting can know it.
    `breaks_at`: the number of training images at which it fails. `log` is a file of trainings.
    """

    def __init__(
        self,
        *,
        needs: dict[str, int] | None = None,
        lottery: bool = False,
        breaks_at: int = 0,
        log: str = "",
    ) -> None:
        self.needs, self.lottery = {"": 5, **(needs or {})}, lottery
        self.breaks_at, self.log = breaks_at, log

    def fit(self, images: Sequence[LabeledImage], *, classes, folder: Path, seed: int, progress):
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{len(images)} {seed}\n")
        if len(images) == self.breaks_at:
            raise RuntimeError("the planted trainer broke")
        seen: dict[str, float] = {}
        for image in images:
            mode = "" if self.lottery else PurePosixPath(image.path).parent.name
            worth = 2 * chance(image.path, seed) if self.lottery else 1.0
            seen[mode] = seen.get(mode, 0.0) + worth * (0.98 + 0.04 * chance(seed, mode))
        (folder / "seen.json").write_text(json.dumps(seen))
        return ModelCard("planted", str(folder), 0.01)

    def predict(
        self, folder: Path, images: Sequence[LabeledImage], *, classes, progress
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        seen = json.loads((folder / "seen.json").read_text())
        for image in images:
            mode = PurePosixPath(image.path).parent.name
            known = seen.get("" if self.lottery else mode, 0.0)
            share = known / self.needs.get(mode, self.needs[""])
            if not mode.startswith("c") or chance(image.path) >= share:
                yield image.sample_id, ()
            else:
                kind = int(mode[1 : mode.index("-")])
                yield image.sample_id, (Detection(kind, BOX, min(0.9, 0.5 + share / 4)),)


class PlantedEmbedder:
    """Images of one mode lie together, empty ones anywhere; with `blind` everything does."""

    def __init__(self, *, blind: bool = False) -> None:
        self.name, self._blind = f"planted-{int(blind)}", blind

    def embed(self, files: Sequence[str]) -> np.ndarray:
        rows = []
        for file in files:
            mode = Path(file).parent.name
            alone = np.random.default_rng(int(16**8 * chance(Path(file).name, mode)))
            row = alone.normal(size=8)
            if not self._blind and not mode.startswith("empty"):
                row = np.random.default_rng(int(16**8 * chance(mode))).normal(size=8) + 0.1 * row
            rows.append(row)
        return np.array(rows, dtype=np.float32)

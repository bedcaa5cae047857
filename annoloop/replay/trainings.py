"""Trainings are shared: the same images, labels, options and seed are trained on once."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from annoloop import durable
from annoloop.ports import Progress, Trainer
from annoloop.records import Detection, LabeledImage, ModelCard

KEY = "annoloop-training.json"


class SharedTrainer:
    """A Trainer before a Trainer: it remembers every model of a replay and what it predicted.

    Two processes that want the same model at once train it once: the second waits.
    """

    def __init__(
        self, inner: Trainer, folder: Path, *, name: str, options: Mapping[str, Any]
    ) -> None:
        self._inner, self._folder = inner, folder
        self._about = [name, dict(options)]

    def fit(
        self,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        folder: Path,
        seed: int,
        progress: Progress,
    ) -> ModelCard:
        key = self._key(images, classes, seed)
        kept = self._folder / key
        with _locked(self._folder / f"{key}.lock"):
            if not (kept / "card.json").exists():
                part = self._folder / f".{key}.{os.getpid()}.part"
                shutil.rmtree(part, ignore_errors=True)
                (part / "model").mkdir(parents=True)
                card = self._inner.fit(
                    images,
                    classes=classes,
                    folder=part / "model",
                    seed=seed,
                    progress=progress,
                )
                about = {"trainer": card.trainer, "seconds": card.seconds}
                about["details"] = dict(card.details)
                (part / "card.json").write_text(json.dumps(about), encoding="utf-8")
                part.rename(kept)
        about = json.loads((kept / "card.json").read_text(encoding="utf-8"))
        (folder / KEY).write_text(json.dumps({"training": key}), encoding="utf-8")
        return ModelCard(about["trainer"], str(folder), about["seconds"], about["details"])

    def predict(
        self,
        folder: Path,
        images: Sequence[LabeledImage],
        *,
        classes: Sequence[str],
        progress: Progress,
    ) -> Iterator[tuple[str, tuple[Detection, ...]]]:
        kept = self._folder / json.loads((folder / KEY).read_text(encoding="utf-8"))["training"]
        file = kept / "predictions.json"
        with _locked(kept.with_name(f"{kept.name}.lock")):
            known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            new = [image for image in images if image.sample_id not in known]
            if new:
                answered = self._inner.predict(
                    kept / "model", new, classes=classes, progress=progress
                )
                known |= {key: [astuple(one) for one in found] for key, found in answered}
                durable.write_text(file, json.dumps(known))
        for image in images:
            found = known[image.sample_id]
            yield image.sample_id, tuple(Detection(c, tuple(box), score) for c, box, score in found)

    def _key(self, images: Sequence[LabeledImage], classes: Sequence[str], seed: int) -> str:
        rows = [
            (i.path, i.width, i.height, [astuple(one) for one in i.labels])
            for i in sorted(images, key=lambda image: image.sample_id)
        ]
        said = json.dumps([*self._about, list(classes), seed, rows], sort_keys=True)
        return hashlib.blake2b(said.encode(), digest_size=10).hexdigest()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""An ONNX model as an embedder of images and of regions; needs the extra `onnx` (onnxruntime)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.onnx.manifest import Manifest, read_manifest
from annoloop.adapters.onnx.network import Network
from annoloop.errors import SettingsError
from annoloop.feeding import Feed, vectors
from annoloop.records import Box


class OnnxEmbedder:
    """Vectors of an image network: `model` is the ONNX file, `manifest` says what goes in and out.

    `manifest` is by default the model's name with `.json`; `batch` pictures go through at once
    (as many as the model fixes, where it does); `threads` decode and compute; `device` is auto,
    cpu or cuda. Raises SettingsError and InputError for files that are missing or wrong.
    """

    def __init__(
        self,
        *,
        model: str,
        manifest: str | None = None,
        batch: int = 16,
        threads: int = 2,
        device: str = "auto",
    ) -> None:
        for name, value, high in (("batch", batch, 1024), ("threads", threads, 64)):
            if not 1 <= value <= high:
                raise SettingsError(
                    f"embedder 'onnx': {name} = {value} is out of range",
                    fix=f"Choose {name} from 1 to {high}.",
                )
        if device not in ("auto", "cpu", "cuda"):
            raise SettingsError(
                f"embedder 'onnx': device = {device!r} is unknown", fix="Choose auto, cpu or cuda."
            )
        self._file = Path(model).expanduser()
        if not self._file.is_file():
            raise SettingsError(
                f"embedder 'onnx': {self._file}: there is no such model",
                fix='Name the ONNX file in [embed.options]: model = "models/network.onnx".',
            )
        about = Path(manifest).expanduser() if manifest else self._file.with_suffix(".json")
        self._about: Manifest = read_manifest(about)
        self._about_file = about
        self._batch, self._threads, self._device = batch, threads, device

    @cached_property
    def name(self) -> str:
        """`onnx-MODEL-HASH`, by the bytes of the model and the meaning of its manifest."""
        digest = hashlib.blake2b(self._about.canonical(), digest_size=6)
        for file in (self._file, *weights_beside(self._file)):
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, hashlib.blake2b).digest())
        stem = re.sub(r"[^a-z0-9]+", "-", self._file.stem.lower()).strip("-")
        return f"onnx-{stem}-{digest.hexdigest()}"

    @cached_property
    def _network(self) -> Network:
        return Network(
            self._file,
            self._about,
            about_file=self._about_file,
            threads=self._threads,
            device=self._device,
        )

    def embed(self, files: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of image files or URLs, (len(files), d) float32; unit length by default.

        Raises InputError naming a bad image, VectorError where the network gives NaN or infinity.
        """
        return vectors(self._feed(), self._network.vectors, files)

    def embed_crops(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]]
    ) -> NDArray[np.float32]:
        """Vectors of regions, (boxes of all files, d): each is described like an image."""
        return vectors(self._feed(), self._network.vectors, files, boxes)

    def _feed(self) -> Feed:
        return Feed(
            canvas=self._network.canvas,
            size=self._network.fixed_batch or self._batch,
            threads=self._threads,
            what=self._file.name,
            hint=f"Check divide, mean, std and channels in {self._about_file}; a model in half "
            "precision may need its full-precision export.",
            unit=self._about.unit,
        )


def weights_beside(model: Path) -> list[Path]:
    """Files in which large models keep their weights, where the exporters put them."""
    names = (f"{model.name}.data", f"{model.name}_data", f"{model.stem}.data")
    return [file for file in (model.with_name(name) for name in names) if file.is_file()]

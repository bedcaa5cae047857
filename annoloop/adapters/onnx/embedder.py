"""An ONNX model as an embedder of images and of regions; needs the extra `onnx` (onnxruntime)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.adapters.onnx.manifest import Manifest, read_manifest
from annoloop.adapters.onnx.network import Network
from annoloop.errors import SettingsError, VectorError
from annoloop.feeding import batches
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
        return self._rows(files, None)

    def embed_crops(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]]
    ) -> NDArray[np.float32]:
        """Vectors of regions, (boxes of all files, d): each is described like an image."""
        return self._rows(files, boxes)

    def _rows(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]] | None
    ) -> NDArray[np.float32]:
        network = self._network
        rows = list(self._described(network, files, boxes))
        if not rows:  # only the network knows how wide no row is
            canvas = network.canvas
            blank = np.zeros((1, canvas.height, canvas.width, 3), dtype=np.uint8)
            return np.empty((0, network.vectors(blank).shape[1]), dtype=np.float32)
        return np.concatenate(rows)

    def _described(
        self, network: Network, files: Sequence[str], boxes: Sequence[Sequence[Box]] | None
    ) -> Iterator[NDArray[np.float32]]:
        size = network.fixed_batch or self._batch
        for owners, pictures in batches(
            files, boxes, canvas=network.canvas, size=size, threads=self._threads
        ):
            rows = network.vectors(pictures)
            broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(broken):
                raise VectorError(
                    f"{self._file.name} gives NaN or infinity for {owners[int(broken[0])]}",
                    fix=f"Check divide, mean, std and channels in {self._about_file}; a model in "
                    "half precision may need its full-precision export.",
                )
            yield _unit(rows) if self._about.unit else rows


def weights_beside(model: Path) -> list[Path]:
    """Files in which large models keep their weights, where the exporters put them."""
    names = (f"{model.name}.data", f"{model.name}_data", f"{model.stem}.data")
    return [file for file in (model.with_name(name) for name in names) if file.is_file()]


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of length 1; a row without any signal stays 0."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), dtype=np.float32)

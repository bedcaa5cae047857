"""FastestDet's frozen layers: pictures in, what each cell of the grid sees out, kept on disk.

The ONNX file is cut before its heads and turned into a torch module by onnx2torch. What a picture
gives depends on its bytes alone, so it is computed once for all trainings that share a cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

MAPS = ("onnx::Concat_708", "input.376", "input.504", "onnx::Conv_738")
"""Tensors inside the network: three stages of the backbone, and what its own heads look at."""
RECIPE = 1
"""Part of every cache key: raise it when pixels or views change."""
BATCH = 8


class Trouble(Exception):
    """What a person can mend; the program ends with it as its last line."""


class Body:
    """(n, side, side, 3) BGR pictures → for each one row of float16, its maps behind each other.

    `shapes` are (height, width, channels) of the maps. The file is only cut and converted when a
    picture is there to be described, or `about` (a file) does not know its shapes yet. Raises
    Trouble for a file that is no FastestDet.
    """

    def __init__(self, file: Path, about: Path | None = None) -> None:
        try:
            self.data = file.read_bytes()
        except OSError as error:
            said = f"{file} cannot be read: {error.strerror}. Name FastestDet.onnx by --network."
            raise Trouble(said) from error
        self._source = file
        self.digest = hashlib.blake2b(self.data, digest_size=16).digest()
        self._batch = BATCH
        known = None if about is None else about / f"{self.digest.hex()}-{RECIPE}.json"
        if known is not None and known.is_file():
            told = json.loads(known.read_text(encoding="utf-8"))
            self.side, self.shapes = told["side"], [tuple(one) for one in told["shapes"]]
        else:
            self.side, self.shapes = self._looked_at()
        if known is not None and not known.is_file():
            known.parent.mkdir(parents=True, exist_ok=True)
            half = known.with_suffix(f".{os.getpid()}")
            half.write_text(json.dumps({"side": self.side, "shapes": self.shapes}), "utf-8")
            half.replace(known)
        self.size = sum(h * w * c for h, w, c in self.shapes)

    @cached_property
    def _cut(self) -> tuple[Any, int]:
        return _cut(self.data, self._source)

    def _looked_at(self) -> tuple[int, list[tuple[int, int, int]]]:
        module, side = self._cut
        with torch.inference_mode():
            maps = module(torch.zeros(1, 3, side, side))
        return side, [(one.shape[2], one.shape[3], one.shape[1]) for one in maps]

    def rows(self, pictures: Sequence[np.ndarray[Any, Any]]) -> Iterator[np.ndarray[Any, Any]]:
        """One row a picture, in their order; a smaller batch where the memory does not last."""
        at = 0
        while at < len(pictures):
            part = pictures[at : at + self._batch]
            # Filled up, because the last bits of a result depend on the size of the batch.
            whole = [*part, *[part[-1]] * (self._batch - len(part))]
            try:
                made = self._run(np.stack(whole))
            except (RuntimeError, MemoryError) as error:
                self._batch = smaller(self._batch, error)
                continue
            yield from made[: len(part)]
            at += len(part)

    def _run(self, pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        values = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            maps = self._cut[0](values.contiguous(memory_format=torch.channels_last))
            flat = [one.permute(0, 2, 3, 1).reshape(len(one), -1) for one in maps]
            return np.asarray(torch.cat(flat, dim=1).clamp(-6e4, 6e4).half().numpy())

    def maps(self, row: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
        """A row as its maps, (height, width, channels) each."""
        ends = np.cumsum([h * w * c for h, w, c in self.shapes])[:-1]
        parts = zip(np.split(row, ends), self.shapes, strict=True)
        return [part.reshape(shape) for part, shape in parts]


def smaller(batch: int, error: Exception) -> int:
    """Half of the batch, said, if the error is about memory; else the error again."""
    short = isinstance(error, MemoryError) or "memory" in str(error).lower()
    if not short or batch == 1:
        raise error
    print(f"not enough memory for {batch} images at once: going on with {batch // 2}", flush=True)
    return batch // 2


def _cut(data: bytes, file: Path) -> tuple[Any, int]:
    """The layers up to MAPS as a torch module, and the side of its pictures."""
    model = freed(data, file)
    module = layers(model, [model.graph.input[0].name], MAPS)
    side: int = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    return module.requires_grad_(False).to(memory_format=torch.channels_last), side


def freed(data: bytes, file: Path) -> Any:
    """The network for any number of pictures; it was exported for one."""
    onnx, _ = _libraries()
    try:
        model = onnx.load_from_string(data)
    except Exception as error:  # protobuf's errors have no common base
        raise Trouble(f"{file} is no ONNX file: {error}. Copy it again.") from error
    known = {name for node in model.graph.node for name in node.output}
    lost = [name for name in MAPS if name not in known]
    if lost:
        raise Trouble(
            f"{file} has no tensor {lost[0]}: it is not the FastestDet.onnx that this program "
            "cuts. Get that file, or write its names into MAPS of features.py."
        )
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for tensor in model.graph.initializer:
        target = onnx.numpy_helper.to_array(tensor)
        if tensor.name in shapes and (target != -1).all():
            # The one picture is folded into the first number: let it grow.
            grown = np.concatenate([[-1], target[1:]]).astype(target.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(grown, tensor.name))
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    return onnx.shape_inference.infer_shapes(model)


def layers(model: Any, start: Sequence[str], end: Sequence[str]) -> Any:
    """What leads from some tensors of a network to others, as a torch module."""
    onnx, convert = _libraries()
    return convert(onnx.utils.Extractor(model).extract_model(list(start), list(end))).eval()


def _libraries() -> tuple[Any, Any]:
    """Imported where they are needed: with all features in the cache they are not."""
    try:
        import onnx
        from onnx2torch import convert
    except ImportError as error:
        raise Trouble(f"{error}. Install: pip install onnx onnx2torch") from error
    return onnx, convert


class Features:
    """Rows of image files and their views, computed when they are first asked for.

    `folder` keeps them for other runs, which may write there at the same time; None keeps them in
    memory.
    """

    def __init__(self, body: Body, folder: Path | None) -> None:
        self.body = body
        self._folder = folder
        self._kept: dict[str, np.ndarray[Any, Any]] = {}

    @property
    def on_disk(self) -> bool:
        return self._folder is not None

    def key(self, data: bytes, view: int) -> str:
        digest = hashlib.blake2b(self.body.digest, digest_size=16)
        digest.update(f"{RECIPE} {view} {BATCH}".encode() + data)
        return digest.hexdigest()

    def get(self, key: str) -> np.ndarray[Any, Any] | None:
        """The row, or None if it was never computed, or its file is damaged."""
        if self._folder is None:
            return self._kept.get(key)
        try:
            row = np.fromfile(self._file(key), np.float16)
        except FileNotFoundError:
            return None
        return row if len(row) == self.body.size else None

    def put(self, key: str, row: np.ndarray[Any, Any]) -> None:
        if self._folder is None:
            self._kept[key] = row
            return
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        half = file.with_suffix(f".{os.getpid()}")
        row.tofile(half)
        half.replace(file)  # others see all of it or nothing

    def _file(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.f16"

    def fill(
        self, asked: Sequence[tuple[str, Callable[[], np.ndarray[Any, Any]]]], what: str
    ) -> int:
        """Compute the rows that are missing, each from the picture that its call gives."""
        missing = [one for one in asked if self.get(one[0]) is None]
        for at in range(0, len(missing), 8 * BATCH):
            part = missing[at : at + 8 * BATCH]
            pictures = [picture() for _, picture in part]
            for (key, _), row in zip(part, self.body.rows(pictures), strict=True):
                self.put(key, row)
            print(f"{what}: {at + len(part)} of {len(missing)} computed", flush=True)
        return len(missing)


def pixels(file: str, data: bytes, size: tuple[int, int]) -> np.ndarray[Any, Any]:
    """(height, width, 3) BGR, upright. Raises Trouble for what is no image of the size expected."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise Trouble(f"{file} cannot be decoded. Replace it with a whole copy.")
    if (image.shape[1], image.shape[0]) != size:
        raise Trouble(
            f"{file} is {image.shape[1]} × {image.shape[0]} pixels, not {size[0]} × {size[1]} as "
            "was said. Bring the old file back."
        )
    return np.asarray(image)


def matrix(size: tuple[int, int], side: int, *, view: int, name: str) -> np.ndarray[Any, Any]:
    """2 × 3, from pixels of the image to pixels of its picture: view 0 stretches, others also scale
    and move, by chance of the image's own. Nothing is mirrored: left is not right on a sign."""
    width, height = size
    if view == 0:
        return np.array([[side / width, 0, 0], [0, side / height, 0]])
    rng = np.random.default_rng([int(name[:8], 16), view])
    scale, stretch = np.exp(rng.uniform(-0.35, 0.35)), np.exp(rng.uniform(-0.12, 0.12))
    across, down = scale * stretch, scale / stretch
    free = side * (1 - across), side * (1 - down)
    x, y = (rng.uniform(min(0, one), max(0, one)) for one in free)
    return np.array([[side / width * across, 0, x], [0, side / height * down, y]])


def picture(
    image: np.ndarray[Any, Any], side: int, *, view: int, name: str
) -> np.ndarray[Any, Any]:
    """(side, side, 3) of a view: moved as `matrix` says, lighter or darker, with other contrast."""
    if view == 0:
        return cv2.resize(image, (side, side))
    moved = matrix((image.shape[1], image.shape[0]), side, view=view, name=name)
    grey = (114, 114, 114)
    turned = cv2.warpAffine(image, moved, (side, side), flags=cv2.INTER_LINEAR, borderValue=grey)
    rng = np.random.default_rng([int(name[8:16], 16), view])
    values = (np.arange(256) / 255) ** np.exp(rng.uniform(-0.35, 0.35))
    values = np.clip((values - 0.5) * rng.uniform(0.7, 1.3) + 0.5, 0, 1)
    return cv2.LUT(turned, (values * 255).astype(np.uint8))

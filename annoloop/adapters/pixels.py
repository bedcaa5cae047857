"""The embedder without a network: what an image's colours, edges and layout look like.

docs/embedders.md says what it can tell apart, and what it cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import SettingsError
from annoloop.images import read_rgb
from annoloop.records import Box

SIDE = 64
"""Every image is shrunk (or stretched) to SIDE × SIDE pixels first; its aspect is not kept."""

ORIENTATIONS = 8
WEIGHTS = {
    "layout": 1.0,
    "texture": 0.7,
    "colours": 1.5,
    "edges": 1.0,
    "outline": 0.4,
    "thumb": 0.3,
}
WIDTH = 48 + 48 + 80 + 128 + 32 + 64

_CHUNK = 128


class PixelsEmbedder:
    """Classical descriptors of the whole image, WIDTH numbers of unit length; needs no download.

    `threads` decode in parallel; the vectors do not depend on it.
    """

    name = "pixels-v1"

    def __init__(self, *, threads: int = 2) -> None:
        if not 1 <= threads <= 64:
            raise SettingsError(
                f"embedder 'pixels': threads = {threads} is out of range",
                fix="Choose threads from 1 to 64.",
            )
        self._threads = threads

    def embed(self, files: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of image files or URLs, (len(files), WIDTH) float32, rows of length 1.

        A vector depends on its image alone, not on the others. Raises InputError naming a bad file.
        """
        rows = np.empty((len(files), WIDTH), dtype=np.float32)
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(files), _CHUNK):
                part = files[start : start + _CHUNK]
                small = np.stack(list(pool.map(_read_small, part)))
                rows[start : start + len(part)] = _describe(small)
        return rows

    def embed_crops(
        self, files: Sequence[str], boxes: Sequence[Sequence[Box]]
    ) -> NDArray[np.float32]:
        """Vectors of regions, (boxes of all files, WIDTH): each is described like an image."""
        rows = [np.empty((0, WIDTH), dtype=np.float32)]
        tasks = list(zip(files, boxes, strict=True))
        with ThreadPoolExecutor(self._threads) as pool:
            for start in range(0, len(tasks), _CHUNK):
                found = pool.map(_read_crops, tasks[start : start + _CHUNK])
                small = [crop for crops in found for crop in crops]
                if small:
                    rows.append(_describe(np.stack(small)))
        return np.concatenate(rows)


def _read_small(file: str) -> NDArray[np.uint8]:
    """An image as (SIDE, SIDE, 3) CIE Lab."""
    return _small(read_rgb(file))


def _read_crops(task: tuple[str, Sequence[Box]]) -> list[NDArray[np.uint8]]:
    """Regions of one image, (SIDE, SIDE, 3) CIE Lab each."""
    file, boxes = task
    if not boxes:
        return []
    rgb = read_rgb(file)
    return [_small(rgb[int(y) : int(y + h), int(x) : int(x + w)]) for x, y, w, h in boxes]


def _small(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    height, width = rgb.shape[:2]
    shrinks = min(height, width) >= SIDE
    kind = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=kind)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), dtype=np.uint8)


def _describe(lab: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Weighted blocks of unit length, side by side, (n, SIDE, SIDE, 3) → (n, WIDTH)."""
    n = len(lab)
    # Lightness from 0 to 1; colour around 0, grey in the middle.
    values = lab * np.float32(1 / 255)
    values[..., 1:] = values[..., 1:] * 2 - np.float32(256 / 255)
    mean = _pooled(values, 4)
    spread = np.sqrt(np.maximum(_pooled(values * values, 4) - mean * mean, 0))
    light = values[..., 0]
    thumb = _pooled(light[..., None], 8)[..., 0]
    # Centred where every image has much in common, so that cosines tell images apart.
    blocks = {
        "layout": mean.reshape(n, -1),
        "texture": _centred(spread.reshape(n, -1)),
        "colours": _histograms(lab),
        "edges": _centred(_orientations(light, 4)),
        "outline": _centred(_orientations(_pooled(light[..., None], 16)[..., 0], 2)),
        "thumb": _centred(thumb.reshape(n, -1)),
    }
    row = np.concatenate([WEIGHTS[name] * _unit(block) for name, block in blocks.items()], axis=1)
    return np.asarray(_unit(row), dtype=np.float32)


def _pooled(values: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """Means over a grid of cells, (n, s, s, c) → (n, cells, cells, c)."""
    n, side, _, channels = values.shape
    step = side // cells
    split = values.reshape(n, cells, step, cells, step, channels)
    return np.asarray(split.mean(axis=(2, 4)), dtype=np.float32)


def _histograms(lab: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Roots of the shares of 16 lightnesses and of 8 × 8 colours, (n, 80)."""
    n = len(lab)
    image = np.arange(n)[:, None, None]
    light = np.bincount((image * 16 + lab[..., 0] // 16).ravel(), minlength=n * 16)
    # Photographs use the middle half of the colour plane, so the bins are laid there.
    plane = np.clip((lab[..., 1:].astype(np.int64) - 64) // 16, 0, 7)
    colour = np.bincount((image * 64 + plane[..., 0] * 8 + plane[..., 1]).ravel(), minlength=n * 64)
    shares = np.concatenate([light.reshape(n, 16), colour.reshape(n, 64)], axis=1) / SIDE**2
    return np.asarray(np.sqrt(shares), dtype=np.float32)


def _orientations(light: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """Histograms of gradient orientation over a grid, (n, s, s) → (n, cells² × ORIENTATIONS)."""
    n, side, _ = light.shape
    across, down = np.zeros_like(light), np.zeros_like(light)
    across[:, :, 1:-1] = light[:, :, 2:] - light[:, :, :-2]
    down[:, 1:-1] = light[:, 2:] - light[:, :-2]
    strength = np.hypot(across, down)
    angle = np.arctan2(down, across) * np.float32(ORIENTATIONS / np.pi) % ORIENTATIONS
    low = angle.astype(np.int64) % ORIENTATIONS
    upper = (angle - np.floor(angle)) * strength
    row = np.arange(side) * cells // side
    cell = (np.arange(n)[:, None, None] * cells + row[:, None]) * cells + row
    total = n * cells * cells * ORIENTATIONS
    sums = np.bincount((cell * ORIENTATIONS + low).ravel(), (strength - upper).ravel(), total)
    after = cell * ORIENTATIONS + (low + 1) % ORIENTATIONS
    sums += np.bincount(after.ravel(), upper.ravel(), total)
    # Roots, so that one strong edge does not drown the others.
    return np.asarray(np.sqrt(sums.reshape(n, -1)), dtype=np.float32)


def _centred(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True), dtype=np.float32)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1; a block without any signal stays 0."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-6), dtype=np.float32)

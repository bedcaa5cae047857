"""Candidate boxes and their descriptors by classical vision: no network, no training, no files.

Boxes are (n, 4) float32 arrays of x, y, width, height in pixels of the working image.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import iou_matrix

Boxes = NDArray[np.float32]

ORIENTATIONS = 8
CELLS = 6
"""A box is described on a grid of CELLS × CELLS; colour on a grid half as fine."""
DESCRIPTOR = ORIENTATIONS * CELLS**2 + 2 * 3 * (CELLS // 2) ** 2 + 3 + 5
"""Length of one descriptor: orientations, colour means and spreads, contrast, geometry."""

_LEVELS = 3
_WINDOW = 21
_CUTS = (0.5, 1.0)
_SMALLEST_LEVEL = 8
_FEW = 1 << 17
_MARGIN = 0.08
_SAME = 0.25
_FINE = 8


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Widths and heights of candidates worth looking at, in pixels of the working image."""

    width: tuple[float, float]
    height: tuple[float, float]


@dataclass(frozen=True, slots=True)
class WorkImage:
    """An image in CIE Lab (h, w, 3) uint8, and how its pixels relate to the original's."""

    lab: NDArray[np.uint8]
    scale_x: float
    scale_y: float


def work_image(rgb: NDArray[np.uint8], side: int) -> WorkImage:
    """Shrink (h, w, 3) RGB so that its longest side is at most `side`; never enlarge."""
    import cv2

    height, width = rgb.shape[:2]
    factor = min(1.0, side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = rgb if factor == 1.0 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), dtype=np.uint8)
    return WorkImage(lab, size[0] / width, size[1] / height)


def size_range(sizes: NDArray[np.float64]) -> SizeRange:
    """The range that covers (n, 2) widths and heights with some slack, n ≥ 1.

    Its ends are half octaves, so that a training set which grows a little keeps the range, and
    whatever was computed with it.
    """
    low = np.percentile(sizes, 1, axis=0) / 1.25
    high = np.percentile(sizes, 99, axis=0) * 1.25
    low = 2 ** (np.floor(np.log2(low) * 2) / 2)
    high = 2 ** (np.ceil(np.log2(high) * 2) / 2)
    return SizeRange((float(low[0]), float(high[0])), (float(low[1]), float(high[1])))


def propose(lab: NDArray[np.uint8], sizes: SizeRange, *, limit: int) -> Boxes:
    """At most `limit` candidate boxes, the most stable first.

    Connected components of what is brighter or darker (or redder, bluer, …) than its
    neighbourhood, at several cuts and scales. Components that many cuts agree on are stable, the
    idea of maximally stable regions (Matas et al., BMVC 2002).
    """
    found = [np.zeros((0, 4))]
    level = lab
    for step in range(_LEVELS):
        if step:
            level = _halve(level)
        if min(level.shape[:2]) < _SMALLEST_LEVEL:
            break
        scale = np.array([lab.shape[1] / level.shape[1], lab.shape[0] / level.shape[0]])
        boxes = _components(level) * np.tile(scale, 2)
        low, high = np.array([sizes.width, sizes.height]).T
        fits = ((boxes[:, 2:] >= low) & (boxes[:, 2:] <= high)).all(axis=1)
        found.append(boxes[fits])
    return _most_stable(np.concatenate(found), limit)


def _halve(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    size = max(1, image.shape[1] // 2), max(1, image.shape[0] // 2)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _components(lab: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Boxes of the connected components that stand out from their neighbourhood."""
    import cv2

    smooth = cv2.GaussianBlur(lab.astype(np.float32), (0, 0), 1.0)
    contrast = smooth - cv2.blur(smooth, (_WINDOW, _WINDOW))
    spread = cv2.meanStdDev(contrast)[1][:, 0]
    # Half the memory traffic, where the number of components is sure to fit.
    kind = cv2.CV_16U if lab[..., 0].size < _FEW else cv2.CV_32S
    found = []
    for channel in range(3):
        plane = np.ascontiguousarray(contrast[..., channel])
        for cut in _CUTS:
            # The floor keeps the rounding noise of a flat image from becoming components.
            threshold = max(cut * spread[channel], 0.25)
            for mask in (plane > threshold, plane < -threshold):
                statistics = cv2.connectedComponentsWithStats(
                    mask.view(np.uint8), connectivity=8, ltype=kind
                )[2]
                found.append(statistics[1:, :4])
    return np.concatenate(found).astype(np.float64)


def _most_stable(boxes: NDArray[np.float64], limit: int) -> Boxes:
    """Merge boxes that nearly coincide into their mean; those merged most often come first."""
    if not len(boxes):
        return np.zeros((0, 4), dtype=np.float32)
    # Sixteenths of a pixel add up exactly, so the order in which components came cannot matter.
    boxes = np.round(boxes * 16) / 16
    octave = np.round(np.log(np.maximum(boxes[:, 2:], 1 / 16)) / _SAME)
    step = np.maximum(_SAME * np.exp(octave * _SAME), 1.0)
    centre = np.round((boxes[:, :2] + boxes[:, 2:] / 2) / step)
    keys = np.concatenate([centre, octave], axis=1).astype(np.int64)
    order = np.lexsort(keys.T[::-1])
    change = np.any(np.diff(keys[order], axis=0) != 0, axis=1)
    starts = np.concatenate([[0], np.flatnonzero(change) + 1])
    counts = np.diff(np.concatenate([starts, [len(order)]]))
    means = np.add.reduceat(boxes[order], starts, axis=0) / counts[:, None]
    return means[np.argsort(-counts, kind="stable")[:limit]].astype(np.float32)


def integral_channels(lab: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Integral images (h + 1, w + 1, ORIENTATIONS + 6) of gradient orientations, Lab, and Lab².

    Source: Dollár et al., Integral Channel Features, BMVC 2009.
    """
    import cv2

    colour = lab.astype(np.float32) * np.float32(1 / 255)
    light = cv2.GaussianBlur(np.ascontiguousarray(colour[..., 0]), (0, 0), 0.7)
    across = cv2.Sobel(light, cv2.CV_32F, 1, 0, ksize=1)
    down = cv2.Sobel(light, cv2.CV_32F, 0, 1, ksize=1)
    strength, angle = cv2.cartToPolar(across, down)
    # Unsigned orientation: a bright stroke on dark ground looks like a dark one on bright.
    fine = (angle * np.float32(ORIENTATIONS * _FINE / np.pi)).astype(np.int32)
    fine %= ORIENTATIONS * _FINE
    channels = np.empty((*light.shape, ORIENTATIONS + 6), dtype=np.float32)
    np.multiply(_orientation_shares()[fine], strength[..., None], out=channels[..., :ORIENTATIONS])
    channels[..., ORIENTATIONS:-3] = colour
    np.multiply(colour, colour, out=channels[..., -3:])
    return np.asarray(cv2.integral(channels, sdepth=cv2.CV_64F), dtype=np.float64)


@functools.cache
def _orientation_shares() -> NDArray[np.float32]:
    """How a fine angle divides between its two nearest orientations, (fine, ORIENTATIONS)."""
    angle = np.arange(ORIENTATIONS * _FINE)[:, None] / _FINE - np.arange(ORIENTATIONS)
    apart = np.abs((angle + ORIENTATIONS / 2) % ORIENTATIONS - ORIENTATIONS / 2)
    return np.asarray(np.maximum(1 - apart, 0), dtype=np.float32)


def describe(integral: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float32]:
    """One finite row of DESCRIPTOR numbers per box, (n, DESCRIPTOR)."""
    n = len(boxes)
    if not n:
        return np.zeros((0, DESCRIPTOR), dtype=np.float32)
    cells = _cell_means(integral, boxes)
    edges = cells[..., :ORIENTATIONS].reshape(n, -1)
    energy = np.linalg.norm(edges, axis=1, keepdims=True)
    edges = np.minimum(edges / (energy + 0.02), 0.25)
    edges /= np.linalg.norm(edges, axis=1, keepdims=True) + 1e-3
    inner = cells[:, 1:-1, 1:-1, ORIENTATIONS : ORIENTATIONS + 3].sum(axis=(1, 2))
    whole = cells[..., ORIENTATIONS : ORIENTATIONS + 3].sum(axis=(1, 2))
    ring = (whole - inner) / (CELLS**2 - (CELLS - 2) ** 2)
    half = CELLS // 2
    coarse = cells[..., ORIENTATIONS:].reshape(n, half, 2, half, 2, 6).mean(axis=(2, 4))
    mean, square = coarse[..., :3], coarse[..., 3:]
    spread = np.sqrt(np.maximum(square - mean * mean, 0))
    width, height = np.log(np.maximum(boxes[:, 2:], 1e-3)).T.astype(np.float64)
    geometry = np.stack(
        [width, height, width - height, width + height, np.log(energy[:, 0] + 0.01)], axis=1
    )
    parts = (
        4 * edges,
        mean.reshape(n, -1),
        spread.reshape(n, -1),
        3 * (inner / (CELLS - 2) ** 2 - ring),
        geometry,
    )
    return np.concatenate(parts, axis=1).astype(np.float32)


def _cell_means(integral: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """Mean of every channel in every cell of every box, (n, CELLS, CELLS, channels)."""
    import cv2

    height, width, channels = integral.shape
    corners = np.linspace(-_MARGIN, 1 + _MARGIN, CELLS + 1).astype(np.float32)
    xs = np.clip(boxes[:, :1] + corners * boxes[:, 2:3], 0, width - 1).astype(np.float32)
    ys = np.clip(boxes[:, 1:2] + corners * boxes[:, 3:], 0, height - 1).astype(np.float32)
    shape = (len(boxes), CELLS + 1, CELLS + 1)
    map_x = np.broadcast_to(xs[:, None, :], shape).reshape(-1, CELLS + 1)
    map_y = np.broadcast_to(ys[:, :, None], shape).reshape(-1, CELLS + 1)
    sums = cv2.remap(
        integral,
        np.ascontiguousarray(map_x),
        np.ascontiguousarray(map_y),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    ).reshape(*shape, channels)
    inside = np.diff(np.diff(sums, axis=1), axis=2)
    area = np.diff(ys, axis=1)[:, :, None] * np.diff(xs, axis=1)[:, None, :]
    # A cell that lies outside the image, or is thinner than the look-up resolves, counts as dark.
    return np.asarray(inside / np.maximum(area, 0.05)[..., None], dtype=np.float64)


def suppress(boxes: Boxes, scores: NDArray[np.float32], *, iou: float) -> NDArray[np.int64]:
    """Positions of the boxes that no better kept box overlaps by more than `iou`, best first."""
    order = np.argsort(-scores, kind="stable")
    clash = iou_matrix(boxes[order], boxes[order]) > iou
    free = np.ones(len(order), dtype=bool)
    kept = []
    for position in range(len(order)):
        if free[position]:
            kept.append(order[position])
            free &= ~clash[position]
    return np.array(kept, dtype=np.int64)

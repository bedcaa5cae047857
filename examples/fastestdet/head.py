"""The new head: from what cells see to objectness, a box and a class, and from those to detections.

A box is said as FastestDet says it: its middle is at the cell's corner plus tanh of two numbers, in
cells; its sides are sigmoids of two others, as shares of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN, SLIM = 192, 128
STEP = 2
"""Cells between the nine places that are looked at around a cell."""
NINE = np.array([(0, STEP * y, STEP * x) for y in (-1, 0, 1) for x in (-1, 0, 1)])
LOWEST, CELLS, MOST = 0.01, 150, 100
"""Least score of a detection, most cells of an image looked at, most detections of it."""
LEAST_OBJECT = 0.02
"""Objectness of a cell that is looked at; below, detections were more and AP was the same."""
LEAST_SIDE = 1e-3
"""Shares of the image; what is left of a box at the border may be less, and is no box."""


class Head(nn.Module):
    """Objectness from a cell and what the neck says around it; box and class from nine cells.

    `shapes` are (height, width, channels) of the maps, the first with the finest grid.
    """

    def __init__(self, shapes: Sequence[tuple[int, int, int]], classes: int) -> None:
        super().__init__()
        wide, neck = sum(c for _, _, c in shapes), shapes[-1][2]
        self.centre = nn.Conv2d(wide - neck, SLIM, 1)
        self.around = nn.Conv2d(neck, SLIM, 3, padding=STEP, dilation=STEP, bias=False)
        self.object = nn.Conv2d(SLIM, 1, 1)
        self.box = nn.Sequential(nn.Linear(9 * wide, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4))
        self.kind = nn.Sequential(
            nn.Linear(9 * wide, HIDDEN),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(HIDDEN, classes),
        )
        nn.init.constant_(self.object.bias, -4.0)  # few cells hold an object

    def objects(self, rows: Tensor) -> Tensor:
        """Logits of rows of `Cells.slim`: the convolutions below, on these cells alone."""
        weight = torch.cat([self.centre.weight.flatten(1), self.around.weight.flatten(1)], dim=1)
        hidden = functional.relu(functional.linear(rows, weight, self.centre.bias))
        return functional.linear(hidden, self.object.weight.flatten(1), self.object.bias)[:, 0]

    def everywhere(self, raw: Tensor, neck: Tensor) -> Tensor:
        """Logits of all cells, (n, height, width), of (n, channels, height, width)."""
        hidden = functional.relu(self.centre(raw) + self.around(neck))
        return self.object(hidden)[:, 0]


class Cells:
    """The maps of some images, asked for what single cells see."""

    def __init__(self, maps: Sequence[Sequence[np.ndarray[Any, Any]]]) -> None:
        self.maps = [np.stack([one[k] for one in maps]) for k in range(len(maps[0]))]
        self.grid = self.maps[-1].shape[1:3]

    def slim(self, at: np.ndarray[Any, Any]) -> Tensor:
        """Rows for `Head.objects` of cells (image, y, x)."""
        centre = [self._of(k, at) for k in range(len(self.maps) - 1)]
        last = len(self.maps) - 1
        nine = np.stack([self._of(last, at + one) for one in NINE], axis=2)
        rows = np.concatenate([*centre, nine.reshape(len(at), -1)], axis=1)
        return torch.from_numpy(rows).float()

    def wide(self, at: np.ndarray[Any, Any]) -> Tensor:
        """Rows for box and class: all maps at nine places."""
        every = range(len(self.maps))
        rows = [self._of(k, at + one) for one in NINE for k in every]
        return torch.from_numpy(np.concatenate(rows, axis=1)).float()

    def dense(self) -> tuple[Tensor, Tensor]:
        """All cells, as `Head.everywhere` takes them."""
        height, width = self.grid
        rows, columns = np.arange(height), np.arange(width)
        full = []
        for one in self.maps[:-1]:
            y, x = rows * one.shape[1] // height, columns * one.shape[2] // width
            full.append(one[:, y][:, :, x])
        raw = np.concatenate(full, axis=3)
        both = [torch.from_numpy(one).permute(0, 3, 1, 2).float() for one in (raw, self.maps[-1])]
        return both[0], both[1]

    def _of(self, k: int, at: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """What map k holds at cells of the grid, float16; zeros beyond its border."""
        one, (height, width) = self.maps[k], self.grid
        n, y, x = at.T
        tall, broad = one.shape[1:3]
        row = y.clip(0, height - 1) * tall // height
        column = x.clip(0, width - 1) * broad // width
        found = one.reshape(-1, one.shape[3]).take((n * tall + row) * broad + column, axis=0)
        found[(y < 0) | (y >= height) | (x < 0) | (x >= width)] = 0
        return found


def boxes(terms: Tensor, at: np.ndarray[Any, Any], grid: tuple[int, int]) -> Tensor:
    """(k, 4) terms of cells (image, y, x) → middle x, middle y, width, height, as shares."""
    y, x = torch.from_numpy(at[:, 1]), torch.from_numpy(at[:, 2])
    middle_x = (x + torch.tanh(terms[:, 0])) / grid[1]
    middle_y = (y + torch.tanh(terms[:, 1])) / grid[0]
    sides = torch.sigmoid(terms[:, 2:])
    return torch.stack([middle_x, middle_y, sides[:, 0], sides[:, 1]], dim=1)


def corners(found: Tensor) -> Tensor:
    """Middle and sides → left, top, right, bottom, cut at the border."""
    half = found[:, 2:] / 2
    return torch.cat([found[:, :2] - half, found[:, :2] + half], dim=1).clamp(0, 1)


def scores(objects: Tensor, kinds: Tensor) -> Tensor:
    """FastestDet's: objectness ^ 0.6 × share of the class ^ 0.4; (k, classes)."""
    return objects[:, None] ** 0.6 * kinds**0.4


@dataclass(frozen=True, slots=True)
class Found:
    """One detection; the box is left, top, right, bottom as shares of the image."""

    image: int
    kind: int
    box: tuple[float, float, float, float]
    score: float


def detect(head: Head, cells: Cells) -> Iterator[Found]:
    """Detections of the images of `cells`, overlapping ones of a class left out."""
    with torch.inference_mode():
        chances = torch.sigmoid(head.everywhere(*cells.dense()))
        at = np.concatenate([_likely(one, n) for n, one in enumerate(chances.numpy())])
        if not len(at):
            return
        rows = cells.wide(at)
        every = corners(boxes(head.box(rows), at, cells.grid))
        shares = scores(
            chances[tuple(torch.from_numpy(at).T)], torch.softmax(head.kind(rows), dim=1)
        )
        for n in np.unique(at[:, 0]):
            mine = np.flatnonzero(at[:, 0] == n)
            yield from kept(every[mine], shares[mine], int(n))


def kept(every: Tensor, shares: Tensor, image: int) -> Iterator[Found]:
    """The best of boxes (k, 4) and their scores (k, classes), without near copies."""
    from torchvision.ops import batched_nms  # takes its time to import, and training needs none

    cell, kind = torch.where(shares > LOWEST)
    score = shares[cell, kind]
    best = batched_nms(every[cell], score, kind, 0.5)[:MOST]
    numbers = zip(
        kind[best].tolist(), every[cell[best]].tolist(), score[best].tolist(), strict=True
    )
    for one, box, value in numbers:
        if box[2] - box[0] > LEAST_SIDE and box[3] - box[1] > LEAST_SIDE:
            yield Found(image, one, (box[0], box[1], box[2], box[3]), min(value, 1.0))


def _likely(chances: np.ndarray[Any, Any], image: int) -> np.ndarray[Any, Any]:
    """(k, 3) cells (image, y, x) with the highest objectness of an image."""
    order = np.argsort(-chances, axis=None, kind="stable")[:CELLS]
    order = order[chances.ravel()[order] > LEAST_OBJECT]
    y, x = np.unravel_index(order, chances.shape)
    return np.stack([np.full(len(order), image), y, x], axis=1)

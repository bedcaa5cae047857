"""Training of the new head: which cells stand for which box, the loss, the steps.

After FastestDet's description (its README): four cells around a box's middle answer for it, and
what objectness is to say is how well the box fits. Only some of the empty cells take part in a
step, weighted for the others, which makes steps many times cheaper.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from features import Trouble, smaller
from head import Cells, Head, boxes
from torch import Tensor
from torch.nn import functional

EMPTY, NEAR, EMPTY_WEIGHT = 16, 2, 0.25
"""Empty cells of an image that take part, others near each cell with an object, their weight."""
RATE, DECAY, WARM_UP = 3e-3, 1e-2, 0.05
MOST_LOST = 20
"""Steps whose loss is not finite, before it is given up."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class View:
    """One view of an image: `maps` gives its features; `labels` are (k, 5): class, middle and sides
    as shares of the picture; `ignored` (k, 4) says where it is neither object nor background."""

    maps: Callable[[], list[Array]]
    labels: Array
    ignored: Array


@dataclass(frozen=True, slots=True)
class Step:
    """Cells of some images: `at` (k, 3) image, y, x; the first of them, one for each row of
    `labels`, hold objects; `weights` (k,) say how much each counts for objectness."""

    at: Array
    labels: Array
    weights: Array


def learn(
    head: Head, views: Sequence[Sequence[View]], *, passes: int, batch: int, seed: int
) -> dict[str, float]:
    """Train on `passes` images, drawn in random order; what is to be said about it.

    `views` holds the views of each image. The weights at the end are means over the last steps.
    Raises Trouble where the loss stays not finite.
    """
    rng = np.random.default_rng(seed)
    weights = list(head.parameters())
    means = [one.detach().clone() for one in weights]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=DECAY)
    order, done, lost, started = _endless(rng, len(views)), 0, 0, time.perf_counter()
    loss, step, said = math.nan, 0, started
    head.train()
    while done < passes:
        drawn = [next(order) for _ in range(batch)]
        chosen = [views[image][rng.integers(len(views[image]))] for image in drawn]
        for group in optimizer.param_groups:
            group["lr"] = RATE * _rate(done / passes)
        try:
            found = _stepped(head, optimizer, chosen, rng)
        except (RuntimeError, MemoryError) as error:
            batch = smaller(batch, error)
            continue
        done, step = done + batch, step + 1
        if found is None:
            lost += 1
            if lost >= MOST_LOST:
                raise Trouble(f"the loss was not finite in {lost} steps. Lower RATE in learn.py.")
            continue
        loss = found if math.isnan(loss) else 0.95 * loss + 0.05 * found
        with torch.no_grad():
            for mean, one in zip(means, weights, strict=True):
                mean.lerp_(one, 1 - min(0.99, step / (step + 9)))
        if time.perf_counter() - said > 5:
            said = time.perf_counter()
            print(f"{min(done, passes)} of {passes} images, loss {loss:.3f}", flush=True)
    with torch.no_grad():
        for mean, one in zip(means, weights, strict=True):
            one.copy_(mean)
    return {"loss": round(loss, 4), "seconds": round(time.perf_counter() - started, 1)}


def _stepped(
    head: Head, optimizer: Any, chosen: Sequence[View], rng: np.random.Generator
) -> float | None:
    """One step of the optimizer; its loss, or None where that is not finite and nothing changed."""
    cells = Cells([one.maps() for one in chosen])
    step = cells_of(chosen, cells.grid, rng)
    found = loss_of(head, cells, step)
    optimizer.zero_grad()
    found.backward()
    norm = torch.nn.utils.clip_grad_norm_(head.parameters(), 10.0)
    if not (torch.isfinite(found) and torch.isfinite(norm)):
        return None
    optimizer.step()
    return float(found.detach())


def loss_of(head: Head, cells: Cells, step: Step) -> Tensor:
    """How wrong the head is on the cells of a step."""
    full, fits = len(step.labels), torch.zeros(len(step.at))
    loss = torch.zeros(())
    if full:
        rows, wanted = cells.wide(step.at[:full]), torch.from_numpy(step.labels)
        found = boxes(head.box(rows), step.at[:full], cells.grid)
        overlap, apart = fit(found, wanted[:, 1:])
        fits[:full] = overlap.detach()
        loss = 2 * apart.mean() + functional.cross_entropy(head.kind(rows), wanted[:, 0].long())
    said = head.objects(cells.slim(step.at))
    each = functional.binary_cross_entropy_with_logits(said, fits, reduction="none")
    images = len(cells.maps[0])
    return loss + (each * torch.from_numpy(step.weights)).sum() / max(full, images)


def fit(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap (IoU) of boxes, (k, 4) middle and sides, and the loss that is made of it: CIoU, which
    adds how far the middles and the shapes are apart."""
    low, high = found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2
    low2, high2 = wanted[:, :2] - wanted[:, 2:] / 2, wanted[:, :2] + wanted[:, 2:] / 2
    both = (torch.minimum(high, high2) - torch.maximum(low, low2)).clamp(min=0).prod(dim=1)
    overlap = both / (found[:, 2:].prod(dim=1) + wanted[:, 2:].prod(dim=1) - both + 1e-9)
    around = torch.maximum(high, high2) - torch.minimum(low, low2)
    away = ((found[:, :2] - wanted[:, :2]) ** 2).sum(dim=1) / ((around**2).sum(dim=1) + 1e-9)
    angles = [torch.atan(one[:, 2] / (one[:, 3] + 1e-9)) for one in (found, wanted)]
    shape = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    with torch.no_grad():
        share = shape / (1 - overlap + shape + 1e-9)
    return overlap, 1 - overlap + away + share * shape


def cells_of(views: Sequence[View], grid: tuple[int, int], rng: np.random.Generator) -> Step:
    """The cells with objects of some images, and empty ones by chance."""
    parts = [_with_object(one.labels, n, grid) for n, one in enumerate(views)]
    full = np.concatenate([at for at, _ in parts])
    labels = np.concatenate([rows for _, rows in parts])
    height, width = grid
    count = min(EMPTY, height * width)
    every = np.repeat(np.arange(len(views)), count)
    empty = np.stack(
        [every, rng.integers(0, height, len(every)), rng.integers(0, width, len(every))], axis=1
    )
    near = np.repeat(full, NEAR, axis=0)
    near[:, 1:] += rng.integers(-4, 5, (len(near), 2))
    near = near[((near[:, 1:] >= 0) & (near[:, 1:] < grid)).all(axis=1)]
    others = np.concatenate([empty, near])
    weights = np.full(len(others), 2 * EMPTY_WEIGHT)
    weights[: len(empty)] = EMPTY_WEIGHT * height * width / count
    taken = set(map(tuple, full.tolist()))
    free = np.array([tuple(one) not in taken for one in others.tolist()], dtype=bool)
    free &= ~_ignored(views, others, grid)
    at = np.concatenate([full, others[free]])
    each = np.concatenate([np.ones(len(full)), weights[free]]).astype(np.float32)
    return Step(at, labels, each)


def _with_object(labels: Array, image: int, grid: tuple[int, int]) -> tuple[Array, Array]:
    """The four cells whose corners lie around the middle of each box, and its row for each."""
    height, width = grid
    middle = np.floor(labels[:, 1:3] * (width, height)).astype(np.int64)
    found = [
        np.stack([np.full(len(labels), image), middle[:, 1] + down, middle[:, 0] + right], axis=1)
        for down in (0, 1)
        for right in (0, 1)
    ]
    at, rows = np.concatenate(found), np.tile(labels, (4, 1))
    inside = ((at[:, 1:] >= 0) & (at[:, 1:] < grid)).all(axis=1)
    return at[inside], rows[inside].astype(np.float32)


def _ignored(views: Sequence[View], at: Array, grid: tuple[int, int]) -> Array:
    """Which cells lie in a box that is to be ignored."""
    found = np.zeros(len(at), dtype=bool)
    middle = (at[:, [2, 1]] + 0.5) / (grid[1], grid[0])
    for n, view in enumerate(views):
        for box in view.ignored:
            within = np.abs(middle - box[:2]) <= box[2:] / 2
            found |= (at[:, 0] == n) & within.all(axis=1)
    return found


def _endless(rng: np.random.Generator, count: int) -> Iterator[int]:
    while True:
        yield from (int(one) for one in rng.permutation(count))


def _rate(done: float) -> float:
    """The share of the learning rate: rising at first, then along a cosine to 0."""
    return min(1.0, (done + 1e-3) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * min(done, 1.0)))

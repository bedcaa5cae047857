"""Who is in which fold: whole units, every class spread, seeded.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011), on units instead of single images:
the class with the fewest units left is dealt out first, each of its units to a fold where the class
(and then whatever else is on the unit) is still missing, then to the fold that lacks most of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import SettingsError

Counts = NDArray[np.int64]


def assign_folds(
    ids: Sequence[str], *, units: Counts, boxes: Counts, folds: int, rng: np.random.Generator
) -> Counts:
    """The fold (n,), from 0, of each image; the order of the images does not matter.

    `units` (n,) stay whole, `boxes` (n, classes) counts the objects on each image. Every class that
    stands in two units or more is in two folds or more wherever that can be had by dealing one unit
    at a time. Raises SettingsError where there are fewer units than folds.
    """
    names, unit = _by_lowest_id(ids, units)
    if not 2 <= folds <= len(names):
        raise SettingsError(
            f"{len(ids)} annotated images in {len(names)} groups cannot be {folds} folds",
            fix=f"Ask for 2 to {len(names)} folds: a group is never on both sides."
            if len(names) >= 2
            else "Annotate more images first: two groups are the least.",
        )
    images = np.bincount(unit, minlength=len(names))
    content = np.zeros((len(names), boxes.shape[1] + 1), dtype=np.int64)
    np.add.at(content, unit, np.column_stack([boxes, np.ones(len(ids), dtype=np.int64)]))
    fold = _deal(content, images, folds=folds, rng=rng)
    return np.asarray(fold[unit])


def confined(fold: Counts, boxes: Counts) -> list[int]:
    """Classes whose objects all lie in one fold: the model that predicts it has seen none."""
    return [
        number
        for number, column in enumerate(boxes.T)
        if column.any() and len(np.unique(fold[column > 0])) == 1
    ]


def _by_lowest_id(ids: Sequence[str], units: Counts) -> tuple[list[str], Counts]:
    """The lowest id of each unit, sorted, and the place of each image's unit among them (n,)."""
    lowest: dict[int, str] = {}
    for key, unit in zip(ids, units.tolist(), strict=True):
        lowest[unit] = min(key, lowest.get(unit, key))
    names = sorted(lowest.values())
    place = {name: number for number, name in enumerate(names)}
    return names, np.array([place[lowest[unit]] for unit in units.tolist()], dtype=np.int64)


def _deal(content: Counts, images: Counts, *, folds: int, rng: np.random.Generator) -> Counts:
    """The fold of each unit, (u,). `content` (u, classes + 1) ends with the number of images."""
    fold = np.full(len(content), -1, dtype=np.int64)
    load = np.zeros((folds, content.shape[1]), dtype=np.int64)
    wanted = content.sum(axis=0) / folds
    there = content[:, :-1] > 0
    left = there.sum(axis=0)
    order = rng.permutation(len(content))
    while left.any():
        rarest = int(np.where(left > 0, left, len(content) + 1).argmin())
        mine = [u for u in order.tolist() if fold[u] < 0 and there[u, rarest]]
        for u in sorted(mine, key=lambda u: -int(content[u, rarest])):
            fold[u] = _place(content[u], load, wanted, rarest=rarest)
            load[fold[u]] += content[u]
            left -= there[u]
    for u in sorted(np.flatnonzero(fold < 0).tolist(), key=lambda u: -int(images[u])):
        fold[u] = int(load[:, -1].argmin())
        load[fold[u]] += content[u]
    return _none_empty(fold, content, load)


def _place(unit: Counts, load: Counts, wanted: NDArray[np.float64], *, rarest: int) -> int:
    """The fold for a unit: one that would not confine a class, lacks most of `rarest`, is small."""
    on_it = np.flatnonzero(unit[:-1])
    alone = np.zeros(len(load), dtype=np.int64)
    for column in on_it.tolist():
        holders = np.flatnonzero(load[:, column])
        if len(holders) == 1:
            alone[holders[0]] += 1
    lacking = load[:, rarest] - wanted[rarest]
    fullness = load[:, -1] - wanted[-1]
    return int(np.lexsort((fullness, lacking, alone))[0])


def _none_empty(fold: Counts, content: Counts, load: Counts) -> Counts:
    """Move the smallest unit of the fold with most units to each fold that has none."""
    for empty in np.flatnonzero(np.bincount(fold, minlength=len(load)) == 0).tolist():
        fullest = int(np.bincount(fold, minlength=len(load)).argmax())
        theirs = np.flatnonzero(fold == fullest)
        fold[theirs[content[theirs, -1].argmin()]] = empty
    return fold

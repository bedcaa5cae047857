"""Does the embedding carry signal? Targeted picks are only as good as its neighbours.

Each image is marked with what it holds: its classes, or the kinds of failure found on it. Where
vectors carry that, an image's nearest neighbours share its marks more often than any images do.
Neighbours of the same group are left out: frames of one scene look alike whatever they hold.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from annoloop.core.cosines import fine
from annoloop.core.intervals import Resample
from annoloop.errors import VectorError

NEIGHBOURS = 5
FEWEST = 20
"""Marked images below which nothing is said."""
MOST = 1_000
"""Images looked at; of more, a random choice."""
SHUFFLES = 200
DRAWS = 1_000
WEAK = 0.1
"""Share of the way from chance to certainty below which a signal is called weak."""


class Strength(StrEnum):
    CARRIES = "carries"
    WEAK = "weak"
    RANDOM = "near random"


@dataclass(frozen=True, slots=True)
class Signal:
    """How often the nearest neighbours of an image share one of its marks.

    `rate` is that share over `images` marked ones, `base` the share over any images; `low` and
    `high` are the 95 % interval of rate − base. The four are fractions.
    """

    images: int
    rate: float
    base: float
    low: float
    high: float

    @property
    def strength(self) -> Strength:
        """Near random where the interval holds zero; weak below a tenth of what can be gained."""
        if self.low <= 0.0:
            return Strength.RANDOM
        gain = self.rate - self.base
        return Strength.CARRIES if gain >= WEAK * (1.0 - self.base) else Strength.WEAK


@dataclass(frozen=True, slots=True, eq=False)
class _Marked:
    """Images, their k nearest of other groups (n, k), -1 where there are fewer, and chance (n,).

    `shared` (n, n): the share of the row's marks that the column has. `marked` (n,): has any mark.
    """

    near: NDArray[np.int64]
    shared: NDArray[np.float64]
    marked: NDArray[np.bool_]
    chance: NDArray[np.float64]

    def shares(self, order: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the neighbours of each marked image share, when `order` (n,) deals out the marks."""
        there = self.near >= 0
        held = np.where(there, self.shared[order[:, None], order[self.near]], 0.0).sum(axis=1)
        return np.asarray((held / np.maximum(there.sum(axis=1), 1))[self.marked[order]])


def class_signal(
    vectors: NDArray[np.floating],
    classes: Sequence[frozenset[int]],
    *,
    groups: Sequence[Hashable] | None = None,
    rng: np.random.Generator,
) -> Signal | None:
    """Whether neighbours share classes: vectors (n, d) of labelled images, the classes of each.

    The interval comes from 1,000 bootstrap samples of images. None where it cannot be told: fewer
    than 20 images with a class that has a neighbour in another group, or every class everywhere.
    Of more than 1,000 images a random choice is looked at. Raises VectorError where vectors are
    not finite or not one per image.
    """
    marked = _marked(vectors, classes, groups, rng)
    if marked is None:
        return None
    shares, base = marked.shares(np.arange(len(marked.near))), marked.chance[marked.marked]
    everyone = np.ones(len(shares), dtype=bool)
    low, high = Resample.draw(len(shares), rng, draws=DRAWS).mean(shares - base, everyone)
    return Signal(len(shares), float(shares.mean()), float(base.mean()), low, high)


def failure_signal(
    vectors: NDArray[np.floating],
    failures: Sequence[frozenset[tuple[str, int]]],
    *,
    groups: Sequence[Hashable] | None = None,
    rng: np.random.Generator,
) -> Signal | None:
    """Whether failures sit closer to failures of their type and class than chance.

    `failures` are the (type, class) pairs found on each of the images that were mined, none where
    the model was right. Base and interval come from 200 shufflings of the images: the base is their
    mean, the interval how far the rate lies above the middle 95 % of them. Otherwise as
    `class_signal`.
    """
    marked = _marked(vectors, failures, groups, rng)
    if marked is None:
        return None
    shares = marked.shares(np.arange(len(marked.near)))
    rate = float(shares.mean())
    orders = (rng.permutation(len(marked.near)) for _ in range(SHUFFLES))
    shuffled = np.array([marked.shares(order).mean() for order in orders])
    low, high = (rate - np.quantile(shuffled, [0.975, 0.025])).tolist()
    return Signal(len(shares), rate, float(shuffled.mean()), low, high)


def _marked(
    vectors: NDArray[np.floating],
    held: Sequence[frozenset[int]] | Sequence[frozenset[tuple[str, int]]],
    groups: Sequence[Hashable] | None,
    rng: np.random.Generator,
) -> _Marked | None:
    if len(vectors) != len(held) or not np.isfinite(vectors).all():
        raise VectorError(
            f"{len(held)} images have vectors of shape {vectors.shape}, or not finite ones",
            fix="Run `annoloop embed`.",
        )
    chosen = np.arange(len(held))
    if len(chosen) > MOST:
        chosen = np.sort(rng.choice(len(chosen), MOST, replace=False))
    kinds = {
        kind: at for at, kind in enumerate(sorted({m for i in chosen.tolist() for m in held[i]}))
    }
    marks = np.zeros((len(chosen), len(kinds)))
    for row, i in enumerate(chosen.tolist()):
        marks[row, [kinds[mark] for mark in held[i]]] = 1.0
    group = np.arange(len(chosen))
    if groups is not None:
        numbers: dict[Hashable, int] = {}
        group = np.array([numbers.setdefault(groups[i], len(numbers)) for i in chosen.tolist()])
    marked = marks.sum(axis=1) > 0.0
    near = _nearest_others(vectors[chosen], group)
    if (marked & (near >= 0).any(axis=1)).sum() < FEWEST:
        return None
    each = marks / np.maximum(marks.sum(axis=1), 1.0)[:, None]
    chance = (each * _chance(marks, group)).sum(axis=1)
    if chance[marked].min() >= 1.0:
        return None
    return _Marked(near, each @ marks.T, marked, chance)


def _nearest_others(vectors: NDArray[np.floating], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest rows of other groups (n, k), nearest first, -1 where there are no more."""
    units = fine(vectors)
    cosines = units @ units.T
    cosines[group[:, None] == group] = -np.inf
    near = np.empty((len(units), min(NEIGHBOURS, len(units))), dtype=np.int64)
    everyone = np.arange(len(units))
    for rank in range(near.shape[1]):  # of equal ones the lowest row comes first
        best = cosines.argmax(axis=1)
        near[:, rank] = np.where(np.isneginf(cosines[everyone, best]), -1, best)
        cosines[everyone, best] = -np.inf
    return near


def _chance(marks: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often images of other groups than its own have each mark, for each image (n, m)."""
    own = np.zeros((int(group.max(initial=-1)) + 1, marks.shape[1]))
    np.add.at(own, group, marks)
    others = len(group) - np.bincount(group, minlength=len(own))[group]
    return np.asarray((marks.sum(axis=0) - own[group]) / np.maximum(others, 1)[:, None])


ADVICE = "with these vectors targeted picks will be close to random: try another embedder"


def in_words(signal: Signal, *, vectors: str, shared: str) -> str:
    """One sentence on a signal; `shared` is what neighbours share, as "classes"."""
    said = {
        Strength.CARRIES: f"{vectors} vectors carry {shared}",
        Strength.WEAK: f"{vectors} vectors carry {shared} weakly",
        Strength.RANDOM: f"{vectors} vectors are near random for {shared}",
    }[signal.strength]
    numbers = (
        f"neighbours share them in {signal.rate:.0%}, any images in {signal.base:.0%} "
        f"(difference {100 * signal.low:.0f} to {100 * signal.high:.0f} points, "
        f"{signal.images} images)"
    )
    advice = f"; {ADVICE}" if signal.strength is Strength.RANDOM else ""
    return f"{said}: {numbers}{advice}"

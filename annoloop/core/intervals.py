"""Intervals for rates of boxes that stand in images: boxes of one image are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2_000
LEVEL = 0.95
FEW_EVENTS = 10
HALVES = 50
"""Pairs of halves; each half costs one evaluation."""
AT_ONCE = 1 << 20
"""Single draws held at once (8 MiB)."""
MIN_EFFECTIVE = 20.0
"""Below so many effective boxes a rate says nothing; only counts are given."""

Interval = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Resample:
    """`weights` (draws, n): how often each of n images is in each bootstrap sample."""

    weights: Floats

    @classmethod
    def draw(
        cls,
        images: int,
        rng: np.random.Generator,
        *,
        draws: int = DRAWS,
        groups: Sequence[str | None] | None = None,
    ) -> Resample:
        """Draw `draws` samples of `images` images with replacement.

        With `groups` (a name for each image; None is a group of its own) whole groups are drawn, as
        many as there are: frames of one scene are not independent.
        """
        if images == 0:
            return cls(np.zeros((draws, 0)))
        member = np.arange(images) if groups is None else _members(groups)
        count = int(member.max()) + 1
        return cls(_drawn(count, draws, rng)[:, member])

    def rate(self, events: Floats, trials: Floats) -> Interval | None:
        """95 % interval of Σ events / Σ trials; (n,) and (n,) counts by image.

        Percentiles where the rate is between 0.05 and 0.95, BCa outside (Efron 1987); with fewer
        than 10 events or non-events Jeffreys on effective counts, trials / design effect. None
        below 20 effective trials. Where an image can have more events than trials (extra boxes per
        reference box) it is no share, and percentiles hold at the upper end too.
        """
        total, happened = float(trials.sum()), float(events.sum())
        effective = total / design_effect(events, trials)
        if effective < MIN_EFFECTIVE:
            return None
        share = happened / total
        no_share = bool((events > trials).any())
        if happened < FEW_EVENTS or (total - happened < FEW_EVENTS and not no_share):
            return _jeffreys(share, effective)
        below = self.weights @ trials
        drawn = (self.weights @ events)[below > 0] / below[below > 0]
        if 0.05 <= share <= 0.95 or no_share:
            return _percentiles(drawn, (1 - LEVEL) / 2, (1 + LEVEL) / 2)
        return _bca(drawn, events, trials)

    def mean(self, values: Floats, counted: NDArray[np.bool_]) -> Interval:
        """95 % percentile interval of the mean of those of (n,) values by image that count."""
        kept = self.weights @ counted.astype(np.float64)
        drawn = (self.weights @ np.where(counted, values, 0.0))[kept > 0] / kept[kept > 0]
        if len(drawn) == 0:
            return 0.0, 0.0
        return _percentiles(drawn, (1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _drawn(count: int, draws: int, rng: np.random.Generator) -> Floats:
    """How often each of `count` comes in `count` draws with replacement, (draws, count).

    Counting single draws takes a tenth of the time of a multinomial with equal chances.
    """
    found = np.empty((draws, count))
    step = max(1, AT_ONCE // count)
    for first in range(0, draws, step):
        rows = min(step, draws - first)
        cells = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * count)
        found[first : first + rows] = counts.reshape(rows, count)
    return found


def split_in_halves(
    images: int,
    rng: np.random.Generator,
    *,
    groups: Sequence[str | None] | None = None,
    pairs: int = HALVES,
) -> Floats:
    """Weights (2 · pairs, images) of 0 and 1: a random half of the images, then the other half.

    With `groups` whole groups go to one side. Together the two halves are the whole, so that in
    the mean of both only what depends on the number of images is left.
    """
    member = np.arange(images) if groups is None else _members(groups)
    count = int(member.max(initial=-1)) + 1
    first = np.zeros((pairs, count))
    for row in first:
        row[rng.permutation(count)[: count // 2]] = 1.0
    return np.stack([first, 1.0 - first], axis=1).reshape(2 * pairs, count)[:, member]


def _members(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """The number of each image's group, counted from 0 in order of appearance: (n,)."""
    numbers: dict[tuple[str | None, int], int] = {}
    keys = [(name, -1 if name is not None else place) for place, name in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def design_effect(events: Floats, trials: Floats) -> float:
    """How many times the variance of a rate exceeds the binomial's; at least 1 (Kish 1965).

    Σ (x_i − m_i p)² / (M p (1 − p)) over images, with M = Σ m_i and p = Σ x_i / M.
    """
    total = float(trials.sum())
    share = float(events.sum()) / total if total else 0.0
    binomial = total * share * (1.0 - share)
    if binomial <= 0.0:
        return 1.0
    return max(1.0, float(((events - trials * share) ** 2).sum()) / binomial)


def _percentiles(drawn: Floats, low: float, high: float) -> Interval:
    first, last = np.quantile(drawn, [low, high]).tolist()
    return first, last


def _jeffreys(share: float, effective: float) -> Interval:
    from scipy.stats import beta

    happened, others = share * effective + 0.5, (1.0 - share) * effective + 0.5
    low, high = beta.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], happened, others).tolist()
    # One-sided at the ends, so that a rate of 0 or 1 is inside its own interval.
    return (0.0 if share == 0.0 else low, 1.0 if share == 1.0 else high)


def _bca(drawn: Floats, events: Floats, trials: Floats) -> Interval:
    """Bias-corrected and accelerated percentiles; the jackknife leaves out one image at a time."""
    from scipy.stats import norm

    total, happened = trials.sum(), events.sum()
    left = total - trials
    jackknife = (happened - events)[left > 0] / left[left > 0]
    distance = jackknife.mean() - jackknife
    spread = float((distance**2).sum()) ** 1.5
    acceleration = float((distance**3).sum()) / (6.0 * spread) if spread else 0.0
    # Ties count by half: rates of few events have many.
    below = float((drawn < happened / total).mean() + (drawn == happened / total).mean() / 2)
    bias = float(norm.ppf(np.clip(below, 1e-4, 1 - 1e-4)))
    ends = []
    for level in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        z = bias + float(norm.ppf(level))
        ends.append(float(norm.cdf(bias + z / (1.0 - acceleration * z))))
    return _percentiles(drawn, ends[0], ends[1])

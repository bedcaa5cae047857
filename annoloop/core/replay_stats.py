"""Are two ways of selecting different? Learning curves over paired seeds, read with care.

Runs of one seed share splits, first batch and initial weights, so arms are compared by their
differences within a seed. The test is the exact sign-flip permutation test (Fisher 1935); intervals
are Student's; the number of seeds comes from the power of the paired t test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT = 16
"""Up to so many seeds all 2^n sign flips are counted; beyond, DRAWS of them are drawn."""

DRAWS = 100_000
ALPHA, POWER = 0.05, 0.8
MOST_SEEDS = 100_000


@dataclass(frozen=True, slots=True)
class Paired:
    """Differences over n seeds: mean, standard deviation, 95 % interval of the mean, two-sided p.

    `least_p` is the smallest p that n seeds can give, whatever they say: 2^(1 - n). With one seed
    there is no interval.
    """

    seeds: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    p: float
    least_p: float


def value_at(x: Sequence[float], y: Sequence[float], where: Floats) -> Floats:
    """The curve through the points (x rising) at `where`; flat outside of them."""
    return np.asarray(np.interp(where, x, y), dtype=np.float64)


def area(x: Sequence[float], y: Sequence[float], *, low: float, high: float) -> float:
    """Mean height of the curve through the points from `low` to `high`, in the unit of y."""
    if not high > low:
        return float(value_at(x, y, np.array([high]))[0])
    inside = [v for v in x if low < v < high]
    grid = np.array([low, *inside, high], dtype=np.float64)
    return float(np.trapezoid(value_at(x, y, grid), grid) / (high - low))


def first_reach(x: Sequence[float], y: Sequence[float], target: float) -> float:
    """The first x at which the curve is as high as `target`; infinity if it never is."""
    if not len(x):
        return math.inf
    if y[0] >= target:
        return float(x[0])
    for (x0, y0), (x1, y1) in pairwise(zip(x, y, strict=True)):
        if y1 >= target:
            return float(x0 + (x1 - x0) * (target - y0) / (y1 - y0))
    return math.inf


def paired(differences: Sequence[float], *, rng: np.random.Generator) -> Paired:
    """What the differences of one arm from another over seeds say. Raises ValueError if none."""
    from scipy import stats

    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if not n:
        raise ValueError("no seed, no difference")
    mean, least = float(d.mean()), min(1.0, 2.0 ** (1 - n))
    if n == 1:
        return Paired(1, mean, None, None, None, 1.0, least)
    sd = float(d.std(ddof=1))
    reach = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * sd / math.sqrt(n)
    return Paired(n, mean, sd, mean - reach, mean + reach, sign_flip_p(d, rng=rng), least)


def sign_flip_p(differences: Floats, *, rng: np.random.Generator) -> float:
    """Two-sided p of the mean if each difference had been as likely the other way round.

    Exact up to EXACT differences; beyond, from random flips, the observed one counted among them.
    """
    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    seen = abs(float(d.sum())) * (1 - 1e-12)  # ties of the same sum in another order count
    if n <= EXACT:
        half = np.arange(2 ** max(n - 1, 0))  # the other half are the mirror images
        signs = 1.0 - 2.0 * ((half[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ d) >= seen).mean())
    signs = rng.choice((-1.0, 1.0), size=(DRAWS, n))
    return float(((np.abs(signs @ d) >= seen).sum() + 1) / (DRAWS + 1))


def fewest_seeds(alpha: float) -> int:
    """Seeds below which no sign-flip test can reach this level, however clear the differences."""
    return math.ceil(1 - math.log2(alpha))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given: all of them hold together at one level."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted


def seeds_needed(sd: float, effect: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Seeds with which a true difference of `effect` is found with this power, two-sided.

    Paired t test with this sd of the differences; never fewer than the permutation test needs to
    say anything at this level. At most MOST_SEEDS. Raises ValueError for an effect of zero.
    """
    from scipy import stats

    if not effect:
        raise ValueError("no number of seeds finds a difference of zero")
    fewest = fewest_seeds(alpha)

    def enough(n: int) -> bool:
        if not sd:
            return True
        shift = abs(effect) / sd * math.sqrt(n)
        bound = stats.t.ppf(1 - alpha / 2, n - 1)
        return bool(stats.nct.sf(bound, n - 1, shift) >= power)

    low, high = fewest, fewest
    while not enough(high):
        low, high = high + 1, 2 * high
        if high >= MOST_SEEDS:
            return MOST_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return high


def bands(values: Floats) -> tuple[Floats, Floats]:
    """Mean of each arm's curves and half the width of its 95 % band: (arms, seeds, m) → (arms, m).

    What a seed's splits do to all arms alike is taken out first, so that bands show what the
    differences between arms rest on (Cousineau 2005, with the correction of Morey 2008). With one
    arm the bands are those of its mean. No width for one seed.
    """
    from scipy import stats

    rows = np.asarray(values, dtype=np.float64)
    mean = rows.mean(axis=1)
    arms, n = rows.shape[:2]
    if n < 2:
        return mean, np.zeros_like(mean)
    if arms > 1:
        rows = rows - rows.mean(axis=0) + rows.mean(axis=(0, 1))
    sd = rows.std(axis=1, ddof=1) * math.sqrt(arms / (arms - 1) if arms > 1 else 1.0)
    return mean, np.asarray(stats.t.ppf(1 - ALPHA / 2, n - 1) * sd / math.sqrt(n))


def retraining_sd(first: Sequence[float], again: Sequence[float]) -> float:
    """Standard deviation of one training, from pairs that differ in the training seed only."""
    d = np.asarray(first, dtype=np.float64) - np.asarray(again, dtype=np.float64)
    return float(math.sqrt((d * d).mean() / 2))

"""Is the target met, for certain enough? A lower bound at a level that many looks share.

A metric that is compared with its target after each batch will some day be above it by luck: at
one point below the target, 49 to 79 % of ten looks stop wrongly (methods B3). Here each look tests
at its share of alpha, all looks together stop wrongly with probability alpha at most, and a ledger
counts the looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annoloop.core.weighted_ap import Uncertain

ALPHA = 0.05
DRAWS_A_LEVEL = 20
"""Draws beyond the quantile that is asked for: fewer, and the bound itself is noise."""

MOST_DRAWS, MOST_WEIGHTS = 20_000, 40_000_000
"""Draws, and numbers in all of them (320 MB): a huge gauge needs no rare level to be certain."""


@dataclass(frozen=True, slots=True)
class Floor:
    """One class that has to be good enough by itself; `p` is the doubt that it is not."""

    name: str
    value: float | None
    floor: float
    p: float
    met: bool


@dataclass(frozen=True, slots=True)
class TargetLook:
    """One look at `gauge`: value and lower bound `low` at `level`, look number `look` of `looks`.

    `met` is whether the bound reaches the target and every floor holds; `needed_images` is about
    how many gauge images would make this value enough, None where the value is no better than the
    target.
    """

    value: float
    low: float
    level: float
    look: int
    looks: int
    target: float
    met: bool
    needed_images: int | None
    floors: tuple[Floor, ...] = ()


def level_of_look(spent: Sequence[float], *, looks: int, alpha: float = ALPHA) -> float:
    """The level of the next look: alpha / looks, of what earlier looks (their levels) left over.

    0 once alpha is used up: a further look cannot be certain of anything.
    """
    left = alpha - sum(spent)
    return alpha / looks if left >= alpha / looks - 1e-12 else max(left, 0.0)


def draws_for(level: float, *, tests: int = 1, images: int = 1) -> int:
    """How many bootstrap draws a bound at this level needs, with `tests` bounds sharing it, and how
    many of so many `images` there is room for."""
    if level <= 0:
        return 1_000
    wanted = min(MOST_DRAWS, round(DRAWS_A_LEVEL * tests / level), MOST_WEIGHTS // images)
    return int(max(1_000, wanted))


def lower_bound(found: Uncertain, level: float, *, units: int) -> float:
    """The lower bound at `level` of what endless images would give, from resampling `units` images
    (or groups): stretched, since few units resample too narrowly (`expansion`)."""
    centre = found.value - found.bias
    return centre - (centre - found.lower(level)) * expansion(level, units=units)


def doubt(found: Uncertain, *, bound: float, level: float, units: int) -> float:
    """The p-value of a metric's being no better than `bound`: the level at which its lower bound
    would lie there; the stretch is that of `level`.

    At least that of one draw in all: nothing rarer was looked at.
    """
    if not len(found.drawn) or np.isnan(found.value):
        return 1.0
    above = (found.value - found.bias - bound) / expansion(level, units=units)
    under = int((found.drawn <= found.drawn.mean() - above).sum())
    return (under + 1) / (len(found.drawn) + 1)


def expansion(level: float, *, units: int) -> float:
    """By how much a bootstrap of few units is too narrow: sqrt(n / (n - 1)) · t / z at the level
    (Hesterberg 2015); 1.01 at 300 units and a level of 0.005, 1.3 at 11."""
    from scipy.stats import norm, t

    free = max(units - 1, 1)
    safe = min(max(level, 1e-6), 0.4)
    return float(np.sqrt(units / free) * t.isf(safe, free) / norm.isf(safe))


def holm(doubts: Mapping[str, float], *, level: float) -> dict[str, bool]:
    """Which of several claims hold at `level` together, by the p-value of each (Holm 1979)."""
    held: dict[str, bool] = {}
    going = True
    for place, name in enumerate(sorted(doubts, key=lambda name: doubts[name])):
        going = going and doubts[name] <= level / (len(doubts) - place)
        held[name] = going
    return held


def images_needed(value: float, low: float, target: float, *, images: int) -> int | None:
    """How many gauge images would bring this value's lower bound to the target: the width of a
    bound falls with the root of the images. None if the value is not above the target."""
    if value <= target:
        return None
    return int(np.ceil(images * ((value - low) / (value - target)) ** 2))

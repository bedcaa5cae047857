"""Small changes that last: a cumulative sum over looks, guarded against a lucky baseline.

Advice only. It is faster than the permutation test for small sustained drift, but its limit rests
on an estimated error rate: taken as it is, that estimate gives 13–20 % false alarms in 20 looks.
The guard replaces it by an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.intervals import design_effect

GUARD = 1.645
"""How many standard errors above the estimate the in-control rate is put (95 % one-sided)."""

DRAWS = 4_000
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Cusum:
    """`path` has the sum after each look; `alarm` is the first look (from 1) above `limit`."""

    path: tuple[float, ...]
    limit: float
    alarm: int | None
    usual: float
    guarded: float
    drifted: float


def cusum(
    errors: Floats,
    boxes: Floats,
    looks: Sequence[tuple[float, float]],
    *,
    planned: int,
    alpha: float,
    rng: np.random.Generator,
) -> Cusum:
    """Guarded CUSUM of an error rate.

    `errors` and `boxes` (m,) are counts by image and baseline pass, all passes one after the other;
    `looks` are (errors, boxes) of each pass since. p_u = p + 1.645 · s.e., p_1 = max(2 p_u,
    p_u + 0.05); a look adds its log likelihood ratio of p_1 against p_u over the design effect,
    and the sum never falls below 0 (Page 1954). The limit is the 1 − `alpha` quantile of the
    largest sum in `planned` looks, simulated beta-binomially at p_u.
    """
    effect = design_effect(errors, boxes)
    usual = float(errors.sum() / boxes.sum())
    guarded = guarded_rate(usual, float(boxes.sum()), effect=effect, guard=GUARD)
    drifted = min(max(2.0 * guarded, guarded + 0.05), 0.99)
    sizes = np.array([size for _, size in looks], dtype=np.float64)
    later = np.full(max(planned - len(sizes), 0), sizes.mean())
    drawn = _beta_binomial(np.concatenate([sizes, later]), guarded, effect=effect, rng=rng)
    sums = np.zeros(DRAWS)
    largest = np.zeros(DRAWS)
    rates = (guarded, drifted, effect)
    for size, happened in zip(np.concatenate([sizes, later]), drawn, strict=True):
        sums = np.maximum(0.0, sums + _increment(happened, size, rates=rates))
        largest = np.maximum(largest, sums)
    limit = float(np.quantile(largest, 1.0 - alpha))
    path, level = [], 0.0
    for happened_once, size in looks:
        step = _increment(np.array([happened_once], dtype=np.float64), size, rates=rates)
        level = max(0.0, level + float(step[0]))
        path.append(level)
    alarm = next((t for t, height in enumerate(path, start=1) if height > limit), None)
    return Cusum(tuple(path), limit, alarm, usual, guarded, drifted)


def guarded_rate(usual: float, boxes: float, *, effect: float, guard: float) -> float:
    """The upper bound of the in-control rate; half an error is the least that is believed."""
    rate = max(usual, 0.5 / boxes)
    return float(min(rate + guard * np.sqrt(effect * rate * (1.0 - rate) / boxes), 0.9))


def _increment(happened: Floats, size: float, *, rates: tuple[float, float, float]) -> Floats:
    guarded, drifted, effect = rates
    up, down = np.log(drifted / guarded), np.log((1.0 - drifted) / (1.0 - guarded))
    return np.asarray((happened * up + (size - happened) * down) / effect)


def _beta_binomial(
    sizes: Floats, rate: float, *, effect: float, rng: np.random.Generator
) -> Floats:
    """(looks,) boxes → (looks, DRAWS) errors whose variance is `effect` times the binomial's."""
    whole = np.maximum(np.round(sizes), 1.0).astype(np.int64)[:, None]
    if effect <= 1.0:
        return rng.binomial(whole, rate, size=(len(sizes), DRAWS)).astype(np.float64)
    spread = np.maximum(whole - effect, 1e-9) / (effect - 1.0)  # a + b of the beta law
    shares = rng.beta(rate * spread, (1.0 - rate) * spread, size=(len(sizes), DRAWS))
    return rng.binomial(whole, shares).astype(np.float64)

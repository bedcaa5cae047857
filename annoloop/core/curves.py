"""Where a learning curve goes: an ensemble of saturating curves, and what it says of more labels.

Each member is 1 - rest - height · decay(size), with a decay from 1 at the first size towards 0 of
one of the families pow3, exp3, wbl4 and mmf4 (the learning-curve database LCDB, Mohr et al. 2022),
or a constant as a guard. Given the shape of its decay, rest and height are linear and solved
exactly, and the shapes are a fixed grid (variable projection): nothing is searched, so nothing can
diverge, and each bootstrap costs two sums. No member grows for ever: a log curve promises more than
100 % (methods B1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from annoloop.errors import InputError

Floats = NDArray[np.float64]

DRAWS = 2_000
LOW, HIGH = 0.05, 0.95
"""The ends of a 90 % band."""

LEAST_SIGMA = 1e-4
"""No measurement is exact; without a floor one point could rule all others out."""

TRUST_IN_SIGMAS = 4.0
"""The sigmas count like a noise measured on so many points."""

FADING = 3.0
"""A point at a share s of the last size counts s^3: small sizes have shapes of their own, and what
comes next resembles what came last. This and the two below were set on LCDB 1.1 and on synthetic
curves, for small errors and bands that hold (benchmarks/stopping.md)."""

SHARPNESS = 1.6
"""Power of the likelihood: between the average of all shapes (1) and the best fit alone."""

STRETCH = 0.4
"""How far all shapes may be wrong together: a curve passes the next sizes faster or slower by a
factor with this spread (log scale) at e times the last size, and by nothing at the last size."""

FLAT, POW3, EXP3, WBL4, MMF4 = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """`median` and the ends `low` and `high` of the 90 % band: (t,) fractions in [0, 1]."""

    median: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Decays:
    """(k,) shapes of decay by family, scale and power; sizes are shares of the last size."""

    family: NDArray[np.int64]
    scale: Floats
    power: Floats
    first: float

    def at(self, share: Floats) -> Floats:
        """(k, t) decay, 1 at the first size, for (1, t) shares, or (k, t) of each its own."""
        family, scale, power = (one[:, None] for one in (self.family, self.scale, self.power))
        share = np.maximum(share, self.first)
        begun, now = (self.first / scale) ** power, (share / scale) ** power
        return np.select(
            [family == FLAT, family == POW3, family == MMF4],
            [np.zeros_like(now), begun / now, (1.0 + begun) / (1.0 + now)],
            default=np.exp(begun - now),
        )

    def take(self, rows: NDArray[np.int64]) -> Decays:
        return Decays(self.family[rows], self.scale[rows], self.power[rows], self.first)


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """(d,) equally likely curves: their decays, `rest` and `height`, and the `stretch` of their
    rise beyond the `last` size."""

    decays: Decays
    rest: Floats
    height: Floats
    stretch: Floats
    last: float

    def at(self, sizes: ArrayLike) -> Floats:
        """(d, t) values in [0, 1] at (t,) sizes. No curve falls; below the first size it is flat.

        (d, 1) sizes, one for each curve, answer (d, 1) values.
        """
        share = np.atleast_2d(np.asarray(sizes, dtype=np.float64)) / self.last
        beyond = np.log(np.maximum(share, 1.0))
        warped = np.expm1(self.stretch[:, None] * beyond) / self.stretch[:, None]
        fallen = self.decays.at(np.where(share > 1.0, np.exp(np.minimum(warped, 50.0)), share))
        return np.clip(1.0 - self.rest[:, None] - self.height[:, None] * fallen, 0.0, 1.0)

    def band(self, sizes: ArrayLike) -> Band:
        """Median and 90 % band of the values at (t,) sizes."""
        low, median, high = np.quantile(self.at(sizes), [LOW, 0.5, HIGH], axis=0)
        return Band(median, low, high)

    def gain(self, size: float) -> Floats:
        """(d,) rise of the value from the last size to `size`."""
        values = self.at([self.last, size])
        return values[:, 1] - values[:, 0]

    def needed(self, target: float, *, most: float) -> Floats:
        """(d,) the size at which each curve reaches `target`; inf where not by the size `most`.

        A curve that is there already answers the last size.
        """
        low = np.full((len(self.rest), 1), self.last)
        high = np.full_like(low, max(most, self.last))
        reached, already = self.at(high) >= target, self.at(low) >= target
        for _ in range(40):
            middle = np.sqrt(low * high)
            there = self.at(middle) >= target
            low, high = np.where(there, low, middle), np.where(there, middle, high)
        found = np.where(already, self.last, np.where(reached, high, np.inf))
        return found[:, 0]


def extrapolate(
    sizes: ArrayLike,
    values: ArrayLike,
    *,
    sigmas: ArrayLike,
    targets: ArrayLike,
    rng: np.random.Generator,
) -> Band:
    """The value of a learning curve at the (t,) sizes `targets`: median and 90 % band.

    `fit` says what the other arguments are, and what is refused.
    """
    wanted = np.atleast_1d(np.asarray(targets, dtype=np.float64))
    if not (np.isfinite(wanted) & (wanted > 0)).all():
        raise InputError(
            "a target size of the learning curve is not a positive number",
            fix="Targets are numbers of labels, images or boxes above 0.",
        )
    return fit(sizes, values, sigmas=sigmas, rng=rng).band(wanted)


def fit(
    sizes: ArrayLike,
    values: ArrayLike,
    *,
    sigmas: ArrayLike,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> Curves:
    """Curves that may lie behind (n,) `values` (fractions in [0, 1], higher is better) at `sizes`.

    `sigmas` are the standard errors of the values, (n,) or one for all; NaN where unknown. Shapes
    weigh by a Student likelihood, since the sigmas may be wrong, with equal shares for the
    families; each draw takes a shape by weight and solves it for values with fresh noise (a
    parametric bootstrap). A single size tells nothing of the rise: the curves then rise from there
    by anything between nothing and all, and mostly little.

    Raises InputError for no point, for lengths that differ, for sizes that are not positive, and
    for values outside [0, 1].
    """
    known, value, sigma = _checked(sizes, values, sigmas)
    share = known / known[-1]
    grid = _grid(float(share[0]))
    shapes = grid.at(share[None])
    trust = share**FADING
    weight, error = trust / sigma**2, 1.0 - value
    rest, height = _solve(shapes, weight, error[None])
    misfit = ((error - rest[:, None] - height[:, None] * shapes) ** 2) @ weight
    points = float(trust.sum())
    likelihood = -(TRUST_IN_SIGMAS + points) / 2 * np.log1p(misfit / TRUST_IN_SIGMAS)
    chosen = _choose(grid.family, SHARPNESS * likelihood, draws=draws, rng=rng)
    excess = (TRUST_IN_SIGMAS + misfit.min()) / (TRUST_IN_SIGMAS + max(points - 2.0, 0.0))
    fresh = error + sigma * np.sqrt(excess) * rng.standard_normal((draws, len(value)))
    rest, height = _solve(shapes[chosen], weight, fresh)
    if share[0] == 1.0:
        level = np.clip(rest, 0.0, 1.0)
        height = level * rng.random(draws) ** 3
        rest = level - height
    stretch = STRETCH * rng.standard_normal(draws)
    return Curves(grid.take(chosen), rest, height, stretch, float(known[-1]))


def _grid(first: float) -> Decays:
    one, scales = np.ones(1), np.geomspace(1e-3, 5.0, 40)
    parts = (
        (FLAT, one, one),
        (POW3, one, np.geomspace(0.05, 3.0, 40)),
        (EXP3, np.geomspace(0.02, 5.0, 40), one),
        (WBL4, scales, np.linspace(0.2, 1.6, 15)),
        (MMF4, scales, np.linspace(0.3, 3.0, 19)),
    )
    family = np.concatenate([np.full(len(s) * len(p), f) for f, s, p in parts])
    scale = np.concatenate([np.repeat(s, len(p)) for _, s, p in parts])
    power = np.concatenate([np.tile(p, len(s)) for _, s, p in parts])
    return Decays(family, scale, power, first)


def _solve(shapes: Floats, weight: Floats, error: Floats) -> tuple[Floats, Floats]:
    """(k,) rest ≥ 0 and height ≥ 0 of error ≈ rest + height · shape, by weighted least squares.

    (k, n) shapes; (1, n) errors, or (k, n), a row for each shape. Exact: the free solution where
    it is feasible, else the best on the side that it crosses.
    """
    total = weight.sum()
    mean = shapes @ weight / total
    centred = shapes - mean[:, None]
    level = error @ weight / total
    spread = centred**2 @ weight
    height = _ratio((centred * error) @ weight, spread)
    rest = level - height * mean
    alone = _ratio((shapes * error) @ weight, shapes**2 @ weight)
    crossed = rest < 0
    return np.where(crossed, 0.0, rest), np.where(crossed, alone, height)


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below where that is positive and told from rounding, else 0."""
    sound = below > 1e-12 * max(float(below.max()), 1e-300)
    return np.where(sound, np.maximum(above, 0.0) / np.where(sound, below, 1.0), 0.0)


def _choose(
    family: NDArray[np.int64], likelihood: Floats, *, draws: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(draws,) rows of the grid by posterior weight; the families share the prior equally."""
    prior = 1.0 / np.bincount(family)[family]
    total = np.cumsum(prior * np.exp(likelihood - likelihood.max()))
    found = np.searchsorted(total, rng.random(draws) * total[-1], side="right")
    return np.asarray(np.minimum(found, len(family) - 1), dtype=np.int64)


def _checked(
    sizes: ArrayLike, values: ArrayLike, sigmas: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """The points as three (n,) arrays by rising size."""
    known, value = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (sizes, values))
    sigma = np.atleast_1d(np.asarray(sigmas, dtype=np.float64))
    if known.ndim != 1 or not len(known) or known.shape != value.shape:
        raise InputError(
            f"{known.size} sizes and {value.size} values are no learning curve",
            fix="Give one value for each size, and at least one.",
        )
    if sigma.shape not in {known.shape, (1,)}:
        raise InputError(
            f"{sigma.size} sigmas for {value.size} values",
            fix="Give one standard error for each value, or one for all.",
        )
    if not (np.isfinite(known) & (known > 0)).all() or not ((value >= 0) & (value <= 1)).all():
        raise InputError(
            "a point of the learning curve is no measurement",
            fix="Sizes are above 0, values are fractions in [0, 1].",
        )
    usual = float(np.median(sigma[np.isfinite(sigma)])) if np.isfinite(sigma).any() else 0.005
    sigma = np.broadcast_to(np.where(np.isfinite(sigma), sigma, usual), known.shape)
    order = np.argsort(known, kind="stable")
    return known[order], value[order], np.maximum(np.abs(sigma[order]), LEAST_SIGMA)

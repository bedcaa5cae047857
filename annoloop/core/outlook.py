"""What the next batch should bring and cost, and how far the target is: forecasts with bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annoloop.core.curves import HIGH, LOW, Curves, Floats, fit

LEAST_POINTS = 4
"""Fewer points make no forecast: a curve of three parameters goes through any three of them."""

HORIZON = 3.0
"""No answer beyond so many times the last size: there the families disagree (methods B1)."""

SURE = 0.9
BEGINS, AHEAD, PICTURED = 0.4, 1.5, 24
"""The picture's ends as shares of the last size, and its number of points."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One iteration on the curve: labelled images and boxes, the metric and its standard error
    (NaN where unknown), both as fractions."""

    name: str
    images: int
    boxes: int
    value: float
    sigma: float


@dataclass(frozen=True, slots=True)
class Rates:
    """What people and machines cost: seconds, and money where a price is set."""

    seconds_per_image: float
    seconds_per_box: float
    per_image: float = 0.0
    per_box: float = 0.0
    per_hour: float = 0.0
    per_training: float = 0.0
    currency: str = "€"

    def of(self, images: float, boxes: float, *, trainings: int = 0) -> Price:
        """The price of labelling so much, and of so many trainings."""
        seconds = images * self.seconds_per_image + boxes * self.seconds_per_box
        per_unit = images * self.per_image + boxes * self.per_box
        priced = any((self.per_image, self.per_box, self.per_hour, self.per_training))
        money = per_unit + seconds / 3600 * self.per_hour + trainings * self.per_training
        return Price(images, boxes, seconds / 60, money if priced else None)


@dataclass(frozen=True, slots=True)
class Price:
    """Labels, boxes, minutes, and money where costs are set."""

    images: float
    boxes: float
    minutes: float
    money: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of the forecast: the size of the next batch, and what a stop is weighed by.

    `delta` is the gain (a fraction) below which a batch is not worth it; `value_of_point` what one
    point (0.01) of the metric is worth in money, None where nobody said.
    """

    batch: int
    target: float | None
    delta: float
    value_of_point: float | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """Median and 90 % band; None where it lies beyond the horizon."""

    median: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Needed:
    """How many more images reach the target, as a range; `reach` is the share of the curves that
    get there within the horizon; `price` is that of the median."""

    images: Range
    reach: float
    price: Price | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The forecast, or `why_not` there is none of the next batch.

    `gain_at_most` holds with 90 % certainty; `worth` is the mean worth of the gain in money, `pays`
    how probably it is more than the price of the batch; `flat` says that the batch is not worth it.
    """

    points: int
    why_not: str | None = None
    gain: Range | None = None
    gain_at_most: float | None = None
    batch: Price | None = None
    worth: float | None = None
    pays: float | None = None
    flat: bool = False
    needed: Needed | None = None
    horizon: float | None = None
    picture: dict[str, list[float]] | None = None


def look_ahead(
    observations: Sequence[Observation], plan: Plan, rates: Rates, *, rng: np.random.Generator
) -> Outlook:
    """Forecast from the points of one curve, oldest first.

    Flat is a next batch whose gain is surely (90 %) below `plan.delta`, or is worth less than the
    batch costs on average, where a point has a value and labels have a price. (Asking for the
    batch to be surely unprofitable has twice the regret on real curves: benchmarks/stopping.md.)
    """
    count = len({one.images for one in observations})
    if count < LEAST_POINTS:
        why = f"the learning curve has {count} of the {LEAST_POINTS} points that a forecast needs"
        return Outlook(count, why)
    if plan.batch < 1:
        return Outlook(count, "there is nothing left to label")
    curve = fit(
        [one.images for one in observations],
        [min(max(one.value, 0.0), 1.0) for one in observations],
        sigmas=[one.sigma for one in observations],
        rng=rng,
    )
    last = max(observations, key=lambda one: one.images)
    horizon = HORIZON * last.images
    needed = _needed(curve, plan, rates, last=last, horizon=horizon)
    until = last.images + plan.batch
    picture = _picture(curve, observations, until=until)
    if until > horizon:
        labelled = f"{HORIZON:g} times the {last.images:,} labelled"
        why = f"the next {plan.batch:,} images go beyond {labelled}"
        return Outlook(count, why, needed=needed, horizon=horizon, picture=picture)
    gains = curve.gain(until)
    at_most = float(np.quantile(gains, SURE))
    batch = rates.of(plan.batch, plan.batch * last.boxes / last.images, trainings=1)
    worth, pays = _worth(gains, batch, plan)
    return Outlook(
        points=count,
        gain=_range(gains),
        gain_at_most=at_most,
        batch=batch,
        worth=worth,
        pays=pays,
        flat=at_most < plan.delta or _unprofitable(worth, batch),
        needed=needed,
        horizon=horizon,
        picture=picture,
    )


def _worth(gains: Floats, batch: Price, plan: Plan) -> tuple[float | None, float | None]:
    """What the gain is worth on average, and how probably that is more than the batch costs."""
    if plan.value_of_point is None or batch.money is None:
        return None, None
    worth = 100 * plan.value_of_point * gains
    return float(worth.mean()), float((worth >= batch.money).mean())


def _unprofitable(worth: float | None, batch: Price) -> bool:
    return worth is not None and batch.money is not None and worth < batch.money


def _needed(
    curve: Curves, plan: Plan, rates: Rates, *, last: Observation, horizon: float
) -> Needed | None:
    if plan.target is None:
        return None
    more = np.ceil(curve.needed(plan.target, most=horizon)) - last.images
    low, median, high = np.quantile(more, [LOW, 0.5, HIGH], method="nearest").tolist()
    images = Range(*(one if np.isfinite(one) else None for one in (median, low, high)))
    price = None
    if images.median is not None:
        price = rates.of(images.median, images.median * last.boxes / last.images)
    return Needed(images, float(np.isfinite(more).mean()), price)


def _range(values: Floats) -> Range:
    low, median, high = np.quantile(values, [LOW, 0.5, HIGH]).tolist()
    return Range(median, low, high)


def _picture(
    curve: Curves, observations: Sequence[Observation], *, until: float
) -> dict[str, list[float]]:
    """The band for a chart: from where the points begin to count to half as many labels again, the
    next batch included."""
    first = max(min(one.images for one in observations), BEGINS * curve.last)
    sizes = np.linspace(first, min(HORIZON * curve.last, max(until, AHEAD * curve.last)), PICTURED)
    band = curve.band(sizes)
    rows = {"sizes": sizes, "median": band.median, "low": band.low, "high": band.high}
    return {name: np.round(row, 5).tolist() for name, row in rows.items()}


def seed_noise(repeats: Sequence[Sequence[float]]) -> float | None:
    """Standard deviation between seeds, pooled over groups of values of the same data; None where
    no group has two."""
    groups = [np.asarray(one) for one in repeats if len(one) > 1]
    if not groups:
        return None
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in groups)
    return float(np.sqrt(squares / sum(len(one) - 1 for one in groups)))

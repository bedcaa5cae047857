"""How many golden images are needed? Annotators are simulated and the real test is run on them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from annoloop.core.control import LookPlan, images_needed, p_values
from annoloop.errors import InputError

SHAPE = 1.5
"""Of the negative binomial number of boxes: about 10 % of images are empty at 5 boxes an image."""

CORRELATION = 0.05
"""How alike the errors of one image are (intra-class correlation)."""

REPETITIONS = 1_000
BLOCK = 200_000
"""Counts simulated at a time, so that memory does not grow with the number of images."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A golden set of `images` with on average `boxes` objects, and `passes` earlier passes."""

    images: int
    boxes: float
    passes: int
    correlation: float = CORRELATION

    def __post_init__(self) -> None:
        wrong = self.images < 1 or self.boxes <= 0.0 or self.passes < 1
        if wrong or not 0.0 <= self.correlation < 1.0:
            raise InputError(
                f"{self.images} images, {self.boxes} boxes, {self.passes} passes cannot be "
                "simulated",
                fix="Give at least one image and one pass, and more than 0 boxes an image.",
            )


@dataclass(frozen=True, slots=True)
class Power:
    """Shares of simulated histories, with their standard errors.

    `power` is the chance that one look fails when people miss `to` instead of `usual` of the
    boxes; `false_alarm` that any of all looks fails when nothing changes. `at_least` is the number
    of images below which no look can ever fail.
    """

    power: float
    power_se: float
    false_alarm: float
    false_alarm_se: float
    level: float
    at_least: int


def power(
    scenario: Scenario,
    *,
    usual: float,
    to: float,
    plan: LookPlan,
    rng: np.random.Generator,
    repetitions: int = REPETITIONS,
) -> Power:
    """Power of one look for missed boxes, and their false alarms over all planned looks.

    Boxes an image are negative binomial (shape 1.5), errors beta-binomial; every history has its
    own golden set and earlier passes, which all its looks share. The level is that of the first
    look and of missed boxes alone, as in the real check.

    Raises InputError for rates outside [0, 1], and for a plan without a number of looks.
    """
    if not (0.0 <= usual <= 1.0 and 0.0 <= to <= 1.0):
        raise InputError(
            f"error rates {usual} and {to} are no shares", fix="Give numbers from 0 to 1."
        )
    if plan.looks is None:
        raise InputError(
            "power needs a number of looks", fix="Say how many looks are planned (`--looks`)."
        )
    levels = np.array([plan.level(t, "missed") for t in range(1, plan.looks + 1)])
    detected = alarmed = 0
    per_block = max(1, BLOCK // (scenario.images * (scenario.passes + 1 + plan.looks)))
    for start in range(0, repetitions, per_block):
        count = min(per_block, repetitions - start)
        boxes = draw_boxes(scenario, count, rng=rng)
        before = draw_errors(boxes, usual, scenario=scenario, passes=scenario.passes, rng=rng)
        worse = draw_errors(boxes, to, scenario=scenario, passes=1, rng=rng)
        detected += int((p_values(np.concatenate([before, worse], axis=1)) <= levels[0]).sum())
        alarm = np.zeros(count, dtype=bool)
        for level in levels:
            same = draw_errors(boxes, usual, scenario=scenario, passes=1, rng=rng)
            alarm |= p_values(np.concatenate([before, same], axis=1)) <= level
        alarmed += int(alarm.sum())
    shares = (detected / repetitions, alarmed / repetitions)
    errors = [sqrt(share * (1.0 - share) / repetitions) for share in shares]
    return Power(
        power=shares[0],
        power_se=errors[0],
        false_alarm=shares[1],
        false_alarm_se=errors[1],
        level=float(levels[0]),
        at_least=images_needed(scenario.passes, float(levels[0])),
    )


def draw_boxes(scenario: Scenario, repetitions: int, *, rng: np.random.Generator) -> Counts:
    """(repetitions, images) numbers of objects."""
    success = SHAPE / (SHAPE + scenario.boxes)
    return rng.negative_binomial(SHAPE, success, size=(repetitions, scenario.images))


def draw_errors(
    boxes: Counts, rate: float, *, scenario: Scenario, passes: int, rng: np.random.Generator
) -> Counts:
    """(repetitions, images) objects → (repetitions, passes, images) errors, beta-binomial."""
    shape = (len(boxes), passes, boxes.shape[1])
    share: float | NDArray[np.float64] = rate
    if scenario.correlation > 0.0 and 0.0 < rate < 1.0:
        spread = (1.0 - scenario.correlation) / scenario.correlation
        share = rng.beta(rate * spread, (1.0 - rate) * spread, size=shape)
    return rng.binomial(np.broadcast_to(boxes[:, None, :], shape), share)

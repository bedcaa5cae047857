"""Who makes more errors than is tolerable, without blaming people for little data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.intervals import MIN_EFFECTIVE, Interval, design_effect

TOLERANCE = 0.05
FALSE_DISCOVERIES = 0.05
LEAST_WEIGHT, MOST_WEIGHT = 2.0, 1_000.0
"""How many boxes the prior of an annotator's rate may be worth."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AnnotatorRate:
    """`rate` is raw, `shrunk` the posterior mean with its 95 % `interval`.

    `probability` is P(rate > tolerance); `flagged` after false-discovery control over annotators.
    """

    annotator: str
    images: int
    boxes: int
    errors: int
    rate: float | None
    shrunk: float
    interval: Interval
    probability: float
    flagged: bool


def annotator_rates(
    errors: Floats,
    boxes: Floats,
    annotators: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
) -> tuple[AnnotatorRate, ...]:
    """Error rates by annotator; (n,) errors, boxes and annotator of each image, sorted by name.

    A beta prior is fitted by moments over annotators, each then counts by effective boxes
    (boxes / design effect). Flagged are those whose P(rate ≤ tolerance) Benjamini–Hochberg rejects
    at 5 %, of those with at least 20 effective boxes and a rate of their own above `tolerance`.
    """
    from scipy.stats import beta, false_discovery_control

    names = sorted(set(annotators))
    if not names:
        return ()
    who = np.array([names.index(name) for name in annotators], dtype=np.int64)
    happened = np.bincount(who, weights=errors, minlength=len(names)).astype(np.float64)
    seen = np.bincount(who, weights=boxes, minlength=len(names)).astype(np.float64)
    images = np.bincount(who, minlength=len(names))
    effects = np.array(
        [design_effect(errors[who == k], boxes[who == k]) for k in range(len(names))]
    )
    prior = _prior(happened, seen, effects=effects)
    first = prior[0] + happened / effects
    second = prior[1] + (seen - happened) / effects
    within = beta.cdf(tolerance, first, second)
    adjusted = false_discovery_control(np.clip(within, 0.0, 1.0))
    ends = beta.ppf([[0.025], [0.975]], first, second)
    return tuple(
        AnnotatorRate(
            annotator=name,
            images=int(images[k]),
            boxes=int(seen[k]),
            errors=int(happened[k]),
            rate=float(happened[k] / seen[k]) if seen[k] else None,
            shrunk=float(first[k] / (first[k] + second[k])),
            interval=(float(ends[0, k]), float(ends[1, k])),
            probability=float(1.0 - within[k]),
            # The prior alone, which is the others' record, is no evidence against anybody.
            flagged=bool(
                adjusted[k] <= FALSE_DISCOVERIES
                and seen[k] / effects[k] >= MIN_EFFECTIVE
                and happened[k] > tolerance * seen[k]
            ),
        )
        for k, name in enumerate(names)
    )


def _prior(happened: Floats, seen: Floats, *, effects: Floats) -> tuple[float, float]:
    """Beta parameters by moments: the spread between annotators beyond what chance explains."""
    mean = (float(happened.sum()) + 0.5) / (float(seen.sum()) + 1.0)
    counted = seen > 0
    weight = MOST_WEIGHT
    if counted.sum() > 1:
        rates = happened[counted] / seen[counted]
        chance = mean * (1.0 - mean) * float((effects[counted] / seen[counted]).mean())
        between = float(rates.var(ddof=1)) - chance
        weight = mean * (1.0 - mean) / between - 1.0 if between > 0.0 else MOST_WEIGHT
    weight = min(max(weight, LEAST_WEIGHT), MOST_WEIGHT)
    return mean * weight, (1.0 - mean) * weight

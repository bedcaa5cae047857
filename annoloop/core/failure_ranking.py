"""Which images are worst, without favouring those that merely hold much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from annoloop.records import ImageResult

Z = 1.0
"""How sure the share must be, in standard deviations, before it counts (about 84 %, one-sided)."""


@dataclass(frozen=True, slots=True)
class RankedImage:
    """One image, the share of its boxes that went wrong, and what the share is at least."""

    result: ImageResult
    share: float
    at_least: float


def worst_images(results: Sequence[ImageResult], *, top: int = 10) -> tuple[RankedImage, ...]:
    """The `top` images by Wilson's lower bound of their share of wrong boxes, worst first.

    The share is (wrong + missed) / (right + wrong + missed). Counts alone rank the crowded images
    first, however good the model is on them; shares alone rank images first that hold one box. The
    bound asks for both: all of 4 wrong (0.80 at least) is worse than 9 of 12 (0.61) and than the
    only one (0.50), though the 9 are most in number. Images without a failure are left out.
    """
    ranked = []
    for one in results:
        wrong, all_of_them = one.fp + one.fn, one.tp + one.fp + one.fn
        if wrong:
            bound = wilson(wrong, all_of_them)
            ranked.append(RankedImage(one, wrong / all_of_them, bound))
    ranked.sort(key=lambda r: (-r.at_least, -r.share, r.result.sample_id))
    return tuple(ranked[:top])


def wilson(events: int, trials: int, *, z: float = Z) -> float:
    """Lower end of Wilson's interval for a share (Wilson 1927); `trials` at least 1."""
    share = events / trials
    middle = share + z * z / (2 * trials)
    spread = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return (middle - spread) / (1 + z * z / trials)

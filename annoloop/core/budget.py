"""Budgets in boxes or minutes: the pace of people, and the largest batch that costs no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.records import Selection

FEWEST = 10
"""Answers with a recorded time from which their pace is known."""
STEPS = 8
"""Sizes tried by where the budget should end, before halving takes over."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that an answer takes: so many for the image, so many more for each box."""

    per_image: float
    per_box: float


def pace(seconds: NDArray[np.float64], boxes: NDArray[np.float64]) -> Pace:
    """The pace of answers from their times (m,) and boxes (m,), by non-negative least squares.

    Times above the 95th percentile are taken for breaks and count as much as that.
    """
    from scipy.optimize import nnls

    table = np.column_stack([np.ones(len(boxes)), boxes])
    found, _ = nnls(table, np.minimum(seconds, np.percentile(seconds, 95)))
    return Pace(float(found[0]), float(found[1]))


def largest_within(
    choose: Callable[[int], Selection],
    cost_of: Callable[[Selection], float],
    *,
    budget: float,
    guess: int,
    most: int,
) -> Selection | None:
    """A batch that costs at most `budget` while one more image would cost more, or all `most`.

    `choose` makes the batch of a size, the same one whenever it is asked. Where costs do not grow
    steadily with size there may be several such batches; this is one of them. None if the smallest
    batch costs too much.
    """
    low, high = 0, most + 1
    best: Selection | None = None
    size = guess
    step = 0
    while high - low > 1:
        size = min(max(size, low + 1), high - 1)
        chosen = choose(size)
        cost = cost_of(chosen)
        if cost <= budget:
            low, best = size, chosen
        else:
            high = size
        step += 1
        size = (low + high) // 2
        if step < STEPS and cost > 0:
            size = int(min(len(chosen.picks) * budget / cost, most))
    return best

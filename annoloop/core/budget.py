"""Budgets in boxes or minutes: the largest batch that costs no more."""

from __future__ import annotations

from collections.abc import Callable

from annoloop.records import Selection

STEPS = 8
"""Sizes tried by where the budget should end, before halving takes over."""


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

"""Whole groups into a fixed room: which totals can be reached, and never blocking the wanted one.

Totals are bits of one Python integer: bit t is set if some of the groups have t members together.
A `Packing` keeps one way of reaching its goal at hand; a group of a size on that way is taken at
once, any other only if another way is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping


class Packing:
    """Groups to be taken one after another, in an order that the caller chooses, up to a goal.

    `sizes` are those of all groups, `goal` a total that can be reached with them. `take` admits a
    group only if the goal stays within reach of the groups that are left.
    """

    def __init__(self, sizes: Iterable[int], goal: int) -> None:
        self._left = Counter(sizes)
        self.room = goal
        self.closed: set[int] = set()
        """Sizes that can no longer be taken. A size never comes back: if it fitted after another
        group was taken, the two together would have fitted before."""
        way = _way(self._left, goal)
        if way is None:
            raise ValueError(f"no groups of these sizes have {goal} members together")
        self._way = way

    def take(self, size: int) -> bool:
        """Take one group of this size if the goal stays within reach."""
        if size in self.closed or size > self.room or not self._left[size]:
            return False
        if self._way[size]:
            self._way[size] -= 1
        else:
            way = _way(self._left - Counter({size: 1}), self.room - size)
            if way is None:
                self.closed.add(size)
                return False
            self._way = way
        self._left[size] -= 1
        self.room -= size
        return True


def fullest(sizes: Iterable[int], room: int) -> int:
    """The largest total of some of the groups that does not exceed `room`."""
    totals = _totals(Counter(s for s in sizes if s <= room), room)[-1]
    return totals.bit_length() - 1


def nearest_total(sizes: Iterable[int], goal: int, *, at_least: int = 0) -> int | None:
    """The total nearest to `goal` (of two the smaller), or None if none is at least `at_least`."""
    counts = Counter(sizes)
    if not counts:
        return 0 if at_least <= 0 else None
    goal = max(goal, at_least)
    # The smallest total above the goal falls below it without any one of its groups.
    reach = min(goal + max(counts), sum(s * c for s, c in counts.items()))
    totals = _totals(counts, reach)[-1]
    below = (totals & ((1 << (goal + 1)) - 1)).bit_length() - 1
    above = totals >> goal
    over = goal + (above & -above).bit_length() - 1 if above else None
    if below < at_least:
        return over
    return below if over is None or goal - below <= over - goal else over


def _way(counts: Mapping[int, int], goal: int) -> Counter[int] | None:
    """How many groups of each size make up `goal`, or None if none do.

    Tries first to take the same share of every size, which leaves little to search and gives a way
    that most next groups are on.
    """
    total = sum(size * count for size, count in counts.items())
    if goal < 0 or goal > total:
        return None
    if goal == 0:
        return Counter()
    share = Counter({size: count * goal // total for size, count in counts.items()})
    gap = goal - sum(size * count for size, count in share.items())
    rest = _search({s: c - share[s] for s, c in counts.items()}, gap)
    return share + rest if rest is not None else _search(counts, goal)


def _search(counts: Mapping[int, int], goal: int) -> Counter[int] | None:
    items = _items(counts, goal)
    totals = _totals(counts, goal)
    if not totals[-1] >> goal & 1:
        return None
    way: Counter[int] = Counter()
    for (size, count), before in zip(reversed(items), reversed(totals[:-1]), strict=True):
        if not before >> goal & 1:
            way[size] += count
            goal -= size * count
    return way


def _items(counts: Mapping[int, int], limit: int) -> list[tuple[int, int]]:
    """The groups in bundles (size, count) of 1, 2, 4, … so that any number can be put together."""
    items = []
    for size, available in sorted(counts.items()):
        left, bundle = min(available, limit // size), 1
        while left > 0:
            items.append((size, min(bundle, left)))
            left -= bundle
            bundle *= 2
    return items


def _totals(counts: Mapping[int, int], limit: int) -> list[int]:
    """The reachable totals up to `limit` as bits: before the first bundle, and after each."""
    mask = (1 << (limit + 1)) - 1
    totals = [1]
    for size, count in _items(counts, limit):
        totals.append((totals[-1] | totals[-1] << (size * count)) & mask)
    return totals

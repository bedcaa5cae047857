"""A batch while it is drawn up: whole groups, nobody twice, near-duplicates apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.packing import Packing, fullest
from annoloop.records import Pick

Explain = Callable[[], tuple[str, Mapping[str, Any]]]
"""Called for a row that is taken: its reason and details."""


TWIN, FULL = "near-duplicates of picks", "images of scenes that are full"
"""What can hold a group back until nothing else is left."""


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """The scene of each row, `numbers` (n,) from 0, and how many picks of one are enough."""

    numbers: NDArray[np.int64]
    cap: int

    @property
    def count(self) -> int:
        return int(self.numbers.max(initial=-1)) + 1


class Draft:
    """Rows 0…n-1 with their ids; the picks so far, in order, and who may still come in.

    `groups` (n,) numbers the groups (None: every row is its own), `pairs` (m, 2) holds rows that
    should not share a batch, `room` is the size of the batch, `scenes` how many picks of one scene
    are enough. First `insist`, then `seal`, then
    `take`: from there on a group is let in only if the fullest batch stays within reach.
    """

    def __init__(
        self,
        ids: Sequence[str],
        *,
        room: int,
        groups: NDArray[np.int64] | None,
        pairs: NDArray[np.int64],
        scenes: Scenes | None = None,
    ) -> None:
        rows = np.arange(len(ids), dtype=np.int64)
        self.ids = ids
        self.picks: list[Pick] = []
        self.taken = np.zeros(len(ids), dtype=bool)
        self.admitted = {TWIN: 0, FULL: 0}
        """How many groups came in although they were held back, by what held them."""
        self._room = room
        self._group = rows if groups is None else np.unique(groups, return_inverse=True)[1]
        self._members = _Table(self._group, rows)
        self.grouped = self._members.count < len(ids)
        """Whether any group has more than one row."""
        self.plain = not self.grouped and not len(pairs) and scenes is None
        """Whether all rows are alone, so that every row that is ranked can come in."""
        self._twins = _Table(pairs.ravel(), pairs[:, ::-1].ravel())
        self._beside = np.zeros(self._members.count, dtype=bool)
        self._scenes = scenes
        self._full = np.zeros(self._members.count, dtype=bool)
        self._in_scene = np.zeros(0 if scenes is None else scenes.count, dtype=np.int64)
        self._there = None if scenes is None else _Table(scenes.numbers, rows)
        self._packing = Packing((), 0)
        self._ranks: dict[str, int] = {}

    def size(self, row: int) -> int:
        """How many rows come in with this one, itself included."""
        return len(self._members.of(int(self._group[row])))

    def insist(self, row: int, *, source: str, score: float, explain: Explain) -> bool:
        """Let the row's group in wherever it fits, near-duplicate or not."""
        if self.taken[row] or self.size(row) > self._room - len(self.picks):
            return False
        self._add(row, source=source, score=score, explain=explain, held=None)
        return True

    def seal(self) -> int:
        """Fix the size that the fullest batch has, and return it; `insist` is over."""
        sizes = self._members.sizes[~self.taken[self._members.first]].tolist()
        left = fullest(sizes, self._room - len(self.picks))
        self._packing = Packing(sizes, left)
        return left + len(self.picks)

    def closed(self, *, admit: bool) -> NDArray[np.bool_]:
        """Rows (n,) that cannot come in; with `admit`, those that are held back still can."""
        sizes = self._members.sizes
        shut = (sizes > self._packing.room) | np.isin(sizes, list(self._packing.closed))
        if not admit:
            shut |= self._beside | self._full
        return self.taken | shut[self._group]

    def fits(self, row: int, *, admit: bool) -> bool:
        """Whether `take` may let the row in; with `admit` although it is held back."""
        size, group = self.size(row), self._group[row]
        shut = self.taken[row] or size > self._packing.room or size in self._packing.closed
        return not shut and (admit or not (self._beside[group] or self._full[group]))

    def take(self, row: int, *, source: str, score: float, explain: Explain) -> int:
        """Let the row's group in unless it blocks the fullest batch; how many rows came in."""
        if self.taken[row] or not self._packing.take(self.size(row)):
            return 0
        held = self._held(row)
        return self._add(row, source=source, score=score, explain=explain, held=held)

    def _held(self, row: int) -> str | None:
        """What held the row's group back, in words, and count it."""
        group = self._group[row]
        if self._beside[group]:
            self.admitted[TWIN] += 1
            return f"a near-duplicate of {self._taken_twin(row)}"
        if self._full[group] and self._scenes is not None:
            self.admitted[FULL] += 1
            return f"its scene has {self._scenes.cap} picks already"
        return None

    def _add(
        self, row: int, *, source: str, score: float, explain: Explain, held: str | None
    ) -> int:
        reason, details = explain()
        if held is not None:
            reason += f"; {held}, let in because nothing else was left"
        rank = self._ranks[source] = self._ranks.get(source, 0) + 1
        self.picks.append(Pick(self.ids[row], source, rank, score, reason, dict(details)))
        members = self._members.of(int(self._group[row]))
        why = f"same group as {self.ids[row]}"
        for other in members.tolist():
            if other != row:
                came_with = {"brought_by": self.ids[row]}
                self.picks.append(Pick(self.ids[other], source, rank, score, why, came_with))
            self._beside[self._group[self._twins.of(other)]] = True
        self.taken[members] = True
        self._fill_scenes(members)
        return len(members)

    def _fill_scenes(self, members: NDArray[np.int64]) -> None:
        """Hold back the groups of scenes that have as many picks as a scene may."""
        if self._scenes is None or self._there is None:
            return
        for scene, more in Counter(self._scenes.numbers[members].tolist()).items():
            self._in_scene[scene] += more
            if self._in_scene[scene] >= self._scenes.cap:
                self._full[self._group[self._there.of(scene)]] = True

    def _taken_twin(self, row: int) -> str | None:
        for member in self._members.of(int(self._group[row])).tolist():
            for twin in self._twins.of(member).tolist():
                if self.taken[twin]:
                    return str(self.ids[twin])
        return None


class _Table:
    """Values by key, keys from 0 on: `of(key)` are the values of one key, in their order."""

    def __init__(self, keys: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        order = np.argsort(keys, kind="stable")
        self.count = int(keys.max()) + 1 if len(keys) else 0
        self._values = values[order]
        self._starts = np.searchsorted(keys[order], np.arange(self.count + 1))
        self.sizes = np.diff(self._starts)

    @property
    def first(self) -> NDArray[np.int64]:
        """The first value of each key; every key must have one."""
        return self._values[self._starts[:-1]]

    def of(self, key: int) -> NDArray[np.int64]:
        if key >= self.count:
            return self._values[:0]
        return self._values[self._starts[key] : self._starts[key + 1]]

"""Who is test, val, golden and pool: whole units, seeded, as near to the asked counts as they allow.

A unit is what must never be torn apart: a declared group, together with the near-duplicates of its
members. Units are taken in random order, whatever their size, as long as the asked count stays
within reach; so every unit that fits has the same chance, and large scenes do not gather in one
split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.packing import Packing, nearest_total
from annoloop.errors import SettingsError
from annoloop.records import Half, Split

LIMIT_SHARE = 0.02
FEWEST = 8
NOTABLE = 0.1
"""A split that misses its count by more than this share of it is mentioned."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of test and val, and the number of golden samples (None: `golden_count`)."""

    test: float = 0.15
    val: float = 0.15
    golden: int | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The split of each sample, and its half where the split is val."""

    splits: tuple[Split, ...]
    halves: tuple[Half | None, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """The unit of each sample (n,), numbered from 0 in order of appearance.

    `broken` (b, 2) are the pairs of near-duplicates that would have made a unit too large.
    """

    units: NDArray[np.int64]
    broken: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def golden_count(n: int) -> int:
    """5 % of the samples rounded up, or at least min(50, 15 %)."""
    return max(-(-n // 20), min(50, n * 15 // 100))


def units(
    groups: Sequence[str | None], pairs: NDArray[np.int64], *, limit_share: float = LIMIT_SHARE
) -> Units:
    """Declared groups joined by confirmed near-duplicate pairs (m, 2).

    A joined unit holds at most `limit_share` of the samples (but two may always join) or as many as
    the largest declared group in it: pairs that would make more are left apart, and come back.
    """
    n = len(groups)
    numbers: dict[str, int] = {}
    parent = np.arange(n)
    for i, group in enumerate(groups):
        if group is not None:
            parent[i] = numbers.setdefault(group, i)
    size = np.bincount(parent, minlength=n)
    declared = size.copy()
    limit = max(2, math.floor(limit_share * n))
    broken = []
    for a, b in sorted({(min(p), max(p)) for p in pairs.tolist()}):
        low, high = sorted((_root(parent, a), _root(parent, b)))
        if low == high:
            continue
        largest = max(declared[low], declared[high])
        if size[low] + size[high] > max(limit, largest):
            broken.append((a, b))
            continue
        parent[high] = low
        size[low] += size[high]
        declared[low] = largest
    roots = np.array([_root(parent, i) for i in range(n)], dtype=np.int64)
    _, first, inverse = np.unique(roots, return_index=True, return_inverse=True)
    number = np.argsort(np.argsort(first))
    notes = ()
    if broken:
        notes = (
            f"{len(broken)} near-duplicate pairs were left apart: together they would make a unit "
            f"of more than {limit} images",
        )
    return Units(number[inverse], np.array(broken, dtype=np.int64).reshape(-1, 2), notes)


def _root(parent: NDArray[np.int64], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = int(parent[i])
    return i


def assign(
    ids: Sequence[str], *, units: NDArray[np.int64], shares: Shares, rng: np.random.Generator
) -> Assignment:
    """Every sample to test, val, golden or the pool, and those of val to `mine` or `gauge`.

    `units` (n,) stay whole. Each count is the nearest to its share that the units left allow, and
    the halves of val are as equal as its units allow; no part that was asked for is empty. The
    order of the samples does not matter. Raises SettingsError where there are too few samples or
    too few units for that.
    """
    order = np.argsort(np.array(ids, dtype=np.str_), kind="stable")
    _, first, inverse = np.unique(units[order], return_index=True, return_inverse=True)
    by_id = np.argsort(np.argsort(first))[inverse]  # units by their lowest id
    sizes = np.bincount(by_id)
    goals = _goals(len(ids), shares)
    _refuse_few(len(ids), len(sizes), goals)
    shuffled = rng.permutation(len(sizes)).tolist()
    parts = _draw(shuffled, sizes.tolist(), goals)
    splits = np.full(len(sizes), Split.POOL, dtype=object)
    halves = np.full(len(sizes), None, dtype=object)
    for part, chosen in parts.items():
        splits[chosen] = Split.VAL if isinstance(part, Half) else part
        halves[chosen] = part if isinstance(part, Half) else None
    back = np.empty(len(order), dtype=np.int64)
    back[order] = by_id
    return Assignment(
        tuple(splits[back].tolist()),
        tuple(halves[back].tolist()),
        _notes(parts, goals, sizes),
    )

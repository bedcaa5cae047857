"""Who is test, val, golden and pool: whole units, seeded, as near to the asked counts as may be.

A unit is what must never be torn apart: a declared group, together with the near-duplicates of its
members. Units are taken in random order, whatever their size, as long as the asked count stays
within reach; so every unit that fits has the same chance, and large scenes do not gather in one
split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.packing import Packing, nearest_total
from annoloop.errors import InputError, SettingsError
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
    notes: tuple[str, ...] = ()
    if broken:
        notes = (
            f"{len(broken)} near-duplicate pairs were left apart: together they would make a unit "
            f"of more than {limit} images",
        )
    return Units(_by_appearance(roots), np.array(broken, dtype=np.int64).reshape(-1, 2), notes)


def _by_appearance(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same partition, numbered from 0 in order of first appearance."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


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
    n = len(ids)
    if len(units) != n:
        raise InputError(f"{n} samples have {len(units)} units", fix="Give each sample its unit.")
    goals = _goals(n, shares)
    order = np.argsort(np.array(ids, dtype=np.str_), kind="stable")
    unit = np.empty(n, dtype=np.int64)
    unit[order] = _by_appearance(units[order])  # numbered by the lowest id in them
    sizes = np.bincount(unit).tolist()
    _refuse_few_units(n, len(sizes), goals)
    shuffled = rng.permutation(len(sizes)).tolist()
    parts = _draw(shuffled, sizes, goals) or _draw_few(shuffled, sizes, goals)
    splits: list[Split] = [Split.POOL] * len(sizes)
    halves: list[Half | None] = [None] * len(sizes)
    for part, chosen in parts.items():
        for number in chosen:
            splits[number] = Split.VAL if isinstance(part, Half) else part
            halves[number] = part if isinstance(part, Half) else None
    members = unit.tolist()
    return Assignment(
        tuple(splits[number] for number in members),
        tuple(halves[number] for number in members),
        _notes({part: sum(sizes[u] for u in chosen) for part, chosen in parts.items()}, goals),
    )


def leaks(assignment: Assignment, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """The near-duplicate pairs (m, 2) that lie in two splits, or in the two halves of val."""
    sides = list(zip(assignment.splits, assignment.halves, strict=True))
    found = [(a, b) for a, b in pairs.tolist() if sides[a] != sides[b]]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def manifest_digest(ids: Sequence[str], splits: Sequence[str], halves: Sequence[str | None]) -> str:
    """SHA-256 (hex) over the sorted lines "id split half"; the half is empty outside of val."""
    rows = zip(ids, splits, halves, strict=True)
    lines = sorted(f"{key} {split} {half or ''}\n" for key, split, half in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


Part = Split | Half


def halve(
    ids: Sequence[str], *, units: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Half, ...]:
    """The half of each sample of a val split that was made elsewhere; `units` (n,) stay whole.

    Raises InputError if one unit holds them all.
    """
    order = np.argsort(np.array(ids, dtype=np.str_), kind="stable")
    unit = np.empty(len(ids), dtype=np.int64)
    unit[order] = _by_appearance(units[order])
    sizes = np.bincount(unit).tolist()
    if len(sizes) < 2:
        raise InputError(
            f"the {len(ids)} val samples are one group: they cannot be halved",
            fix="Put another group into val: failures come from one half, the metric from the "
            "other.",
        )
    mine, _ = _take(rng.permutation(len(sizes)).tolist(), sizes, len(ids) // 2, at_least=1)
    chosen = set(mine)
    return tuple(Half.MINE if number in chosen else Half.GAUGE for number in unit.tolist())


def _goals(n: int, shares: Shares) -> dict[Split, int]:
    """How many samples each split should have, the pool left out. Raises SettingsError."""
    for name, share in (("test", shares.test), ("val", shares.val)):
        if not 0.0 <= share < 1.0 or (name == "val" and share == 0.0):
            raise SettingsError(
                f"split.{name} = {share} is no share of the samples",
                fix="Give a share from 0 to 1; val cannot be 0.",
            )
    golden = golden_count(n) if shares.golden is None else shares.golden
    if n < FEWEST or golden < 0:
        raise SettingsError(
            f"{n} samples cannot be split (golden = {golden})",
            fix=f"Add images: {FEWEST} are the least, a hundred are a start.",
        )
    goals = {
        Split.TEST: _share(shares.test, n),
        Split.VAL: max(2, _share(shares.val, n)),
        Split.GOLDEN: golden,
    }
    if sum(goals.values()) >= n:
        wanted = ", ".join(f"{split} {goal}" for split, goal in goals.items())
        raise SettingsError(
            f"{wanted} leave no pool of {n} samples",
            fix="Lower split.test, split.val or split.golden.",
        )
    return {split: goal for split, goal in goals.items() if goal}


def _share(share: float, n: int) -> int:
    return max(1, math.floor(round(share * n, 9) + 0.5)) if share else 0


def _refuse_few_units(n: int, count: int, goals: Mapping[Split, int]) -> None:
    parts = [str(p) for s in goals for p in (Half if s is Split.VAL else (s,))]
    if count <= len(parts):
        raise SettingsError(
            f"{n} samples form {count} units that stay whole; {', '.join(parts)} and the pool "
            "need one each",
            fix="Use a finer group rule (split.group), or do without test or golden (set it to 0).",
        )


def _draw(
    shuffled: Sequence[int], sizes: Sequence[int], goals: Mapping[Split, int]
) -> dict[Part, list[int]] | None:
    """Units for each part, in random order; None if one huge unit, or too few, stand in the way."""
    if sum(sizes) - max(sizes) < sum(goals.values()):
        return None
    parts: dict[Part, list[int]] = {}
    left = list(shuffled)
    for split, goal in goals.items():
        chosen, left = _take(left, sizes, goal, at_least=1)
        if split is Split.VAL:
            total = sum(sizes[unit] for unit in chosen)
            parts[Half.MINE], parts[Half.GAUGE] = _take(chosen, sizes, total // 2, at_least=1)
        else:
            parts[split] = chosen
    return parts if left and all(parts.values()) else None


def _draw_few(
    shuffled: Sequence[int], sizes: Sequence[int], goals: Mapping[Split, int]
) -> dict[Part, list[int]]:
    """Where units are few or one is huge: each part one small unit, the pool the largest.

    What is left goes to the parts by their goals, scaled down if it cannot meet them all.
    """
    wanted: dict[Part, float] = {}
    for split, goal in goals.items():
        if split is Split.VAL:
            wanted |= dict.fromkeys(Half, goal / 2)
        else:
            wanted[split] = goal
    by_size = sorted(shuffled, key=lambda unit: sizes[unit])
    supply = sum(sizes) - sizes[by_size[-1]]
    scale = min(1.0, supply / sum(wanted.values()))
    smallest_first = sorted(wanted, key=lambda part: wanted[part])
    parts = {part: [unit] for part, unit in zip(smallest_first, by_size, strict=False)}
    used = {*by_size[: len(parts)], by_size[-1]}
    left = [unit for unit in shuffled if unit not in used]
    for part, seeds in parts.items():
        goal = math.floor(wanted[part] * scale + 0.5) - sizes[seeds[0]]
        chosen, left = _take(left, sizes, goal, at_least=0)
        seeds += chosen
    return parts


def _take(
    order: Sequence[int], sizes: Sequence[int], goal: int, *, at_least: int
) -> tuple[list[int], list[int]]:
    """Units in their order, with the total nearest to the goal; and the others."""
    total = nearest_total((sizes[unit] for unit in order), goal, at_least=at_least)
    if not total:
        return [], list(order)
    packing = Packing((sizes[unit] for unit in order), total)
    chosen: list[int] = []
    others: list[int] = []
    for unit in order:
        (chosen if packing.take(sizes[unit]) else others).append(unit)
    return chosen, others


def _notes(got: Mapping[Part, int], goals: Mapping[Split, int]) -> tuple[str, ...]:
    notes = []
    counts: dict[Split, int] = {s: got[s] for s in goals if s is not Split.VAL}
    counts[Split.VAL] = got[Half.MINE] + got[Half.GAUGE]
    for split, goal in goals.items():
        if abs(counts[split] - goal) > max(1, NOTABLE * goal):
            notes.append(f"{split} has {counts[split]} images, {goal} were due: groups stay whole")
    if abs(got[Half.MINE] - got[Half.GAUGE]) > max(1, NOTABLE * counts[Split.VAL]):
        notes.append(
            f"val's halves have {got[Half.MINE]} and {got[Half.GAUGE]} images: groups stay whole"
        )
    return tuple(notes)

"""Leaks: near-identical samples, or one group, on two sides of a lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from annoloop.records import Half, Sample, Split
from annoloop.results import Leak, SplitResult
from annoloop.steps.twins import Twins


def split_result(
    placed: Sequence[Sample], twins: Twins, digest: str, *, extra: Sequence[str] = ()
) -> SplitResult:
    by_id = {s.id: s for s in placed}
    leaks = tuple(_leaks(by_id, twins))
    counts = Counter(str(s.split) for s in placed)
    halves = Counter(str(s.half) for s in placed if s.half is not None)
    return SplitResult(
        counts={name: counts.get(name, 0) for name in map(str, Split)},
        halves={name: halves.get(name, 0) for name in map(str, Half)},
        groups=len({s.group for s in placed if s.group is not None}),
        near_duplicates=len(twins.all),
        leaks=leaks,
        digest=digest,
        notes=(*twins.notes, *extra),
    )


def _leaks(by_id: dict[str, Sample], twins: Twins) -> list[Leak]:
    found = []
    for a, b in twins.all:
        one, other = by_id[a], by_id[b]
        if one.split != other.split or one.half != other.half:
            sides = [str(s.half or s.split) for s in (one, other)]
            found.append(Leak(one.path, sides[0], other.path, sides[1], "near-duplicate"))
    groups: dict[str, list[Sample]] = {}
    for sample in by_id.values():
        if sample.group is not None:
            groups.setdefault(sample.group, []).append(sample)
    for name, members in sorted(groups.items()):
        for one, other in pairwise(members):
            if one.split != other.split:
                sides = [str(one.split), str(other.split)]
                found.append(Leak(one.path, sides[0], other.path, sides[1], f"group {name}"))
    return found

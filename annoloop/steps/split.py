"""`split`: assign test, val, golden and pool once, lock them with a manifest, report leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from annoloop.core import splits
from annoloop.errors import NotReadyError
from annoloop.records import Half, Sample, Split, Status
from annoloop.results import Leak, SplitResult
from annoloop.steps.adopt import adopt_labels
from annoloop.steps.context import Context
from annoloop.steps.groups import GroupRule
from annoloop.steps.manifest import check_manifest, digest_of, write_manifest
from annoloop.steps.twins import Twins, find_twins, positions
from annoloop.store import db, samples


def split(context: Context) -> SplitResult:
    """Make the splits, or check the locked ones and look at what joined the pool since."""
    with context.store.read() as connection:
        everything = samples.load(connection)
        locked = samples.locked(connection)
    if not everything:
        raise NotReadyError(
            "there are no images in this project", fix="Run `annoloop ingest` first."
        )
    if locked:
        check_manifest(context)
        return _check_newcomers(context, everything)
    return _make(context, everything)


def ensure_split(context: Context) -> None:
    """Make the splits if nobody has, and say so; check the manifest if somebody has."""
    with context.store.read() as connection:
        done = samples.locked_groups(connection) is not None
    if done:
        check_manifest(context)
        return
    context.say("no splits yet: making them (annoloop split)")
    split(context)


def _make(context: Context, everything: list[Sample]) -> SplitResult:
    settings = context.settings.split
    rule = GroupRule(settings.group, {})
    if rule.kind != "column":  # columns were read with the labels; paths can be read again
        everything = [replace(s, group=rule.group(s.path)) for s in everything]
    twins = find_twins(context, everything) if settings.near_duplicates else Twins()
    place = {s.id: i for i, s in enumerate(everything)}
    pairs = positions(twins.pairs, place)
    units = splits.units([s.group for s in everything], pairs)
    shares = splits.Shares(
        test=settings.test,
        val=settings.val,
        golden=None if settings.golden == "auto" else settings.golden,
    )
    assigned = splits.assign(
        [s.id for s in everything],
        units=units.units,
        shares=shares,
        rng=np.random.default_rng(settings.seed),
    )
    placed = [
        replace(s, split=assigned.splits[i], half=assigned.halves[i])
        for i, s in enumerate(everything)
    ]
    digest, adopted = _write(context, placed, twins)
    return _result(placed, twins, digest, extra=(*units.notes, *assigned.notes, *adopted))


def _write(context: Context, placed: Sequence[Sample], twins: Twins) -> tuple[str, tuple[str, ...]]:
    rows = [
        (s.id, s.split, s.half) for s in placed if s.split is not None and s.split != Split.POOL
    ]
    digest = digest_of(rows)
    with context.store.write() as connection:
        samples.set_splits(
            connection,
            {s.id: (s.split or Split.POOL, s.half, s.group) for s in placed},
        )
        samples.add_near_duplicates(connection, twins.pairs, binding=True)
        samples.add_near_duplicates(connection, twins.apart, binding=False)
        counts = Counter(str(s.split) for s in placed)
        db.record(
            connection,
            at=context.now(),
            who=context.who,
            what="split",
            target=digest,
            details=dict(counts),
        )
        adopted = adopt_labels(context, connection)
        # Inside the transaction: a kill before the commit leaves a manifest that the next
        # `split` overwrites; the other order could leave locked splits without their proof.
        write_manifest(context, placed, digest)
    return digest, adopted


def _check_newcomers(context: Context, everything: list[Sample]) -> SplitResult:
    """What joined the pool after the lock: its near-duplicates of locked samples are skipped."""
    twins = find_twins(context, everything) if context.settings.split.near_duplicates else Twins()
    by_id = {s.id: s for s in everything}
    leaking: dict[str, str] = {}
    for a, b in twins.all:
        for one, other in ((by_id[a], by_id[b]), (by_id[b], by_id[a])):
            if one.split is Split.POOL and other.split is not Split.POOL:
                leaking[one.id] = f"near-duplicate of {other.path} in {other.split}"
    open_to_skip = {
        key: why for key, why in leaking.items() if by_id[key].status is Status.UNLABELED
    }
    with context.store.write() as connection:
        samples.add_near_duplicates(connection, twins.pairs, binding=True)
        samples.add_near_duplicates(connection, twins.apart, binding=False)
        samples.set_status(
            connection,
            open_to_skip,
            status=Status.SKIPPED,
            came_from=(Status.UNLABELED,),
            why=open_to_skip,
        )
        if open_to_skip:
            db.record(
                connection,
                at=context.now(),
                who=context.who,
                what="skip near-duplicates",
                target="pool",
                details=open_to_skip,
            )
    notes = (
        (f"{len(open_to_skip)} new pool images are skipped: they would leak a locked image",)
        if open_to_skip
        else ()
    )
    return _result(everything, twins, check_manifest(context), extra=notes)


def _result(
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

"""`split`: assign test, val, golden and pool once, lock them with a manifest, report leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from annoloop.core import splits
from annoloop.errors import NotReadyError
from annoloop.records import Sample, Split
from annoloop.results import SplitResult
from annoloop.steps.adopt import adopt_labels
from annoloop.steps.context import Context
from annoloop.steps.groups import GroupRule
from annoloop.steps.leaks import split_result
from annoloop.steps.manifest import check_manifest, digest_of, write_manifest
from annoloop.steps.newcomers import check_newcomers
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
        return check_newcomers(context, everything)
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
    return split_result(placed, twins, digest, extra=(*units.notes, *assigned.notes, *adopted))


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

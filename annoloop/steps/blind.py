"""Blind golden samples: hidden in a batch's task list, on top of its size, never as picks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from annoloop.core.control import MIN_PASSES
from annoloop.core.golden_advice import MIN_IMAGES
from annoloop.records import Pick, Reference, Split, Status
from annoloop.results_golden import GoldenPlanResult
from annoloop.steps.context import Context
from annoloop.steps.passes import shown_before
from annoloop.steps.summary import BLIND
from annoloop.store import iterations, samples

OPEN = (Status.UNLABELED, Status.PENDING)
"""What can still be picked; everything else in the pool counts as covered, or is out."""


def blind_golden(context: Context, *, size: int, number: int) -> list[Pick]:
    """Golden samples to hide in batch `number` of `size` images: those with a reference.

    The last batch's are shown again, so that each collects the earlier passes that the test needs.
    By `golden.rotation` some leave for those least shown so far, but only where enough images
    with enough passes stay: a test that can never answer guards nothing.
    """
    settings = context.settings.golden
    with context.store.read() as connection:
        skipped = samples.load(connection, split=Split.GOLDEN, statuses=(Status.SKIPPED,))
        known = samples.newest_references(connection, split=Split.GOLDEN)
        for one in skipped:
            known.pop(one.id, None)
        last, shown = shown_before(connection, number)
    want = min(len(known), _how_many(context, size))
    there = [key for key in last if key in known]
    stay = _stay(there, shown, known, want=want, rotation=settings.rotation)
    rng = np.random.default_rng([context.settings.select.seed, number, 1])
    others = sorted(set(known) - set(stay))
    rng.shuffle(others)
    others.sort(key=lambda key: shown.get(key, 0))  # stable: chance decides among equals
    chosen = [*stay, *others[: want - len(stay)]]
    return [
        Pick(key, BLIND, rank, 0.0, "blind golden: checks the labels, not the model")
        for rank, key in enumerate(chosen, start=1)
    ]


def _stay(
    last: Sequence[str],
    shown: Mapping[str, int],
    known: Mapping[str, Reference],
    *,
    want: int,
    rotation: float,
) -> list[str]:
    """Who of the last batch comes again: those with passes first, all but those that may leave."""
    passed = [key for key in last if shown[key] >= MIN_PASSES and known[key].labels]
    asked = len(last) - round((1 - rotation) * want)
    leaving = passed[: max(0, min(asked, len(passed) - MIN_IMAGES))]
    stay = [key for key in last if key not in set(leaving)]
    return sorted(stay, key=lambda key: -min(shown[key], MIN_PASSES))[:want]


def _how_many(context: Context, size: int) -> int:
    settings = context.settings.golden
    if settings.share == 0:
        return 0
    # Half of a batch at most: below that the check would cost more than what it guards.
    return max(math.ceil(settings.share * size), min(settings.minimum, size // 2))


def default_size(context: Context, remaining: int, *, first: bool) -> int:
    """The size of the next batch if nobody asks for another (design §2)."""
    settings = context.settings.select
    if first:
        return max(1, min(settings.first_size, math.floor(settings.first_share * remaining)))
    return min(remaining, max(settings.minimum, int(settings.share * remaining)))


def shuffled(
    picks: Sequence[Pick], blind: Sequence[Pick], *, seed: int, number: int
) -> list[tuple[Pick, bool]]:
    """The task list: picks in their order, blind golden samples at random places among them."""
    tasks = [(pick, False) for pick in picks]
    rng = np.random.default_rng([seed, number, 2])
    for pick in blind:
        tasks.insert(int(rng.integers(0, len(tasks) + 1)), (pick, True))
    return tasks


def plan(context: Context) -> GoldenPlanResult:
    """`golden plan`: how many golden samples the next batch will hide."""
    with context.store.read() as connection:
        golden = samples.load(connection, split=Split.GOLDEN)
        known = samples.newest_references(connection, split=Split.GOLDEN)
        counts = samples.counts(connection)
        started = iterations.newest_iteration(connection) is not None
    left = sum(counts.get((Split.POOL, one), 0) for one in OPEN)
    want = min(len(known), _how_many(context, default_size(context, left, first=not started)))
    notes = []
    if len(known) < len(golden):
        notes.append(
            f"{len(golden) - len(known)} golden images have no reference labels: "
            "`annoloop batch make --kind golden` sends them out"
        )
    return GoldenPlanResult(
        golden=len(golden),
        with_reference=len(known),
        share=context.settings.golden.share,
        next_batch=want,
        notes=tuple(notes),
    )

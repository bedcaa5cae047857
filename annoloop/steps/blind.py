"""Blind golden samples: hidden in a batch's task list, on top of its size, never as picks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from annoloop.records import Pick, Split
from annoloop.results import GoldenPlanResult
from annoloop.steps.context import Context
from annoloop.steps.summary import BLIND
from annoloop.store import batches, samples


def blind_golden(context: Context, *, size: int, number: int) -> list[Pick]:
    """Golden samples to hide in a batch of `size`: those with a reference, least shown first."""
    share = context.settings.golden.share
    want = math.ceil(share * size)
    with context.store.read() as connection:
        known = samples.newest_references(connection, split=Split.GOLDEN)
        shown: dict[str, int] = dict.fromkeys(known, 0)
        for batch in batches.load_all(connection):
            for pick, blind in batches.load_picks(connection, batch.name):
                if blind and pick.sample_id in shown:
                    shown[pick.sample_id] += 1
    rng = np.random.default_rng([context.settings.select.seed, number, 1])
    order = sorted(known)
    rng.shuffle(order)
    order.sort(key=lambda key: shown[key])  # stable: chance decides among equals
    return [
        Pick(key, BLIND, rank, 0.0, "blind golden: checks the labels, not the model")
        for rank, key in enumerate(order[:want], start=1)
    ]


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
    settings = context.settings
    size = settings.select.first_size
    want = min(len(known), math.ceil(settings.golden.share * size))
    notes = []
    if len(known) < len(golden):
        notes.append(
            f"{len(golden) - len(known)} golden images have no reference labels: "
            "`annoloop batch make --kind golden` sends them out"
        )
    return GoldenPlanResult(
        golden=len(golden),
        with_reference=len(known),
        share=settings.golden.share,
        next_batch=want,
        notes=tuple(notes),
    )

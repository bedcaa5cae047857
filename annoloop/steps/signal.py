"""Whether the stored vectors carry what targeted picks rely on, in words, for those who choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from annoloop.core import signal as core_signal
from annoloop.records import Answer, Half, Label, Sample, Split, Status
from annoloop.steps.context import Context
from annoloop.store import batches, iterations, samples

Marked = list[tuple[Sample, frozenset[Any]]]
"""Images with the classes on them, or with the kinds of failure found on them."""


def signal_notes(context: Context, name: str) -> tuple[str, ...]:
    """What neighbours by the vectors `name` share, as far as labels and failures can tell it.

    Images without such a vector are left out; val's gauge half and test are never looked at. Of
    more than `core.signal.MOST` images a random choice is read.
    """
    tests: tuple[tuple[str, Marked, Callable[..., core_signal.Signal | None]], ...] = (
        ("classes", _labeled(context), core_signal.class_signal),
        ("kinds of failure", _mined(context), core_signal.failure_signal),
    )
    notes = []
    for shared, marked, measure in tests:
        known = context.vectors.having(name, [sample.sha256 for sample, _ in marked])
        there = [one for one, has in zip(marked, known, strict=True) if has]
        if not there:
            continue
        found = measure(
            context.vectors.load_vectors(name, [sample.sha256 for sample, _ in there]),
            [marks for _, marks in there],
            groups=[sample.group or f"sample {sample.id}" for sample, _ in there],
            rng=np.random.default_rng(context.settings.select.seed),
        )
        if found is not None:
            notes.append(core_signal.in_words(found, vectors=name, shared=shared))
    return tuple(notes)


def _labeled(context: Context) -> Marked:
    """Annotated pool samples, and those of golden and mine that have reference labels."""
    with context.store.read() as connection:
        pool = set(samples.load_ids(connection, split=Split.POOL, statuses=(Status.ANNOTATED,)))
        trusted = samples.load_ids(connection, split=Split.GOLDEN)
        trusted += samples.load_ids(connection, split=Split.VAL, half=Half.MINE)
        some = _some(context, sorted({*pool, *trusted}))
        answers = batches.newest(
            one
            for one in batches.load_annotations(connection, ids=pool & some)
            if one.answer in (Answer.COMPLETE, Answer.EMPTY)
        )
        known = samples.newest_references(connection, ids=some - pool)
        found = samples.load(connection, ids=[*answers, *known])
    labels = {key: one.labels for key, one in known.items()}
    labels |= {key: one.labels for key, one in answers.items()}
    return [(sample, _classes(labels[sample.id])) for sample in found]


def _classes(labels: Sequence[Label]) -> frozenset[int]:
    return frozenset(label.class_id for label in labels if not label.ignored)


def _mined(context: Context) -> Marked:
    """The images of mine that the newest evaluation looked at."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
        if not done:
            return []
        looked_at = [one.sample_id for one in iterations.load_results(connection, done[-1].seq)]
        mine = set(samples.load_ids(connection, split=Split.VAL, half=Half.MINE))
        some = _some(context, sorted(mine.intersection(looked_at)))
        failures = iterations.load_failures(connection, done[-1].seq)
        found = samples.load(connection, ids=some)
    kinds: dict[str, set[tuple[str, int]]] = {}
    for failure in failures:
        kinds.setdefault(failure.sample_id, set()).add((str(failure.type), failure.class_id))
    return [(sample, frozenset(kinds.get(sample.id, ()))) for sample in found]


def _some(context: Context, ids: Sequence[str]) -> set[str]:
    """All of these, or a random choice of as many as are looked at."""
    if len(ids) <= core_signal.MOST:
        return set(ids)
    rng = np.random.default_rng(context.settings.select.seed)
    return set(rng.choice(ids, core_signal.MOST, replace=False).tolist())

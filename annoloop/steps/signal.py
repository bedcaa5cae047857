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

    Images without such a vector are left out; val's gauge half and test are never looked at.
    """
    known = context.vectors.vector_keys(name)
    tests: tuple[tuple[str, Marked, Callable[..., core_signal.Signal | None]], ...] = (
        ("classes", _labeled(context), core_signal.class_signal),
        ("kinds of failure", _mined(context), core_signal.failure_signal),
    )
    notes = []
    for shared, marked, measure in tests:
        there = [(sample, marks) for sample, marks in marked if sample.sha256 in known]
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
        pool = samples.load(connection, split=Split.POOL, statuses=(Status.ANNOTATED,))
        answers = batches.newest(
            one
            for one in batches.load_annotations(connection, split=Split.POOL)
            if one.answer in (Answer.COMPLETE, Answer.EMPTY)
        )
        golden = samples.load(connection, split=Split.GOLDEN)
        mine = [s for s in samples.load(connection, split=Split.VAL) if s.half is Half.MINE]
        known = {
            **samples.newest_references(connection, split=Split.GOLDEN),
            **samples.newest_references(connection, split=Split.VAL),
        }
    labeled = [(s, answers[s.id].labels) for s in pool if s.id in answers]
    labeled += [(s, known[s.id].labels) for s in [*golden, *mine] if s.id in known]
    return [(sample, _classes(labels)) for sample, labels in labeled]


def _classes(labels: Sequence[Label]) -> frozenset[int]:
    return frozenset(label.class_id for label in labels if not label.ignored)


def _mined(context: Context) -> Marked:
    """The images of mine that the newest evaluation looked at."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
        if not done:
            return []
        failures = iterations.load_failures(connection, done[-1].seq)
        looked_at = {one.sample_id for one in iterations.load_results(connection, done[-1].seq)}
        val = samples.load(connection, split=Split.VAL)
    kinds: dict[str, set[tuple[str, int]]] = {}
    for failure in failures:
        kinds.setdefault(failure.sample_id, set()).add((str(failure.type), failure.class_id))
    return [
        (s, frozenset(kinds.get(s.id, ())))
        for s in val
        if s.half is Half.MINE and s.id in looked_at
    ]

"""All samples that have a place on the map, in columns, with what they can be coloured by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from annoloop.records import FailureType, Split, Status
from annoloop.results_map import Facet, MapState, SampleMap
from annoloop.steps.context import Context
from annoloop.store import columns, iterations, samples


def sample_map(context: Context) -> SampleMap:
    """The map of the current vectors; empty where `annoloop map` has not run yet.

    Nothing in it tells which golden images are in a batch, or what is on them.
    """
    name = context.embedder().name
    with context.store.read() as connection:
        everything = columns.all_samples(connection)
        schema = samples.schema(connection).classes
        labels = columns.classes_of_val(connection) | columns.classes_of_pool(connection)
        picks = columns.picked(connection)
        batches = columns.batch_names(connection)
        done = iterations.step_history(connection, "evaluate")
        failed = columns.evaluated(connection, done[-1].seq) if done else {}
    stored = context.vectors.load_points(name, [row[2] for row in everything])
    points = np.full((len(everything), 2), np.nan, np.float32) if stored is None else stored[0]
    placed = ~np.isnan(points[:, 0])
    alive = np.array([row[4] != Status.SKIPPED for row in everything], dtype=bool)
    rows = [row for row, on in zip(everything, placed, strict=True) if on]
    ids = [row[0] for row in rows]
    batch = {key: one for key, (one, _) in picks.items()}
    source = {key: one for key, (_, one) in picks.items()}
    sources = sorted(set(source.values()))
    kinds = (None, *FailureType)
    return SampleMap(
        MapState(
            embedder=name,
            images=int(alive.sum()),
            placed=int((alive & placed).sum()),
            missing=int((alive & ~placed).sum()),
            at=None if stored is None else stored[1]["at"],
        ),
        tuple(ids),
        tuple(row[1] for row in rows),
        np.ascontiguousarray(points[placed]),
        (
            _facet("split", ("no split", *Split), Split, (row[3] for row in rows)),
            _facet("status", tuple(Status), tuple(Status)[1:], (row[4] for row in rows)),
            _facet("source", ("not picked", *sources), sources, map(source.get, ids)),
            _facet(
                "class",
                ("no label", "empty", *schema),
                (None, *range(len(schema))),
                (_commonest(labels[key]) if key in labels else NOTHING for key in ids),
            ),
            _facet(
                "failure",
                ("not looked at", "no failure", *FailureType),
                kinds,
                (failed.get(key, NOTHING) for key in ids),
            ),
            _facet("batch", ("not picked", *batches), batches, map(batch.get, ids)),
        ),
    )


NOTHING = object()
"""What no value is equal to."""


def _commonest(classes: Sequence[int]) -> int | None:
    """The first in the schema among equals; None of none: nothing is on the image."""
    if len(set(classes)) < 2:
        return classes[0] if classes else None
    return max(sorted(set(classes)), key=classes.count)


def _facet(name: str, shown: Sequence[str], values: Iterable[Any], found: Iterable[Any]) -> Facet:
    """`shown` are what there is not, then the `values` in words; what is no value becomes 0."""
    place = {value: number for number, value in enumerate(values, start=1)}
    codes = np.array([place.get(one, 0) for one in found], dtype=np.uint16)
    return Facet(name, tuple(map(str, shown)), codes)

"""Failures in groups that a person can act on: one class, one type, and alike to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from annoloop.core.clusters import find_clusters
from annoloop.core.targeting import Query
from annoloop.records import Failure, FailureType

EXAMPLES = 3
CONFUSED = (FailureType.CLASS, FailureType.CLASS_LOCATION)
"""Types whose failures name two classes."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one type and class that look alike; `cluster` counts them from 1, largest first.

    `images` is how many images they lie on, `price` the AP50 that repairing all of them would
    gain, `examples` the dearest failures of different images. `alike` says that all are about the
    same true class, so that one of them in words stands for all.
    """

    type: FailureType
    class_id: int
    cluster: int
    clusters: int
    failures: int
    images: int
    price: float
    alike: bool
    examples: tuple[Failure, ...]


def grouped(queries: Sequence[Query], *, threshold: float) -> tuple[FailureGroup, ...]:
    """Type × class × cluster of vectors (`find_clusters`), dearest first.

    Failures that share a vector (those of one image, where only whole images have vectors) are in
    one group. Errors as `find_clusters`.
    """
    members: dict[bytes, list[Failure]] = {}
    for query in queries:
        members.setdefault(_key(query), []).append(query.failure)
    cells: dict[tuple[FailureType, int], list[list[list[Failure]]]] = {}
    for cluster in find_clusters(queries, threshold=threshold):
        first = cluster.probes[0].query.failure
        places = [members[_key(probe.query)] for probe in cluster.probes]
        cells.setdefault((first.type, first.class_id), []).append(places)
    found = []
    for (kind, class_id), clusters in cells.items():
        clusters.sort(key=lambda places: -sum(map(len, places)))
        found += [
            _group(kind, class_id, places, place=(number, len(clusters)))
            for number, places in enumerate(clusters, start=1)
        ]
    return tuple(sorted(found, key=_order))


def by_class(failures: Sequence[Failure]) -> tuple[FailureGroup, ...]:
    """Type × class alone, where there are no vectors to tell modes apart; dearest first."""
    cells: dict[tuple[FailureType, int], dict[str, list[Failure]]] = {}
    for one in failures:
        images = cells.setdefault((one.type, one.class_id), {})
        images.setdefault(one.sample_id, []).append(one)
    found = [
        _group(kind, class_id, list(images.values()), place=(1, 1))
        for (kind, class_id), images in cells.items()
    ]
    return tuple(sorted(found, key=_order))


def _group(
    kind: FailureType,
    class_id: int,
    places: Sequence[Sequence[Failure]],
    *,
    place: tuple[int, int],
) -> FailureGroup:
    everyone = [one for listed in places for one in listed]
    dearest: dict[str, Failure] = {}
    for one in sorted(everyone, key=lambda f: (-f.price, -(f.score or 0.0), f.sample_id, f.box)):
        dearest.setdefault(one.sample_id, one)
    return FailureGroup(
        type=kind,
        class_id=class_id,
        cluster=place[0],
        clusters=place[1],
        failures=len(everyone),
        images=len(dearest),
        price=sum(one.price for one in everyone),
        alike=len({one.truth_class_id for one in everyone}) == 1 or kind not in CONFUSED,
        examples=tuple(dearest.values())[:EXAMPLES],
    )


def _order(group: FailureGroup) -> tuple[float, int, str, int, int]:
    return -group.price, -group.failures, group.type, group.class_id, group.cluster


def _key(query: Query) -> bytes:
    """One class and type, one vector: what a probe stands for."""
    failure = query.failure
    head = f"{failure.type} {failure.class_id} ".encode()
    return head + (np.asarray(query.vector, np.float32) + np.float32(0.0)).tobytes()

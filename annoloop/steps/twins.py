"""Near-duplicates among the samples: found once, kept as pairs of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop import images
from annoloop.core import duplicates
from annoloop.records import Sample
from annoloop.steps.context import Context

CHUNK = 512


@dataclass(frozen=True, slots=True)
class Twins:
    """Confirmed near-duplicates as pairs of ids.

    `pairs` stay on one side of the splits; `apart` link two clusters, and binding them too would
    chain images through third ones: they are kept out of one batch, and reported where they leak.
    """

    pairs: tuple[tuple[str, str], ...] = ()
    apart: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[tuple[str, str], ...]:
        return (*self.pairs, *self.apart)


def find_twins(context: Context, everything: Sequence[Sample]) -> Twins:
    """Near-duplicates: a perceptual hash proposes, a pixel comparison confirms, nothing chains."""
    prints = _fingerprints(context, everything)
    hashes = np.array([prints[s.sha256][0] for s in everything], dtype=np.uint64)
    thumbs = np.frombuffer(
        b"".join(prints[s.sha256][1] for s in everything), dtype=np.uint8
    ).reshape(len(everything), -1)
    proposed = duplicates.propose(hashes)
    confirmed = proposed.pairs[duplicates.confirm(proposed.pairs, thumbs)]
    found = duplicates.clusters(len(everything), confirmed)

    def ids(pairs: NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
        return tuple((everything[a].id, everything[b].id) for a, b in pairs.tolist())

    return Twins(ids(found.pairs), ids(found.apart), (*proposed.notes, *found.notes))


def _fingerprints(context: Context, everything: Sequence[Sample]) -> dict[str, tuple[int, bytes]]:
    known = context.vectors.load_fingerprints()
    todo = {s.sha256: s.uri for s in everything if s.sha256 not in known}
    keys = sorted(todo)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            prints = list(pool.map(images.fingerprint, [todo[key] for key in chunk]))
            new = {key: (p.hash, p.grey) for key, p in zip(chunk, prints, strict=True)}
            context.vectors.add_fingerprints(new)
            known.update(new)
            context.progress(min(start + CHUNK, len(keys)), len(keys), "comparing images")
    return known


def positions(pairs: Sequence[tuple[str, str]], place: Mapping[str, int]) -> NDArray[np.int64]:
    rows = [(place[a], place[b]) for a, b in pairs]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)

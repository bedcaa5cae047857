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
KEPT = 8_192
"""Fingerprints that are stored at once, and pairs that are compared at once."""


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
    proposed = duplicates.propose(_hashes(context, everything))
    confirmed = proposed.pairs[_confirmed(context, everything, proposed.pairs)]
    found = duplicates.clusters(len(everything), confirmed)

    def ids(pairs: NDArray[np.int64]) -> tuple[tuple[str, str], ...]:
        return tuple((everything[a].id, everything[b].id) for a, b in pairs.tolist())

    return Twins(ids(found.pairs), ids(found.apart), (*proposed.notes, *found.notes))


def _hashes(context: Context, everything: Sequence[Sample]) -> NDArray[np.uint64]:
    """The perceptual hash of each sample (n,), computed and stored where it was not."""
    keys = [s.sha256 for s in everything]
    known, hashes = context.vectors.load_hashes(keys)
    todo = {keys[i]: everything[i].uri for i in np.flatnonzero(~known).tolist()}
    if not todo:
        return hashes
    ordered = sorted(todo)
    new: dict[str, tuple[int, bytes]] = {}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(ordered), CHUNK):
            chunk = ordered[start : start + CHUNK]
            prints = pool.map(images.fingerprint, [todo[key] for key in chunk])
            new |= {key: (p.hash, p.grey) for key, p in zip(chunk, prints, strict=True)}
            done = start + len(chunk)
            if len(new) >= KEPT or done == len(ordered):
                context.vectors.add_fingerprints(new)
                new = {}
            context.progress(done, len(ordered), "comparing images")
    return context.vectors.load_hashes(keys)[1]


def _confirmed(
    context: Context, everything: Sequence[Sample], pairs: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of the pairs (m, 2) are near-duplicates by their thumbnails, which are read in parts:
    a kilobyte each, and few samples have a pair."""
    found = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), KEPT):
        part = pairs[start : start + KEPT]
        rows, where = np.unique(part, return_inverse=True)
        thumbs = context.vectors.load_thumbs([everything[i].sha256 for i in rows.tolist()])
        found[start : start + KEPT] = duplicates.confirm(where.reshape(part.shape), thumbs)
    return found


def positions(pairs: Sequence[tuple[str, str]], place: Mapping[str, int]) -> NDArray[np.int64]:
    rows = [(place[a], place[b]) for a, b in pairs]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)

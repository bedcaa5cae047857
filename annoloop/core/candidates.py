"""The words of selection: who can be picked, what the loop knows, and what a source answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from annoloop.core.clusters import THRESHOLD
from annoloop.core.draft import Scenes
from annoloop.core.patches import Patches
from annoloop.core.targeting import Query
from annoloop.errors import InputError, VectorError


def _no_pairs() -> NDArray[np.int64]:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The samples that can be picked, one row each.

    `vectors` (n, d), `coverage` (n,) and `uncertainty` (n,) of the newest model's predictions are
    None where they are not stored (or not asked for); `patches` are regions that failures are
    compared with instead of whole images; rows with one number in `groups` (n,) are taken together
    or not at all (None: every row is its own group); the positions in a row of `near_duplicates`
    (m, 2) should not share a batch; `scenes` say how many picks of one scene are enough. Raises
    VectorError where vectors or scores are not one per sample, InputError where the rest does not
    fit.
    """

    ids: tuple[str, ...]
    vectors: NDArray[np.floating] | None = None
    coverage: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None
    near_duplicates: NDArray[np.int64] = field(default_factory=_no_pairs)
    uncertainty: NDArray[np.float64] | None = None
    patches: Patches | None = None
    scenes: Scenes | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        if self.vectors is not None and len(self.vectors) != n:
            raise VectorError(
                f"{n} samples have {len(self.vectors)} vectors", fix="Run `annoloop embed`."
            )
        if self.coverage is not None and self.coverage.shape != (n,):
            raise VectorError(
                f"{n} samples have coverage scores of shape {self.coverage.shape}",
                fix="Run `annoloop score`.",
            )
        if self.uncertainty is not None and self.uncertainty.shape != (n,):
            raise VectorError(
                f"{n} samples have uncertainties of shape {self.uncertainty.shape}",
                fix="Run `annoloop predict`.",
            )
        if self.groups is not None and self.groups.shape != (n,):
            raise InputError(
                f"{n} samples have groups of shape {self.groups.shape}",
                fix="Give every candidate the number of its group.",
            )
        if self.scenes is not None and self.scenes.numbers.shape != (n,):
            raise InputError(
                f"{n} samples have scenes of shape {self.scenes.numbers.shape}",
                fix="Give every candidate the number of its scene.",
            )
        pairs = self.near_duplicates
        if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs.size and not _within(pairs, n)):
            raise InputError(
                f"near-duplicates of shape {pairs.shape} are not pairs of the {n} candidates",
                fix="Give pairs of positions from 0 to the number of candidates less one.",
            )

    def by_id(self) -> Candidates:
        """The same candidates sorted by id. Raises InputError if an id comes twice."""
        if all(a < b for a, b in pairwise(self.ids)):
            return self
        order = np.array(sorted(range(len(self.ids)), key=self.ids.__getitem__), dtype=np.int64)
        ids = tuple(self.ids[i] for i in order.tolist())
        twice = [a for a, b in pairwise(ids) if a == b]
        if twice:
            raise InputError(
                f"sample {twice[0]} is a candidate twice", fix="Give every sample one row."
            )
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        return Candidates(
            ids,
            None if self.vectors is None else self.vectors[order],
            None if self.coverage is None else self.coverage[order],
            None if self.groups is None else self.groups[order],
            place[self.near_duplicates],
            None if self.uncertainty is None else self.uncertainty[order],
            None if self.patches is None else _owned(self.patches, place),
            None
            if self.scenes is None
            else replace(self.scenes, numbers=self.scenes.numbers[order]),
        )


def _owned(patches: Patches, place: NDArray[np.int64]) -> Patches:
    """The patches in the order of their owners' new places, so that ties do not see the old one."""
    owners = place[patches.owners]
    order = np.argsort(owners, kind="stable")
    return Patches(patches.vectors[order], owners[order], patches.boxes[order])


def _within(positions: NDArray[np.int64], n: int) -> bool:
    return bool(positions.min() >= 0 and positions.max() < n)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the loop knows: failures of the last model, and samples that wait for an answer.

    `labelled` (m, d) are the vectors of samples that are labelled or selected already; `picked`
    (n,) marks the candidates that the batch holds so far (a source is told; nobody else need).
    `cluster_cosine` is the mean cosine from which failures of one class and type are one cluster.
    """

    queries: tuple[Query, ...] = ()
    pending: tuple[str, ...] = ()
    labelled: NDArray[np.floating] | None = None
    picked: NDArray[np.bool_] | None = None
    cluster_cosine: float = THRESHOLD


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What a source would take: `positions` (m,) of candidates, best first, with their `scores`.

    `explain` gives reason and details of the row at an index of `positions`. Fewer than were
    wanted: `note` says why.
    """

    positions: NDArray[np.int64]
    scores: NDArray[np.floating]
    explain: Callable[[int], tuple[str, Mapping[str, Any]]]
    note: str | None = None


class Strategy(Protocol):
    """A source: it ranks the candidates that are not `taken` (n,).

    It ranks at least `want` of them, or fewer if it has no more to offer. It may be asked again
    with more taken, and must be a function of its arguments alone.
    """

    def __call__(
        self,
        candidates: Candidates,
        evidence: Evidence,
        *,
        want: int,
        taken: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> Ranking: ...

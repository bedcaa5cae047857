"""The next batch: sources rank the candidates, and a mix says how many picks each source has.

A source is a `Strategy`: one function from candidates and evidence to a `Ranking`. Those below and
those of plugins come through the same entry points (`annoloop.strategies`) and are treated alike:
what they rank is a proposal, the rules of the batch (its exact size, whole groups, nobody twice,
near-duplicates apart) are kept in `drawing` and `draft`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.core.candidates import Candidates, Evidence, Ranking, Strategy
from annoloop.core.cluster_picks import rank_clusters
from annoloop.core.clusters import find_clusters
from annoloop.core.drawing import Drawing
from annoloop.core.patches import Patches
from annoloop.core.targeting import Query, rank_neighbours
from annoloop.core.uncertainty import uncertainty
from annoloop.errors import SettingsError, VectorError
from annoloop.records import Selection

__all__ = [
    "BUILT_IN",
    "Candidates",
    "Evidence",
    "Query",
    "Ranking",
    "Strategy",
    "coverage",
    "neighbours",
    "random",
    "select",
    "targeted",
    "uncertainty",
]

TOLERANCE = 1e-6


def _nothing(note: str) -> Ranking:
    none = np.empty(0, dtype=np.int64)
    return Ranking(none, none.astype(np.float64), lambda _: ("", {}), note)


def coverage(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """The highest stored coverage scores; of equal ones the lowest id comes first."""
    scores = candidates.coverage
    if scores is None:
        return _nothing("no coverage scores are stored (`annoloop score` makes them)")
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise VectorError(
            f"the coverage score of {candidates.ids[int(broken[0])]} is not finite "
            f"({len(broken)} such scores)",
            fix="Run `annoloop score` again.",
        )
    order = np.argsort(-scores, kind="stable")
    ranks = np.flatnonzero(~taken[order])[:want]
    positions = order[ranks]

    def explain(index: int) -> tuple[str, Mapping[str, Any]]:
        rank, score = int(ranks[index]) + 1, float(scores[positions[index]])
        reason = f"coverage score {score:.3f}, rank {rank} of {len(scores)} unlabeled"
        return reason, {"pool_rank": rank, "candidates": len(scores)}

    return Ranking(positions, scores[positions], explain)


def targeted(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """What looks like the clusters that failures form, by quota (see `cluster_picks`)."""
    why = _untargetable(candidates, evidence)
    if why is not None:
        return _nothing(why)
    clusters = find_clusters(evidence.queries, threshold=evidence.cluster_cosine)
    pool, names = _searched(candidates)
    found = rank_clusters(clusters, pool, want=want, taken=taken, names=names)
    return Ranking(found.positions, found.cosines, found.explain)


def neighbours(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """The nearest neighbours of the failures, in fair rounds (see `targeting`)."""
    why = _untargetable(candidates, evidence)
    if why is not None:
        return _nothing(why)
    pool, names = _searched(candidates)
    found = rank_neighbours(evidence.queries, pool, want=want, taken=taken, names=names)
    return Ranking(found.positions, found.cosines, found.explain)


def _searched(
    candidates: Candidates,
) -> tuple[Patches | NDArray[np.floating], tuple[str, ...] | None]:
    """What failures are compared with, and whose rows they are where a row is a candidate."""
    if candidates.patches is not None:
        return candidates.patches, None
    assert candidates.vectors is not None  # `_untargetable` says so before
    return candidates.vectors, candidates.ids


def random(
    candidates: Candidates,
    evidence: Evidence,
    *,
    want: int,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Ranking:
    """Candidates in random order, each with score 0."""
    order = rng.permutation(len(candidates.ids))
    positions = order[~taken[order]][:want]
    return Ranking(positions, np.zeros(len(positions)), lambda _: ("random pick", {}))


BUILT_IN: Mapping[str, Strategy] = {
    "coverage": coverage,
    "targeted": targeted,
    "neighbours": neighbours,
    "uncertainty": uncertainty,
    "random": random,
}


def select(
    candidates: Candidates,
    evidence: Evidence,
    *,
    size: int,
    mix: Mapping[str, float],
    strategies: Mapping[str, Strategy] = BUILT_IN,
    rng: np.random.Generator,
) -> Selection:
    """The next batch: pending samples, then coverage, then the other sources in the mix's order.

    `mix` gives each source its share of the batch (they sum to 1); all but the last get the floor
    of share × size, the last gets the rest. A source that runs short is refilled in the order
    targeted, coverage, random, and that is reported. The batch has exactly the asked size whenever
    the candidates allow; where groups are larger than one it is the fullest that does not exceed
    the size. The order of the candidates' rows does not matter. Raises SettingsError for a size or
    a mix that cannot be, VectorError where neither vectors nor scores are stored.
    """
    known = {**BUILT_IN, **strategies}
    shares = _checked(mix, known)
    if size < 1:
        raise SettingsError(f"a batch of {size} images", fix="Ask for at least one image.")
    candidates = candidates.by_id()
    _refuse_blind(candidates, evidence, shares)
    drawing = Drawing(candidates, evidence, size=size, strategies=known, rng=rng)
    why = _untargetable(candidates, evidence)
    if "targeted" in shares and why is not None:
        alone = shares.keys() <= {"coverage", "targeted"}
        drawing.notes.append(f"{'coverage only' if alone else 'no targeted picks'}: {why}")
    drawing.take_pending()
    drawing.serve(shares)
    return drawing.result(size)


def _checked(mix: Mapping[str, float], known: Mapping[str, Strategy]) -> dict[str, float]:
    """The shares above zero, coverage first. Raises SettingsError."""
    for name, share in mix.items():
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1)
            listed = ", ".join(sorted(known))
            raise SettingsError(
                f"the mix names {name!r}, which is no strategy",
                fix=f"Did you mean {near[0]!r}? Known: {listed}." if near else f"Known: {listed}.",
            )
        if not 0.0 <= share < math.inf:
            raise SettingsError(
                f"the mix gives {name} a share of {share}",
                fix="Give every source a share from 0 to 1.",
            )
    total = math.fsum(mix.values())
    if abs(total - 1.0) > TOLERANCE:
        raise SettingsError(
            f"the shares of the mix sum to {total:g}",
            fix="Make them sum to 1, for instance coverage=0.3,targeted=0.7.",
        )
    return {n: s for n, s in sorted(mix.items(), key=lambda item: item[0] != "coverage") if s > 0}


def _untargetable(candidates: Candidates, evidence: Evidence) -> str | None:
    """Why there can be no targeted picks, if there can be none."""
    if not evidence.queries:
        return "there are no failures to look for"
    if candidates.vectors is None and candidates.patches is None:
        return "no vectors are stored (`annoloop embed` makes them)"
    return None


def _refuse_blind(candidates: Candidates, evidence: Evidence, shares: Mapping[str, float]) -> None:
    """Raise VectorError where coverage and targeted would both end in random picks."""
    if candidates.coverage is not None or not {"coverage", "targeted"} & shares.keys():
        return
    if candidates.vectors is None:
        raise VectorError(
            "neither vectors nor coverage scores are stored",
            fix="Run `annoloop embed`, then `annoloop score`.",
        )
    if not evidence.queries:
        raise VectorError(
            "no coverage scores are stored, and there are no failures to look for",
            fix="Run `annoloop score`.",
        )

"""A mix at work on a draft: quotas, refills, shortfalls, and the notes that say what happened."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from annoloop.core.candidates import Candidates, Evidence, Ranking, Strategy
from annoloop.core.draft import Draft
from annoloop.errors import InputError, SettingsError
from annoloop.records import Selection, Shortfall

REFILL = ("targeted", "coverage", "random")
"""Who takes over, in this order, when a source runs short."""
PENDING = "pending"


@dataclass(frozen=True, slots=True)
class _Turn:
    """One source at work on a quota: what it was asked for, what it brought, why it ended early."""

    source: str
    asked: int
    got: int
    why: str | None


class Drawing:
    """The mix at work on one draft."""

    def __init__(
        self,
        candidates: Candidates,
        evidence: Evidence,
        *,
        size: int,
        strategies: Mapping[str, Strategy],
        rng: np.random.Generator,
    ) -> None:
        self.candidates, self.evidence = candidates, evidence
        self.strategies, self.rng = strategies, rng
        self.draft = Draft(
            candidates.ids,
            room=min(size, len(candidates.ids)),
            groups=candidates.groups,
            pairs=candidates.near_duplicates,
            scenes=candidates.scenes,
        )
        self.quotas: dict[str, int] = {}
        self.shortfalls: list[Shortfall] = []
        self.notes: list[str] = []

    def take_pending(self) -> None:
        """Pending samples come first, on the batch's size, by id."""
        ids, waiting = self.candidates.ids, 0
        for name in sorted(set(self.evidence.pending)):
            row = bisect_left(ids, name)
            if row == len(ids) or ids[row] != name:
                raise InputError(
                    f"pending sample {name} is not among the candidates",
                    fix="Give pending samples together with the unlabeled ones.",
                )
            if not self.draft.taken[row] and not self.draft.insist(
                row, source=PENDING, score=0.0, explain=_pending
            ):
                waiting += 1
        if self.draft.picks:
            self.quotas[PENDING] = len(self.draft.picks)
        if waiting:
            self.notes.append(f"{waiting} pending images wait for a later batch: this one is full")

    def serve(self, shares: Mapping[str, float]) -> None:
        """Fill the batch, source by source."""
        goal = self.draft.seal()
        size = goal - len(self.draft.picks)
        last = list(shares)[-1]
        planned = 0
        for source, share in shares.items():
            quota = min(math.floor(round(share * size, 9)), size - planned)
            quota = size - planned if source == last else quota
            planned += quota
            self.quotas[source] = quota
            left = goal - len(self.draft.picks)
            self._serve(source, left if source == last else min(quota, left))

    def _serve(self, source: str, quota: int) -> None:
        """Fill one quota: by the source, by those that refill it, at last with near-duplicates."""
        turns: list[_Turn] = []
        everyone = (source, *(name for name in REFILL if name != source))
        missing = quota
        for name, admit in [(n, False) for n in everyone] + [(n, True) for n in everyone]:
            if missing <= 0:
                break
            turn = self._fill(name, missing, admit=admit)
            missing = 0 if turn.why is None else missing - turn.got
            if turns and turns[-1].source == name:
                turn = replace(turn, asked=turns[-1].asked, got=turns.pop().got + turn.got)
            if turn.got or not turns:
                turns.append(turn)
        followers: list[_Turn | None] = [*turns[1:], None]
        for turn, after in zip(turns, followers, strict=False):
            if turn.why is not None:
                by = None if after is None else after.source
                self.shortfalls.append(Shortfall(turn.source, turn.asked, turn.got, by, turn.why))

    def _fill(self, source: str, quota: int, *, admit: bool) -> _Turn:
        """Let a source pick until its quota is met, or nearly (see `_walk`), or it has no more."""
        got, want = 0, quota
        while True:
            closed = self.draft.closed(admit=admit)
            known = replace(self.evidence, picked=self.draft.taken.copy())
            ranking = self.strategies[source](
                self.candidates, known, want=want, taken=closed, rng=self.rng
            )
            self._check(source, ranking)
            more, done = self._walk(source, ranking, quota - got, admit=admit)
            got += more
            if done:
                return _Turn(source, quota, got, None)
            stuck = not more and (self.draft.closed(admit=admit) == closed).all()
            if stuck or len(ranking.positions) < want:
                return _Turn(source, quota, got, ranking.note or self._why(admit=admit))
            want *= 2

    def _walk(self, source: str, ranking: Ranking, quota: int, *, admit: bool) -> tuple[int, bool]:
        """Take what is ranked, in order; how many, and whether the turn is over.

        It is over when the quota is met, and when the next whole group would overshoot it by more
        than it is short now; the sources after it make up for the difference.
        """
        got = 0
        for index, row in enumerate(ranking.positions.tolist()):
            if got >= quota:
                break
            if not self.draft.fits(row, admit=admit):
                continue
            if self.draft.size(row) > 2 * (quota - got):
                return got, True
            got += self.draft.take(
                row,
                source=source,
                score=float(ranking.scores[index]),
                explain=partial(ranking.explain, index),
            )
        return got, got >= quota

    def _check(self, source: str, ranking: Ranking) -> None:
        rows, scores = ranking.positions, ranking.scores
        within = not len(rows) or (rows.min() >= 0 and rows.max() < len(self.candidates.ids))
        if not within or len(scores) != len(rows) or not np.isfinite(scores).all():
            raise SettingsError(
                f"strategy {source!r} ranked rows that do not exist, or without finite scores",
                fix="Mend the strategy, or leave it out of the mix.",
            )

    def _why(self, *, admit: bool) -> str:
        if self.draft.closed(admit=admit).all() and not self.draft.closed(admit=True).all():
            return "only what is held back is left: near-duplicates of picks, or full scenes"
        return "it ranks no other candidates"

    def result(self, asked: int) -> Selection:
        """The batch with everything that there is to say about it."""
        picks, open_ = self.draft.picks, len(self.candidates.ids)
        if asked > open_:
            self.notes.append(f"{asked} images were asked, {open_} are left")
        if len(picks) < min(asked, open_):
            self.notes.append(f"groups stay whole: the batch has {len(picks)} of {asked} images")
        weak = Counter(pick.source for pick in picks if pick.details.get("below_floor"))
        for source, weaker in weak.items():
            self.notes.append(
                f"{weaker} of {source}'s picks look less like their failures than those look like "
                "each other: the pool holds nothing nearer that is free"
            )
        short = {s.source for s in self.shortfalls} | {s.refilled_by for s in self.shortfalls}
        for source, got in Counter(pick.source for pick in picks).items():
            if self.draft.grouped and got != self.quotas.get(source, got) and source not in short:
                quota = self.quotas[source]
                self.notes.append(f"groups stay whole: {source} has {got} picks, its share {quota}")
        for held, count in self.draft.admitted.items():
            if count:
                self.notes.append(f"{count} {held} came in: nothing else was left")
        return Selection(
            tuple(picks), asked, self.quotas, tuple(self.shortfalls), tuple(self.notes)
        )


def _pending() -> tuple[str, Mapping[str, Any]]:
    return "pending: its answer was unsure, or did not come", {}

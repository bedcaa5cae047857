"""`select`: the next batch of the loop, exactly the asked size, each pick with its reason."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from annoloop.core import selection
from annoloop.errors import BatchOpenError, BusyError, GoldenError, NotReadyError, SettingsError
from annoloop.records import Batch, BatchKind, Pick, Selection, Split, Status
from annoloop.results_batches import SelectResult
from annoloop.steps.blind import OPEN, blind_golden, default_size, shuffled
from annoloop.steps.budget import price
from annoloop.steps.candidates import gather
from annoloop.steps.context import Context, refuse_locked
from annoloop.steps.contrast import contrast
from annoloop.steps.decide import ensure_decided
from annoloop.steps.signal import signal_notes
from annoloop.steps.split import ensure_split
from annoloop.steps.summary import view
from annoloop.store import batches, db, iterations, samples
from annoloop.store.iterations import Iteration

ID = re.compile(r"\b[0-9a-f]{16}\b")


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked of select; None takes the design's default.

    At most one of `size` (images), `boxes` and `minutes`. Raises SettingsError otherwise.
    """

    size: int | None = None
    boxes: float | None = None
    minutes: float | None = None
    mix: Mapping[str, float] | None = None
    seed: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        asked = [one for one in (self.size, self.boxes, self.minutes) if one is not None]
        if len(asked) > 1 or any(not 0 < one < math.inf for one in asked):
            raise SettingsError(
                f"a batch of size {self.size}, {self.boxes} boxes and {self.minutes} minutes",
                fix="Ask for one of them, above 0: `--size`, `--boxes` or `--minutes`.",
            )


def select(context: Context, wish: Wish) -> SelectResult:
    """Choose (and unless dry, take) the next batch. Raises BatchOpenError while one is open."""
    ensure_split(context)
    before = _ready(context)
    number = 0 if before is None else before.number + 1
    plan = _plan(context, wish, before)
    blind = blind_golden(context, size=len(plan.selection.picks), number=number)
    name = batches.batch_name(BatchKind.SELECT, number)
    result = _result(plan, name, wish, blind=len(blind))
    if not wish.dry_run:
        _take(context, plan, number=number, blind=blind, result=result)
    return result


@dataclass(frozen=True, slots=True)
class Plan:
    """A selection with what is needed to write it down."""

    selection: Selection
    seed: int
    mix: Mapping[str, float]
    paths: Mapping[str, str]
    notes: tuple[str, ...]
    summary: Mapping[str, Any]
    embedder: str


def _ready(context: Context) -> Iteration | None:
    """The last iteration, decided (its machine steps are run if need be); None at the start."""
    with context.store.read() as connection:
        before = iterations.newest_iteration(connection)
    if before is None:
        return None
    if "annotate" not in before.steps:
        raise BatchOpenError(
            f"batch {before.batch} is still open",
            fix=f"Answer and close it first: `annoloop annotate close {before.batch}`.",
        )
    before = ensure_decided(context)
    golden = before.steps["golden"].record
    if golden.get("verdict") == "fail" and not golden.get("accepted"):
        raise GoldenError(
            f"the golden check of {before.name} failed: {golden.get('reason')}",
            fix="Correct the batch's labels (`annoloop batch make --kind relabel --of "
            f'{before.batch}`), then say so: `annoloop golden check --accept "relabelled"`.',
        )
    verdict = before.steps["decide"].record
    if verdict.get("verdict") != "continue":
        context.say(f"note: the verdict of {before.name} was {verdict.get('verdict')}")
    return before


def _plan(context: Context, wish: Wish, before: Iteration | None) -> Plan:
    with context.store.read() as connection:
        pool = samples.load(connection, split=Split.POOL, statuses=OPEN)
    refuse_locked(pool, what="selected")
    if not pool:
        raise NotReadyError(
            "no unlabeled image is left in the pool",
            fix="Add images and run `annoloop ingest`; new images join the pool.",
        )
    settings = context.settings.select
    first = {"coverage": 1.0} if before is None else None
    mix = dict(wish.mix or first or settings.mix)
    paid = price(context, pool, boxes=wish.boxes, minutes=wish.minutes)
    gathered = gather(context, pool, mix=mix, before=before, price=paid)
    seed = settings.seed if wish.seed is None else wish.seed
    seeds = [seed, 0 if before is None else before.number + 1]
    strategies = context.strategies(mix)

    def choose(size: int) -> Selection:
        rng = np.random.default_rng(seeds)
        known = (gathered.candidates, gathered.evidence)
        return selection.select(*known, size=size, mix=mix, strategies=strategies, rng=rng)

    spent: tuple[str, ...] = ()
    if paid is None:
        chosen = choose(wish.size or default_size(context, len(pool), first=before is None))
    else:
        chosen, words = paid.largest(choose)
        spent = (words, *paid.words)
    if not chosen.picks:
        raise NotReadyError(
            f"no whole group of the pool fits into {chosen.asked} images: "
            f"{'; '.join(chosen.notes)}",
            fix="Ask for more with `--size`: groups are taken whole.",
        )
    paths = {s.id: s.path for s in pool}
    chosen = replace(chosen, picks=tuple(_readable(p, paths) for p in chosen.picks))
    signal = signal_notes(context, gathered.embedder) if gathered.evidence.queries else ()
    differs = contrast(context, gathered.candidates, chosen, name=gathered.embedder)
    notes = (*gathered.notes, *spent, *chosen.notes, *signal)
    return Plan(chosen, seed, mix, paths, notes, differs, gathered.embedder)


def _readable(pick: Pick, paths: Mapping[str, str]) -> Pick:
    """Core knows samples by id; people know them by path."""
    reason = ID.sub(lambda hit: paths.get(hit[0], hit[0]), pick.reason)
    return replace(pick, reason=reason)


def _result(plan: Plan, name: str, wish: Wish, *, blind: int) -> SelectResult:
    by_source: dict[str, int] = {}
    for pick in plan.selection.picks:
        by_source[pick.source] = by_source.get(pick.source, 0) + 1
    return SelectResult(
        batch=name,
        dry_run=wish.dry_run,
        asked=plan.selection.asked,
        size=len(plan.selection.picks),
        by_source=by_source,
        quotas=dict(plan.selection.quotas),
        shortfalls=plan.selection.shortfalls,
        blind_golden=blind,
        seed=plan.seed,
        picks=tuple(view(p, plan.paths) for p in plan.selection.picks),
        notes=plan.notes,
        summary=plan.summary,
        embedder=plan.embedder,
    )


def _take(
    context: Context,
    plan: Plan,
    *,
    number: int,
    blind: Sequence[Pick],
    result: SelectResult,
) -> None:
    """Write batch, picks, statuses, iteration and audit line in one transaction."""
    at = context.now()
    report: dict[str, Any] = {
        "quotas": dict(result.quotas),
        "shortfalls": [asdict(s) for s in result.shortfalls],
        "notes": list(result.notes),
        "summary": dict(result.summary),
        "mix": dict(plan.mix),
        "embedder": plan.embedder,
        "by_source": dict(result.by_source),
        "blind_golden": len(blind),
    }
    batch = Batch(result.batch, BatchKind.SELECT, True, at, None, result.asked, plan.seed, report)
    tasks = shuffled(plan.selection.picks, blind, seed=plan.seed, number=number)
    with context.store.write() as connection:
        newest = iterations.newest_iteration(connection)
        if (-1 if newest is None else newest.number) != number - 1:
            raise BusyError(
                f"another process has taken batch {result.batch} meanwhile",
                fix="Look at it with `annoloop batch list`.",
            )
        batches.add(connection, batch, number, tasks)
        samples.set_status(
            connection,
            [p.sample_id for p in plan.selection.picks],
            status=Status.SELECTED,
            came_from=OPEN,
        )
        iterations.open_iteration(
            connection,
            number=number,
            batch=result.batch,
            at=at,
            settings=context.settings.model_dump(),
        )
        record = {"batch": result.batch, "size": result.size, **report}
        iterations.add_step(connection, number, "select", at=at, who=context.who, record=record)
        db.record(
            connection,
            at=at,
            who=context.who,
            what="select",
            target=result.batch,
            details={"size": result.size, "seed": plan.seed, "by_source": dict(result.by_source)},
        )

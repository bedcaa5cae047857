"""What becomes of a loop that another tool has run: its statuses and batches in our words.

A batch holds the samples that say so. The newest is open while a sample of it is `selected`; all
others are closed. Nothing is lost in between: what was sent out in a batch that is not open comes
back as `pending`, as it does when a batch is closed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from annoloop.errors import LockedSplitError, NotReadyError
from annoloop.records import BatchKind, Split, Status
from annoloop.records_loop import ForeignLoop, LoopSample

REASON = "picked before annoloop came; adopted as it is"
UNKNOWN = "adopted"
"""The source of a pick that has no tag."""
NEVER_ANSWERED = "sent out before annoloop came, and never answered"
SKIPPED = "skipped before annoloop came"
LATE = (Status.PENDING, NEVER_ANSWERED)
AS_IT_IS = {one: (one, SKIPPED if one is Status.SKIPPED else None) for one in Status}
"""Statuses that stay, and why; one tuple for all samples of a status."""


@dataclass(frozen=True, slots=True)
class Member:
    """One sample of an adopted batch, by external id."""

    external_id: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptedBatch:
    """A batch as it is taken over; `relabel` holds what was answered outside of any batch."""

    kind: BatchKind
    number: int
    open: bool
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Adoption:
    """Status and why by external id; batches, oldest first; the batch that each answer is of.

    `answered` are positions in `batches`. `notes` say what could not be kept as it was.
    """

    statuses: Mapping[str, tuple[Status, str | None]]
    batches: tuple[AdoptedBatch, ...]
    answered: Mapping[str, int]
    notes: tuple[str, ...]


def has_splits(loop: ForeignLoop) -> bool:
    """Whether the splits were made there. Raises NotReadyError if only some of them were."""
    counts = Counter(one.split for one in loop.samples)
    made = {side for side in counts if side is not None}
    if not made:
        return False
    for side, least in ((Split.POOL, 1), (Split.VAL, 2)):
        if counts[side] < least:
            known = ", ".join(f"{s} {counts[s]}" for s in Split if counts[s])
            raise NotReadyError(
                f"dataset {loop.name!r} has splits ({known}), but not {least} samples of {side}",
                fix=f"Tag them `split:{side}`, or remove all `split:…` tags and their saved views: "
                "then annoloop makes the splits.",
            )
    return True


def adopt(loop: ForeignLoop) -> Adoption:
    """Statuses and batches of a data set that has splits.

    Raises LockedSplitError for a sample outside the pool that is in a batch.
    """
    pool = [one for one in loop.samples if one.split in (Split.POOL, None)]
    _refuse_locked(loop.samples)
    numbers = {one.external_id: sorted({*one.batches, *one.answered}) for one in pool}
    newest = max((found[-1] for found in numbers.values() if found), default=None)
    goes_on = any(
        one.status is Status.SELECTED and newest in numbers[one.external_id] for one in pool
    )
    statuses: dict[str, tuple[Status, str | None]] = {}
    for one in loop.samples:
        waits = goes_on and newest in numbers.get(one.external_id, ())
        statuses[one.external_id] = _status(one, waits=waits)
    found = [
        AdoptedBatch(
            BatchKind.SELECT,
            number,
            goes_on and number == newest,
            tuple(_members(pool, numbers, number, goes_on=goes_on and number == newest)),
        )
        for number in sorted({number for some in numbers.values() for number in some})
    ]
    loose = [o for o in pool if o.status is Status.ANNOTATED and not numbers[o.external_id]]
    batches = _with_loose(found, loose)
    return Adoption(
        statuses,
        batches,
        _answered(pool, batches),
        tuple(_notes(loop.samples, statuses, batches, loose)),
    )


def _refuse_locked(everyone: Sequence[LoopSample]) -> None:
    for one in everyone:
        if one.split not in (Split.POOL, None) and one.batches:
            raise LockedSplitError(
                f"{one.file} is in {one.split} and in batch v{one.batches[0]}",
                fix="A sample outside the pool is never selected: remove one of the two tags.",
            )


def _status(one: LoopSample, *, waits: bool) -> tuple[Status, str | None]:
    if one.split not in (Split.POOL, None) and one.status is not Status.SKIPPED:
        return AS_IT_IS[Status.UNLABELED]
    if one.status is Status.SELECTED and not waits:
        return LATE
    return AS_IT_IS[one.status]


def _members(
    pool: Sequence[LoopSample], numbers: Mapping[str, Sequence[int]], number: int, *, goes_on: bool
) -> Iterator[Member]:
    """Who is in a batch; of an open one, not who was put back."""
    for one in pool:
        mine = numbers[one.external_id]
        if number not in mine or (goes_on and one.status is Status.UNLABELED):
            continue
        last = number == mine[-1]
        yield Member(
            one.external_id,
            _source(one.sources, first=number == mine[0], last=last, several=len(mine) > 1),
            one.reason if last and one.reason else REASON,
        )


def _source(sources: Sequence[str], *, first: bool, last: bool, several: bool) -> str:
    """The tags do not say which batch they are of: `pending` is of the last of several."""
    others = [name for name in sources if name != "pending"]
    if several and "pending" in sources and not first:
        return "pending" if last or not others else "+".join(others)
    return "+".join((others if several else None) or sources) or UNKNOWN


def _with_loose(
    found: Sequence[AdoptedBatch], loose: Sequence[LoopSample]
) -> tuple[AdoptedBatch, ...]:
    """A batch of what was answered outside of any: v0 if that is free."""
    if not loose:
        return tuple(found)
    free = all(one.number for one in found)
    kind, number = (BatchKind.SELECT, 0) if free else (BatchKind.RELABEL, 1)
    members = tuple(Member(one.external_id, UNKNOWN, REASON) for one in loose)
    return (AdoptedBatch(kind, number, False, members), *found)


def _answered(pool: Sequence[LoopSample], batches: Sequence[AdoptedBatch]) -> dict[str, int]:
    """The batch of each answer: the newest that says so, else the newest that the sample is in.

    A skipped sample has an answer only in the open batch, which it would come back from as pending.
    """
    numbers = {batch.number: i for i, batch in enumerate(batches) if batch.kind == "select"}
    within: dict[str, int] = {}
    for place, batch in enumerate(batches):
        for member in batch.members:
            within[member.external_id] = place
    made = {}
    for one in pool:
        if one.external_id not in within:
            continue
        place = within[one.external_id]
        if one.status is Status.ANNOTATED:
            made[one.external_id] = numbers[max(one.answered)] if one.answered else place
        elif one.status is Status.SKIPPED and batches[place].open:
            made[one.external_id] = place
    return made


def _notes(
    everyone: Sequence[LoopSample],
    statuses: Mapping[str, tuple[Status, str | None]],
    batches: Sequence[AdoptedBatch],
    loose: Sequence[LoopSample],
) -> Iterator[str]:
    late = sum(why == NEVER_ANSWERED for _, why in statuses.values())
    if late:
        yield (
            f"{late} samples were `selected` outside of the open batch: they are pending, and the "
            "next batch offers them first"
        )
    if loose:
        name = "v0" if batches[0].kind is BatchKind.SELECT else f"relabel-{batches[0].number}"
        yield f"{len(loose)} annotated samples were in no batch: they are batch {name}"
    joined = sum("+" in member.source for batch in batches for member in batch.members)
    if joined:
        yield (
            f"{joined} picks carry several tags `source:…`, which do not say what batch they are "
            "of: they are kept joined by +"
        )
    nowhere = sum(one.split is None for one in everyone)
    if nowhere:
        yield f"{nowhere} samples have no split, though others have: they join the pool"
    dropped = sum(
        one.split not in (Split.POOL, None) and one.status not in (Status.UNLABELED, Status.SKIPPED)
        for one in everyone
    )
    if dropped:
        yield (
            f"{dropped} samples of test, val and golden have an annotation_status: a project keeps "
            "one for the pool alone"
        )
    back = sum(
        batch.open
        for batch in batches
        for one in everyone
        if batch.number in one.batches and one.status is Status.UNLABELED
    )
    if back:
        yield f"{back} samples of the open batch are `unlabeled` again: they are left out of it"
    stale = sum(
        one.waiting and statuses[one.external_id][0] is not Status.SELECTED for one in everyone
    )
    if stale:
        yield f"{stale} samples carry `to_annotate` and are not `selected`: the status counts"
    failed = Counter(kind for one in everyone for kind in one.failures)
    if failed:
        found = ", ".join(f"{kind} {number}" for kind, number in sorted(failed.items()))
        yield (
            f"failures there are whole images ({found}); ours are single boxes of a type, so the "
            "next `annoloop evaluate` finds them anew"
        )

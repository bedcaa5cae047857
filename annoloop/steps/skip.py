"""`annotate skip`, `unskip`: images that people take out of the loop, and bring back."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from annoloop import foreign
from annoloop.errors import InputError, LockedSplitError
from annoloop.records import Annotation, Answer, BatchKind, Sample, Split, Status
from annoloop.results_batches import SkipResult
from annoloop.steps.context import Context, is_missing
from annoloop.store import batches, db, samples

ORIGIN = "skip"
"""Origin of the answer `unusable` that a skip gives in an open batch."""


def skip(
    context: Context, paths: Collection[str] = (), *, why: str, missing: bool = False
) -> SkipResult:
    """Take images out of the loop: nothing is asked, trained or measured on them any more.

    With `missing` every image whose file is gone. What was said about them stays; splits do not
    change. One that waits in an open batch is answered there: `unusable`. Raises InputError for
    an unknown path, and without a reason.
    """
    if not foreign.said(why, "--why").strip():
        raise InputError("a skip needs a reason", fix='Say it: `--why "deleted on request"`.')
    if not paths and not missing:
        raise InputError("no image is named", fix="Name some with `--paths`, or say `--missing`.")
    with context.store.write() as connection:
        everyone = samples.load(connection)
        chosen = _named(everyone, paths)
        if missing:
            known = {s.id for s in chosen}
            chosen += [s for s in everyone if s.id not in known and is_missing(s.uri)]
        chosen = [s for s in chosen if s.status is not Status.SKIPPED]
        waiting = _answer(context, connection, [s for s in chosen if _waits(s)], why)
        gone = {s.id: why for s in chosen if not _waits(s)}
        samples.set_status(
            connection,
            gone,
            status=Status.SKIPPED,
            came_from=(Status.UNLABELED, Status.ANNOTATED, Status.PENDING),
            why=gone,
        )
        _record(context, connection, "annotate skip", chosen, why)
    notes = []
    if waiting:
        notes.append(f"{waiting} of them wait in an open batch: answered there as unusable")
    if not chosen:
        notes.append("nothing changed: no such image, or all are skipped already")
    return SkipResult(tuple(sorted(s.path for s in chosen)), Status.SKIPPED.value, tuple(notes))


def unskip(context: Context, paths: Collection[str]) -> SkipResult:
    """Bring skipped images back: as annotated where there is an answer to train on, else to ask.

    Raises LockedSplitError for a pool image that would leak a locked one.
    """
    with context.store.write() as connection:
        chosen = [s for s in _named(samples.load(connection), paths) if s.status is Status.SKIPPED]
        _refuse_leaks(connection, chosen)
        answered = _answered(connection, chosen)
        for status in (Status.ANNOTATED, Status.UNLABELED):
            ids = [s.id for s in chosen if (s.id in answered) == (status is Status.ANNOTATED)]
            samples.set_status(connection, ids, status=status, came_from=(Status.SKIPPED,))
        _record(context, connection, "annotate unskip", chosen, "")
    notes = (f"{len(answered)} of them are annotated again",) if answered else ()
    return SkipResult(tuple(sorted(s.path for s in chosen)), "back", notes)


def _named(everyone: Sequence[Sample], paths: Collection[str]) -> list[Sample]:
    by_path = {s.path: s for s in everyone}
    unknown = sorted(set(paths) - by_path.keys())
    if unknown:
        raise InputError(
            f"no sample has the path {unknown[0]!r} ({len(unknown)} unknown)",
            fix="Paths are relative to the image folder, as `batch show` prints them.",
        )
    return [by_path[path] for path in sorted(set(paths))]


def _waits(sample: Sample) -> bool:
    return sample.status is Status.SELECTED


def _answer(context: Context, connection: Connection, waiting: Sequence[Sample], why: str) -> int:
    """Answer the open batch of the loop: closing it moves these samples, as any others."""
    if not waiting:
        return 0
    name = next(b.name for b in batches.load_all(connection, BatchKind.SELECT) if b.open)
    given = [
        Annotation(
            sample_id=s.id,
            batch=name,
            annotator=context.who,
            answer=Answer.UNUSABLE,
            why=why,
            origin=ORIGIN,
            at=context.now(),
        )
        for s in waiting
    ]
    batches.add_annotations(connection, given)
    return len(given)


def _answered(connection: Connection, chosen: Sequence[Sample]) -> set[str]:
    """Pool samples whose newest answer in a closed batch of the loop can be trained on."""
    pool = [s.id for s in chosen if s.split is Split.POOL]
    usable = {
        b.name
        for b in batches.load_all(connection)
        if not b.open and b.kind in (BatchKind.SELECT, BatchKind.RELABEL)
    }
    given = batches.load_annotations(connection, ids=pool)
    newest = batches.newest(one for one in given if one.batch in usable)
    return {key for key, one in newest.items() if one.answer in (Answer.COMPLETE, Answer.EMPTY)}


def _refuse_leaks(connection: Connection, chosen: Sequence[Sample]) -> None:
    groups = samples.locked_groups(connection) or {}
    locked = {key for key, _, _ in samples.locked(connection)}
    twins = {
        key
        for pair in samples.load_near_duplicates(connection)
        for key in pair
        if set(pair) & locked
    }
    for sample in chosen:
        if sample.split is Split.POOL and (sample.group in groups or sample.id in twins):
            raise LockedSplitError(
                f"{sample.path} would leak a locked image: {sample.why}",
                fix="Leave it skipped; that is what keeps the measurement honest.",
            )


def _record(
    context: Context, connection: Connection, what: str, chosen: Sequence[Sample], why: str
) -> None:
    if chosen:
        db.record(
            connection,
            at=context.now(),
            who=context.who,
            what=what,
            target="samples",
            details={"why": why, "paths": sorted(s.path for s in chosen)},
        )

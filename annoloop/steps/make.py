"""`batch make`: send a split out to be labelled, or samples out again."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from annoloop.errors import BatchError, InputError, NotReadyError
from annoloop.records import Batch, BatchKind, Pick, Sample, Split, Status
from annoloop.results_batches import BatchMakeResult
from annoloop.steps.context import Context
from annoloop.steps.review import make_review
from annoloop.store import batches, db, samples

SPLIT_KINDS = {
    BatchKind.VAL: Split.VAL,
    BatchKind.GOLDEN: Split.GOLDEN,
    BatchKind.TEST: Split.TEST,
}


def make(
    context: Context,
    kind: BatchKind,
    *,
    size: int | None = None,
    of: str | None = None,
    paths: Collection[str] = (),
) -> BatchMakeResult:
    """Send a split out to be labelled, or samples out again (`review`, `relabel`)."""
    if kind is BatchKind.SELECT:
        raise BatchError(
            "a batch of the loop is chosen, not made", fix="Use `annoloop select` for it."
        )
    if size is not None and size < 1:
        raise InputError(f"a batch of {size} images is no batch", fix="Ask for at least 1.")
    if kind is BatchKind.REVIEW:
        return make_review(context, size=size)
    with context.store.write() as connection:
        open_ones = [b for b in batches.load_all(connection, kind) if b.open]
        if open_ones and kind in SPLIT_KINDS:
            raise BatchError(
                f"batch {open_ones[0].name} is still open",
                fix=f"Close it first: `annoloop annotate close {open_ones[0].name}`.",
            )
        chosen, reason = _chosen(connection, kind, of=of, paths=paths)
        chosen = chosen[:size]
        if not chosen:
            raise NotReadyError(
                f"there is nothing to send out for a {kind} batch",
                fix=_nothing(kind),
            )
        number = batches.next_number(connection, kind)
        name, at = batches.batch_name(kind, number), context.now()
        batch = Batch(name, kind, True, at, None, asked=len(chosen), seed=0, report={})
        picks = [
            (Pick(s.id, str(kind), rank, 0.0, reason), False)
            for rank, s in enumerate(chosen, start=1)
        ]
        batches.add(connection, batch, number, picks)
        db.record(
            connection,
            at=at,
            who=context.who,
            what="batch make",
            target=name,
            details={"size": len(chosen), "kind": str(kind)},
        )
    return BatchMakeResult(name, str(kind), len(chosen))


def _is_unanswered(sample: Sample) -> bool:
    """Such samples come back with a later batch, or were skipped: there is nothing to correct."""
    return sample.split is Split.POOL and sample.status is not Status.ANNOTATED


def _nothing(kind: BatchKind) -> str:
    if kind in SPLIT_KINDS:
        return "Every image of this split has reference labels; correct them with a relabel batch."
    return "Name samples with `--paths`, or a closed batch with `--of`."


def _chosen(
    connection: Connection,
    kind: BatchKind,
    *,
    of: str | None,
    paths: Collection[str],
) -> tuple[list[Sample], str]:
    if kind in SPLIT_KINDS:
        known = samples.newest_references(connection, split=SPLIT_KINDS[kind])
        waiting = samples.load(connection, split=SPLIT_KINDS[kind])
        missing = [s for s in waiting if s.id not in known and s.status is not Status.SKIPPED]
        return missing, f"{kind} image without reference labels"
    if of is not None:
        batches.get(connection, of)
        ids = [pick.sample_id for pick, blind in batches.load_picks(connection, of) if not blind]
        found = [s for s in samples.load(connection, ids=ids) if not _is_unanswered(s)]
        return found, f"labels of batch {of} to be corrected"
    known_paths = samples.ids_by_path(connection)
    unknown = sorted(set(paths) - set(known_paths))
    if unknown:
        raise InputError(
            f"no sample has the path {unknown[0]!r} ({len(unknown)} unknown)",
            fix="Paths are relative to the image folder, as `batch show` prints them.",
        )
    chosen = samples.load(connection, ids=[known_paths[p] for p in paths])
    unlabeled = [s for s in chosen if _is_unanswered(s)]
    if unlabeled:
        raise InputError(
            f"{unlabeled[0].path} is {unlabeled[0].status}: only answered samples are relabelled",
            fix="Let `annoloop select` pick it, or leave it out.",
        )
    return chosen, "labels to be corrected"

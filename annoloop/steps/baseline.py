"""`golden baseline`: a batch of all golden images, for qualification passes."""

from __future__ import annotations

from annoloop.core.control import MIN_PASSES
from annoloop.errors import BatchOpenError, NotReadyError
from annoloop.records import Batch, BatchKind, Pick, Split
from annoloop.results_batches import BatchMakeResult
from annoloop.steps import passes
from annoloop.steps.context import Context
from annoloop.store import batches, db, samples


def baseline(context: Context) -> BatchMakeResult:
    """`golden baseline`: a batch of all golden images, for qualification passes.

    Each annotator who answers it makes one pass; three passes in control are the baseline of the
    permutation test. Blind annotators: nobody is shown the reference.
    """
    with context.store.write() as connection:
        waiting = [b for b in batches.load_all(connection, BatchKind.GOLDEN) if b.open]
        if waiting:
            raise BatchOpenError(
                f"batch {waiting[0].name} is still open",
                fix=f"Answer and close it first: `annoloop annotate close {waiting[0].name}`.",
            )
        known = samples.newest_references(connection, split=Split.GOLDEN)
        if not known:
            raise NotReadyError(
                "no golden image has reference labels yet",
                fix="Label them first: `annoloop batch make --kind golden`.",
            )
        number, at = batches.next_number(connection, BatchKind.GOLDEN), context.now()
        name = batches.batch_name(BatchKind.GOLDEN, number)
        report = {"role": passes.BASELINE}
        batch = Batch(name, BatchKind.GOLDEN, True, at, None, len(known), seed=0, report=report)
        picks = [
            (Pick(key, "golden baseline", rank, 0.0, "qualification pass"), False)
            for rank, key in enumerate(sorted(known), start=1)
        ]
        batches.add(connection, batch, number, picks)
        db.record(
            connection,
            at=at,
            who=context.who,
            what="golden baseline",
            target=name,
            details={"images": len(known)},
        )
    have = len(_passes(context))
    note = f"{have} passes so far; {MIN_PASSES} are needed for the test to decide"
    return BatchMakeResult(name, "golden", len(known), (note,))


def _passes(context: Context) -> list[tuple[str, str, passes.Pass]]:
    with context.store.read() as connection:
        return passes.baseline_passes(connection)

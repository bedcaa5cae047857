"""What joined the pool after the lock: what would leak a locked image is skipped."""

from __future__ import annotations

from annoloop.records import Sample, Split, Status
from annoloop.results import SplitResult
from annoloop.steps.context import Context
from annoloop.steps.leaks import split_result
from annoloop.steps.manifest import check_manifest
from annoloop.steps.twins import Twins, find_twins
from annoloop.store import db, samples


def check_newcomers(context: Context, everything: list[Sample]) -> SplitResult:
    """What joined the pool after the lock: its near-duplicates of locked samples are skipped."""
    looked_at = [s for s in everything if s.status is not Status.SKIPPED]
    twins = find_twins(context, looked_at) if context.settings.split.near_duplicates else Twins()
    by_id = {s.id: s for s in everything}
    leaking: dict[str, str] = {}
    for a, b in twins.all:
        for one, other in ((by_id[a], by_id[b]), (by_id[b], by_id[a])):
            if one.split is Split.POOL and other.split is not Split.POOL:
                leaking[one.id] = f"near-duplicate of {other.path} in {other.split}"
    open_to_skip = {
        key: why for key, why in leaking.items() if by_id[key].status is Status.UNLABELED
    }
    with context.store.write() as connection:
        samples.add_near_duplicates(connection, twins.pairs, binding=True)
        samples.add_near_duplicates(connection, twins.apart, binding=False)
        samples.set_status(
            connection,
            open_to_skip,
            status=Status.SKIPPED,
            came_from=(Status.UNLABELED,),
            why=open_to_skip,
        )
        if open_to_skip:
            db.record(
                connection,
                at=context.now(),
                who=context.who,
                what="skip near-duplicates",
                target="pool",
                details=open_to_skip,
            )
    notes = (
        (f"{len(open_to_skip)} new pool images are skipped: they would leak a locked image",)
        if open_to_skip
        else ()
    )
    return split_result(everything, twins, check_manifest(context), extra=notes)

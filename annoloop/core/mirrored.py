"""What another tool should show of the loop, and whether people changed it there meanwhile.

The state of a sample is one text, `status|tags`. It may be overwritten where it is one that this
project has seen or written; anything else somebody else has set since.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from annoloop.core.adoption import REASON, UNKNOWN
from annoloop.records import Sample, Split, Status
from annoloop.records_loop import Shown

FAILURE = "failure:"
WAITING = "to_annotate"
OUTSIDE = r"(?:val|golden|test|review|relabel)-\d+"
"""Names of batches that are not of the loop."""
STATE = re.compile(
    rf"split:(test|val|golden|pool)|val:(mine|gauge)|(batch|annotated):(v\d+|{OUTSIDE})|source:\S+"
    "|to_annotate"
)
ELSEWHERE = re.compile(rf"(batch|annotated):{OUTSIDE}")
NOTHING = "unlabeled|"


@dataclass(frozen=True, slots=True)
class Picked:
    """One pick of a sample: the number of the batch, and whether there is an answer in it."""

    number: int
    source: str
    reason: str
    answered: bool
    open: bool


def loop_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Those of the loop, sorted."""
    return tuple(sorted(tag for tag in tags if STATE.fullmatch(tag) or tag.startswith(FAILURE)))


def show(
    sample: Sample,
    picked: Sequence[Picked],
    *,
    failures: Collection[str] | None,
    shown: Shown,
    score: float | None,
    outside: Collection[str] = (),
) -> Shown:
    """What a sample should show; `picked` is oldest first, `outside` are its tags of batches that
    are not of the loop: nobody leaves such a batch, so that those shown stay.

    `failures` are its kinds by the newest evaluation; None where there was none, so that those
    shown stay. So do a reason and a score that the project has no own for.
    """
    tags = {f"split:{sample.split}"} if sample.split else set()
    tags |= {f"val:{sample.half}"} if sample.half else set()
    tags |= {*outside, *(tag for tag in shown.tags if ELSEWHERE.fullmatch(tag))}
    for one in picked:
        tags.add(f"batch:v{one.number}")
        tags |= {f"source:{name}" for name in one.source.split("+") if name != UNKNOWN}
        if one.answered and sample.status is Status.ANNOTATED:
            tags.add(f"annotated:v{one.number}")
        if one.open and not one.answered and sample.status is Status.SELECTED:
            tags.add(WAITING)
    kept = {tag for tag in shown.tags if tag.startswith(FAILURE)}
    tags |= kept if failures is None else {FAILURE + kind for kind in failures}
    reasons = [one.reason for one in picked if one.reason != REASON]
    return Shown(
        status=str(sample.status) if sample.split is Split.POOL else shown.status,
        tags=tuple(sorted(tags)),
        reason=reasons[-1] if reasons else shown.reason,
        score=shown.score if score is None else score,
    )


def state(shown: Shown) -> str:
    """What is remembered of a sample: its status, and its tags but those of failures."""
    tags = " ".join(sorted(tag for tag in shown.tags if STATE.fullmatch(tag)))
    return f"{shown.status or 'unlabeled'}|{tags}"


def may_write(there: Shown, wanted: Shown, seen: Sequence[str]) -> bool:
    """Whether nobody but this project has changed the sample's state there.

    Of several states that were seen a push was on its way from one to another when it was killed:
    then anything between them is ours.
    """
    now = state(there)
    if now == state(wanted):
        return True
    status, tags = _parts(now)
    known = [_parts(one) for one in seen or (NOTHING,)]
    least = frozenset.intersection(*(tags for _, tags in known))
    most = frozenset.union(*(tags for _, tags in known))
    return least <= tags <= most and status in {status for status, _ in known}


def _parts(state: str) -> tuple[str, frozenset[str]]:
    status, _, tags = state.partition("|")
    return status, frozenset(tags.split())


def further(there: Shown, wanted: Shown, picked: Sequence[Picked]) -> bool:
    """Whether people have answered there what waits here, in the open batch."""
    waits = wanted.status == Status.SELECTED and any(one.open for one in picked)
    return waits and there.status in (Status.ANNOTATED, Status.SKIPPED, Status.PENDING)

"""What became of the failures since another model: fixed, new, still there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from annoloop.core.matching import iou_matrix
from annoloop.records import Failure

SAME_PLACE = 0.1
"""IoU from which two failures are about one object: TIDE's, from which a box is no background."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Failures of the earlier model that are gone, of the newer that came, and pairs that stayed.

    `still` are pairs (earlier, newer), which may differ in type: a missed box that is now found
    but badly placed is still a failure. `unseen` are newer failures on images that the earlier
    model was not measured on.
    """

    fixed: tuple[Failure, ...]
    new: tuple[Failure, ...]
    still: tuple[tuple[Failure, Failure], ...]
    unseen: tuple[Failure, ...]


def changes(
    before: Iterable[Failure],
    after: Iterable[Failure],
    *,
    measured_before: AbstractSet[str],
    measured_after: AbstractSet[str],
) -> Changes:
    """Pair the failures of two models, image by image; `measured_…` are the ids of all images.

    Two failures are one if they are about the same class (the truth's, where there is one, else
    the detection's) and overlap with IoU 0.1 or more; the same type goes first, then the larger
    IoU, each failure once. Failures of images that are no longer measured are left out.
    """
    earlier, later = _by_image(before), _by_image(after)
    fixed: list[Failure] = []
    new: list[Failure] = []
    still: list[tuple[Failure, Failure]] = []
    unseen: list[Failure] = []
    for image in sorted(earlier.keys() | later.keys()):
        old, now = earlier.get(image, []), later.get(image, [])
        if image not in measured_before:
            unseen += now
            continue
        if image not in measured_after:
            continue
        pairs = _pairs(old, now)
        still += [(old[i], now[j]) for i, j in pairs]
        gone, stayed = {i for i, _ in pairs}, {j for _, j in pairs}
        fixed += [one for i, one in enumerate(old) if i not in gone]
        new += [one for j, one in enumerate(now) if j not in stayed]
    return Changes(tuple(fixed), tuple(new), tuple(still), tuple(unseen))


def _by_image(failures: Iterable[Failure]) -> dict[str, list[Failure]]:
    found: dict[str, list[Failure]] = {}
    for one in failures:
        found.setdefault(one.sample_id, []).append(one)
    return found


def _pairs(old: Sequence[Failure], now: Sequence[Failure]) -> list[tuple[int, int]]:
    """Positions that belong together, in the order of `old`."""
    if not old or not now:
        return []
    overlap = iou_matrix([f.box for f in old], [f.box for f in now])
    about = np.array([_subject(f) for f in old])[:, None] == np.array([_subject(f) for f in now])
    alike = np.array([f.type for f in old])[:, None] == np.array([f.type for f in now])
    rows, columns = np.nonzero(about & (overlap >= SAME_PLACE))
    order = np.lexsort((columns, rows, -overlap[rows, columns], ~alike[rows, columns]))
    taken: set[int] = set()
    pairs: dict[int, int] = {}
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return sorted(pairs.items())


def _subject(failure: Failure) -> int:
    """The class of the object that the failure is about; a background has none but its own."""
    background = failure.type == "background" or failure.truth_class_id is None
    return failure.class_id if background else int(failure.truth_class_id or 0)

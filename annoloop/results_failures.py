"""What `failures` returns: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from annoloop.records import Failure


@dataclass(frozen=True, slots=True)
class FailureView:
    """One failure, in words, with its image."""

    path: str
    text: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class WorstImage:
    """One image of mine: right, wrong and missed boxes at the operating point.

    `share` of its boxes went wrong, and of such images at least `at_least` would (Wilson's bound).
    """

    path: str
    sample_id: str
    tp: int
    fp: int
    fn: int
    share: float
    at_least: float


@dataclass(frozen=True, slots=True)
class GroupView:
    """Failures of one class and type that look alike; `cluster` of `clusters` of that kind.

    `text` is the failure in words, `price` the AP50 to be gained, `examples` its dearest ones.
    """

    text: str
    type: str
    class_name: str
    cluster: int
    clusters: int
    failures: int
    images: int
    price: float
    examples: tuple[FailureView, ...]


@dataclass(frozen=True, slots=True)
class ChangesView:
    """What became of the failures of the iteration `since`; `still` may have changed its type.

    `unseen` are failures on images that were not measured then. `by_type` has fixed, new and still
    of each type (by the newer type, fixed ones by the older).
    """

    since: str
    fixed: int
    new: int
    still: int
    changed_type: int
    unseen: int
    by_type: Mapping[str, Mapping[str, int]]
    fixed_failures: tuple[FailureView, ...]
    new_failures: tuple[FailureView, ...]


@dataclass(frozen=True, slots=True)
class FailureHistory:
    """Failures of each iteration that was evaluated, oldest first."""

    iteration: str
    images: int
    by_type: Mapping[str, int]
    by_class: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FailuresResult:
    """The failures of the newest evaluation, dearest first, and how to look at them.

    `prices` is the AP50 that repairing all failures of a type would gain. `high_fn` and `high_fp`
    are the ten images with most misses and most false alarms; `worst` ranks by the share that went
    wrong, so that crowded images do not lead it. `groups` are class × type × cluster.
    """

    model: str
    iteration: str
    min_score: float
    images: int
    by_type: Mapping[str, int]
    by_class: Mapping[str, int]
    prices: Mapping[str, float]
    high_fn: tuple[str, ...]
    high_fp: tuple[str, ...]
    worst: tuple[WorstImage, ...]
    groups: tuple[GroupView, ...]
    changes: ChangesView | None
    history: tuple[FailureHistory, ...]
    failures: tuple[FailureView, ...]
    notes: tuple[str, ...] = ()

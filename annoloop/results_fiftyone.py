"""What the step on a FiftyOne dataset returns: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annoloop.records import Problem, Shortfall


@dataclass(frozen=True, slots=True)
class FiftyonePick:
    """One sample of the batch, by FiftyOne's id, and why it was picked."""

    id: str
    filepath: str
    source: str
    rank: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class PoolProgress:
    """The pool by `annotation_status`, as numbers of samples and in percent of `total`."""

    total: int
    annotated: int
    selected: int
    pending: int
    skipped: int
    unlabeled: int
    percent: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class IterationResult:
    """`golden` is the entry of `golden_qa_history`; `view` the saved view of the batch."""

    dataset: str
    batch: str
    view: str
    dry_run: bool
    asked: int
    size: int
    by_source: Mapping[str, int]
    quotas: Mapping[str, int]
    shortfalls: tuple[Shortfall, ...]
    seed: int
    golden: Mapping[str, Any]
    progress: PoolProgress
    picks: tuple[FiftyonePick, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """A batch, its samples, and those that still carry `to_annotate`."""

    batch: str
    size: int
    waiting: int


@dataclass(frozen=True, slots=True)
class ProgressResult:
    """`golden` are the entries of `golden_qa_history`, oldest first."""

    dataset: str
    pool: PoolProgress
    batches: tuple[BatchProgress, ...]
    golden: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What was pushed to a dataset, as numbers of samples, and what was left as people set it.

    `to_ingest` samples of the open batch are answered there, and not here yet.
    """

    dataset: str
    changed: Mapping[str, int]
    views: tuple[str, ...]
    info: tuple[str, ...]
    conflicts: tuple[Problem, ...]
    to_ingest: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PluginResult:
    """Where the plugin lies."""

    folder: str

"""What the verbs about batches and answers return: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annoloop.records import Problem, Shortfall


@dataclass(frozen=True, slots=True)
class PickView:
    path: str
    sample_id: str
    source: str
    rank: int
    score: float
    reason: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SelectResult:
    batch: str
    dry_run: bool
    asked: int
    size: int
    by_source: Mapping[str, int]
    quotas: Mapping[str, int]
    shortfalls: tuple[Shortfall, ...]
    blind_golden: int
    seed: int
    picks: tuple[PickView, ...]
    notes: tuple[str, ...]
    summary: Mapping[str, Any] = field(default_factory=dict)
    """How the batch differs from the pool; docs/selection.md says what each number is."""
    embedder: str = ""
    """The vectors that it was chosen by; those of a model hold its hash."""


@dataclass(frozen=True, slots=True)
class BatchSummary:
    name: str
    kind: str
    open: bool
    size: int
    by_source: Mapping[str, int]
    answered: int
    created_at: str
    closed_at: str | None


@dataclass(frozen=True, slots=True)
class BatchListResult:
    batches: tuple[BatchSummary, ...]


@dataclass(frozen=True, slots=True)
class BatchShowResult:
    batch: BatchSummary
    asked: int
    seed: int
    quotas: Mapping[str, int]
    shortfalls: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    picks: tuple[PickView, ...]
    annotators: tuple[str, ...] = ()
    """Who answered, by name."""
    embedder: str | None = None
    """The vectors that it was chosen by, where it was chosen by any."""


@dataclass(frozen=True, slots=True)
class BatchMakeResult:
    batch: str
    kind: str
    size: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportResult:
    batch: str
    format: str
    out: str
    images: int
    boxes: int
    prelabels: bool
    without_prelabels: int = 0
    """Images that stay blank, so that what the boxes do can be measured."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Every image of the batch is in exactly one of answered, earlier, or missing."""

    batch: str
    annotator: str
    images: int
    complete: int
    empty: int
    unsure: int
    unusable: int
    boxes: int
    new_answers: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CloseResult:
    batch: str
    annotated: int
    empty: int
    pending: int
    skipped: int
    boxes: int
    golden: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    review: Mapping[str, Any] | None = None
    """What two blind answers made of the failures, where the batch was a review of them."""


@dataclass(frozen=True, slots=True)
class RequeueResult:
    requeued: int


@dataclass(frozen=True, slots=True)
class SkipResult:
    """Images that left the loop, or came back; those that had already are not among them."""

    paths: tuple[str, ...]
    status: str
    notes: tuple[str, ...] = ()

"""What each verb answers: frozen records whose fields are the keys of `--json`.

Batches and answers, golden checks, and models stand in modules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annoloop.records import Problem
from annoloop.results_batches import BatchSummary


@dataclass(frozen=True, slots=True)
class IngestResult:
    images_added: int
    images_known: int
    images_labeled: int
    boxes: int
    classes: tuple[str, ...]
    refused: tuple[Problem, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leak:
    """Two near-identical images on two sides of a lock."""

    first: str
    first_split: str
    second: str
    second_split: str
    why: str


@dataclass(frozen=True, slots=True)
class SplitResult:
    counts: Mapping[str, int]
    halves: Mapping[str, int]
    groups: int
    near_duplicates: int
    leaks: tuple[Leak, ...]
    digest: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmbedResult:
    embedder: str
    width: int
    embedded: int
    already: int
    seconds: float
    images_per_second: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScoreResult:
    strategy: str
    embedder: str
    candidates: int
    occupied: int
    draws: int
    seed: int
    at: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PoolProgress:
    """The progress summary; percentages are of the pool."""

    total: int
    annotated: int
    selected: int
    unlabeled: int
    pending: int
    skipped: int
    annotated_percent: float
    selected_percent: float
    unlabeled_percent: float


@dataclass(frozen=True, slots=True)
class IterationRow:
    """One line of the table of iterations."""

    name: str
    images: int
    boxes: int
    batch: Mapping[str, int]
    metric: float | None
    ap: float | None
    ap_val: float | None
    failures: Mapping[str, int]
    golden: str | None
    verdict: str | None
    reason: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class StatusResult:
    project: str
    samples: int
    splits: Mapping[str, int]
    pool: PoolProgress
    classes: tuple[str, ...]
    batches: tuple[BatchSummary, ...]
    iterations: tuple[IterationRow, ...]
    metric: str
    target: float | None
    open_batch: str | None
    next_step: str
    golden: str | None
    golden_reason: str | None
    verdict: str | None
    test_opened: int
    decided: Mapping[str, Any] | None = None
    """The numbers of the newest verdict: forecast, look at the target, review, what is spent."""


@dataclass(frozen=True, slots=True)
class RunResult:
    iterations: int
    stopped_because: str
    golden_failed: bool
    verdict: str | None
    open_batch: str | None
    next_step: str
    metric: str
    rows: tuple[IterationRow, ...]


@dataclass(frozen=True, slots=True)
class ReportResult:
    out: str
    bytes: int


@dataclass(frozen=True, slots=True)
class DemoResult:
    project: str
    report: str
    seconds: float
    rows: tuple[IterationRow, ...]
    open_batch: str | None


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    found: str
    fix: str | None = None


@dataclass(frozen=True, slots=True)
class DoctorResult:
    version: str
    checks: tuple[Check, ...]
    adapters: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class InitResult:
    project: str
    ingest: IngestResult
    notes: tuple[str, ...] = field(default=())
    split: bool = False
    """Whether the splits are made already: a dataset may bring its own."""

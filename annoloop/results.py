"""What each verb answers: frozen records whose fields are the keys of `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annoloop.records import Box, Failure, Problem, Shortfall


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
    summary: Mapping[str, float] = field(default_factory=dict)
    """How the batch differs from the pool; docs/selection.md says what each number is."""


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


@dataclass(frozen=True, slots=True)
class RequeueResult:
    requeued: int


@dataclass(frozen=True, slots=True)
class GoldenStatsResult:
    """`history` has one entry an iteration, oldest first."""

    current: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class GoldenPlanResult:
    golden: int
    with_reference: int
    share: float
    next_batch: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoldenCheckResult:
    iteration: str
    verdict: str
    reason: str
    accepted: str | None
    numbers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TrainResult:
    model: str
    trainer: str
    folder: str
    images: int
    empty_images: int
    boxes: int
    boxes_by_class: Mapping[str, int]
    seed: int
    seconds: float
    details: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PredictResult:
    model: str
    images: int
    detections: int
    seconds: float


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """`gauge` decides, `val` is all of val, failures come from `mine`; `test` only if opened."""

    model: str
    split: str
    min_score: float
    gauge: Mapping[str, Any] | None
    val: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    test_opened: int
    failures: Mapping[str, int]
    unseen_classes: tuple[str, ...]
    without_reference: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageView:
    """Where an image lies, the boxes that people drew, and those of the newest model."""

    path: str
    uri: str
    labels: tuple[Box, ...]
    predicted: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class GoldenConflict:
    """One golden image: reference boxes as `labels`, the blind answer's as `predicted`."""

    iteration: str
    image: ImageView
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FailureView:
    path: str
    text: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class FailuresResult:
    model: str
    images: int
    by_type: Mapping[str, int]
    by_class: Mapping[str, int]
    high_fn: tuple[str, ...]
    high_fp: tuple[str, ...]
    failures: tuple[FailureView, ...]


@dataclass(frozen=True, slots=True)
class DecideResult:
    iteration: str
    verdict: str
    reason: str
    numbers: Mapping[str, Any]


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
class MetricsResult:
    summary: Mapping[str, float | None]
    per_class: Mapping[str, float | None]
    images: int
    boxes: int
    detections: int


@dataclass(frozen=True, slots=True)
class InitResult:
    project: str
    ingest: IngestResult
    notes: tuple[str, ...] = field(default=())

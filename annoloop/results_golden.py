"""What the golden verbs answer; the fields are the keys of `--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annoloop.results_models import ImageView


@dataclass(frozen=True, slots=True)
class GoldenFilesResult:
    """`errors` by type: missed, spurious, class, location, each with count, rate, interval,
    p_value, alpha. docs/golden.md explains every key."""

    verdict: str
    reason: str
    action: str
    advice: str
    look: int
    looks: int | None
    images_compared: int
    tested: int
    boxes: int
    passes: int
    errors: Mapping[str, Mapping[str, Any]]
    features: tuple[Mapping[str, Any], ...]
    agreement: Mapping[str, Any]
    changed: tuple[str, ...]
    images: tuple[Mapping[str, Any], ...]
    cusum: Mapping[str, Mapping[str, Any]]
    annotators: tuple[Mapping[str, Any], ...]
    disputes: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GoldenPowerResult:
    """`power` of one look and `false_alarm` over all looks, each with its standard error."""

    images: int
    boxes: float
    passes: int
    usual: float
    to: float
    looks: int
    power: float
    power_se: float
    false_alarm: float
    false_alarm_se: float
    level: float
    at_least: int
    repetitions: int


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
class PrelabelledBatch:
    """A closed batch that was given the boxes of `model`, and the answers that count."""

    batch: str
    model: str
    given: int
    blank: int
    answered_given: int
    answered_blank: int


@dataclass(frozen=True, slots=True)
class GoldenPrelabelsResult:
    """`measures`: each with `given`, `blank`, `difference`, `interval`, `p_value` and images a
    side; docs/golden.md explains every key. `verdict`: `bias`, `none seen` or `too few`."""

    verdict: str
    reason: str
    images_given: int
    images_blank: int
    alarming: tuple[str, ...]
    level: float
    measures: Mapping[str, Mapping[str, Any]]
    batches: tuple[PrelabelledBatch, ...]


@dataclass(frozen=True, slots=True)
class GoldenConflict:
    """One golden image: reference boxes as `labels`, the blind answer's as `predicted`."""

    iteration: str
    image: ImageView
    counts: Mapping[str, int]

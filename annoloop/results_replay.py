"""What replay returns: the JSON keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplayCost:
    """What a replay would cost: answered by `--dry-run`, and told before a run.

    `seconds` is for all workers together; None where nothing has been timed yet.
    """

    name: str
    arms: tuple[str, ...]
    seeds: int
    runs: int
    runs_done: int
    iterations: int
    iterations_done: int
    trainings: int
    oracle_images: int
    workers: int
    seconds: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Mean over seeds at one cost, with a 95 % band from which what all arms share is taken out."""

    at: float
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm against another in one outcome: differences over `seeds` paired seeds.

    `p` is of the exact sign-flip test, `p_adjusted` Holm's over the arms compared (primary outcome
    only). `least_p` is the smallest p (adjusted, where there is one) that so many seeds can give,
    `fewest_seeds` how many could reach 0.05. `seeds_for_one_point` would find a difference of 0.01
    with power 0.8.
    """

    outcome: str
    arm: str
    against: str
    seeds: int
    mean: float
    low: float | None
    high: float | None
    p: float
    p_adjusted: float | None
    least_p: float
    fewest_seeds: int
    seeds_for_one_point: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """Labels until a level was reached: medians over seeds, None where half of them never did."""

    level: str
    reached: int
    seeds: int
    images: float | None
    boxes: float | None
    minutes: float | None
    saved: float | None
    """Median share of the baseline's images that this arm did not need."""


@dataclass(frozen=True, slots=True)
class ArmAnswer:
    """One arm over its complete seeds. `targeted_held` and `targeted_chance` are shares."""

    name: str
    mix: Mapping[str, float]
    batch: int
    seeds: int
    area: float
    final: float
    test: float | None
    rare_area: float | None
    rare_final: float | None
    images: float
    boxes: float
    curves: Mapping[str, tuple[CurvePoint, ...]]
    reach: tuple[Reach, ...]
    targeted_held: float | None
    targeted_chance: float | None
    verdict: str
    better: bool | None
    """True: better than the baseline beyond chance; False: worse; None: not distinguishable."""


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """The same batches trained again with another seed: what a difference is read against.

    Standard deviations of one training: of the metric at the end, and of the area under the curve.
    `gap` is the mean absolute difference of two areas of the same batches.
    """

    pairs: int
    seeds: int
    final_sd: float
    area_sd: float
    gap: float


@dataclass(frozen=True, slots=True)
class FailedRun:
    arm: str
    seed: int
    why: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to put into annoloop.toml for data like this, and how sure that is."""

    arm: str
    sure: bool
    reason: str
    toml: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """All answers of a replay; `headline` is the whole in one sentence."""

    name: str
    metric: str
    baseline: str
    seeds: tuple[int, ...]
    budget: str
    headline: str
    arms: tuple[ArmAnswer, ...]
    comparisons: tuple[Comparison, ...]
    noise: NoiseFloor | None
    full_metric: float | None
    rare: tuple[str, ...]
    recommendation: Recommendation
    failed: tuple[FailedRun, ...]
    seconds: float
    files: Mapping[str, str]
    notes: tuple[str, ...] = ()

"""What a golden check answers, as frozen records whose fields are the keys of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from annoloop.core.agreement_scores import AgreementReport
from annoloop.core.annotators import AnnotatorRate
from annoloop.core.cusum import Cusum
from annoloop.core.disputes import Dispute
from annoloop.core.drift import FeatureChange
from annoloop.core.intervals import Interval
from annoloop.records import GoldenVerdict


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One error type of the new pass. `rate` is per reference box, with its 95 % interval.

    `p_value` is exact, None where nothing may be tested; the type fails when it is at most `alpha`.
    `usual` is the rate of the earlier passes. `smallest_p` is the least p-value that any order of
    the same counts could give, `alarm_rate` the least rate of such an order that would have failed
    (None: none would), `changed_images` how many images bear on it.
    """

    count: int
    rate: float | None
    interval: Interval | None
    p_value: float | None
    alpha: float
    usual: float | None
    smallest_p: float | None
    changed_images: int
    failed: bool
    alarm_rate: float | None = None


@dataclass(frozen=True, slots=True)
class ImageErrors:
    """One image on which the new pass did worse than the earlier ones did on average."""

    image: str
    missed: int
    spurious: int
    confused: int
    misplaced: int
    usual: float


@dataclass(frozen=True, slots=True)
class GoldenReport:
    """A verdict that people can act on.

    `changed` says in sentences what changed and by how much, `images` where, worst first, `action`
    what to do: proceed, label more, retrain people, fix the guideline, adjudicate the reference.
    `tested` of `images_compared` images have enough earlier passes (`passes` at least). Without
    such images only a tolerance is checked and no error type has a p-value.
    """

    verdict: GoldenVerdict
    reason: str
    action: str
    advice: str
    look: int
    looks: int | None
    images_compared: int
    tested: int
    boxes: int
    passes: int
    errors: Mapping[str, ErrorReport]
    features: tuple[FeatureChange, ...]
    agreement: AgreementReport
    changed: tuple[str, ...]
    images: tuple[ImageErrors, ...]
    cusum: Mapping[str, Cusum]
    annotators: tuple[AnnotatorRate, ...]
    disputes: tuple[Dispute, ...]
    notes: tuple[str, ...]

"""Did the labels change in any way, even where no box became an error? Many features, one test.

The same images labelled again are compared with themselves: within an image all passes are
exchangeable if nothing changed, so which of them is "new" is drawn at random, for all features at
once. The largest statistic of each draw gives p-values that hold for all features together
(Westfall & Young 1993, single-step max-T). Treating the boxes as two independent samples instead
has no power at all on the same images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from annoloop.core.agreement import Answers
from annoloop.core.intervals import Interval, Resample
from annoloop.core.matching import boxes_of
from annoloop.records import Label

DRAWS = 8_000
"""20 looks at 5 %: enough that each look's level can be resolved."""

BLOCK = 1_000
FEW_BOXES = 5
Floats = NDArray[np.float64]


class Kind(StrEnum):
    """What a feature measures; the unit of its effect."""

    COUNT = "boxes per 100 images"
    EMPTY = "share of images"
    LOG_AREA = "mean log area ratio"
    LOG_AREA_SD = "spread of log area"
    LOG_ASPECT = "mean log aspect ratio"


MINIMUMS = {
    Kind.COUNT: 0.05,
    Kind.EMPTY: 0.02,
    Kind.LOG_AREA: 0.05,
    Kind.LOG_AREA_SD: 0.05,
    Kind.LOG_ASPECT: 0.05,
}
"""Smaller changes do not matter in practice: 5 % of the boxes, 2 points of empty images, 5 % of a
side, 0.05 of spread, 5 % of the aspect."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """`values` (passes, images, features), newest pass last.

    NaN where a pass did not have the image (all features), or the feature is not defined there
    (no box has no mean area).
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    values: Floats


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """`effect` is new minus earlier in `unit` with its 95 % `interval`.

    `ratio` is the size in terms of what was usual: new boxes over earlier ones (None under 5
    earlier boxes), the ratio of sides for areas, of aspects for aspects. `matters` is False where
    the whole interval is below the practical minimum.
    """

    name: str
    unit: str
    p_adjusted: float
    effect: float
    interval: Interval
    ratio: float | None
    matters: bool


def features(
    passes: Sequence[Answers], images: Sequence[str], *, classes: Sequence[str]
) -> Features:
    """Counts by class, all boxes, empty images, sizes and aspects of each pass on `images`.

    Classes that occur in no pass are left out, and so are ignored labels.
    """
    kept = [
        [[label for label in p[sample] if not label.ignored] if sample in p else None
         for sample in images]
        for p in passes
    ]  # fmt: skip
    used = sorted({x.class_id for p in kept for labels in p for x in labels or ()})
    column = {class_id: position for position, class_id in enumerate(used)}
    values = np.full((len(passes), len(images), len(used) + 5), np.nan)
    for row, one in enumerate(kept):
        for position, labels in enumerate(one):
            if labels is not None:
                values[row, position] = _describe(labels, column)
    names = [f"count of {classes[class_id]}" for class_id in used]
    names += ["boxes", "empty images", "box area", "spread of box area", "aspect"]
    kinds = [Kind.COUNT] * (len(used) + 1)
    kinds += [Kind.EMPTY, Kind.LOG_AREA, Kind.LOG_AREA_SD, Kind.LOG_ASPECT]
    return Features(tuple(names), tuple(kinds), values)


def max_t(
    found: Features, *, resample: Resample, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[FeatureChange, ...]:
    """All features of the newest pass against the earlier ones, in the order given.

    `resample` must be drawn for as many images as there are. Images that lack the newest pass or
    every earlier one take no part. A feature that is undefined for one pass of an image leaves
    that image out, for all passes alike, so that they stay exchangeable.
    """
    known = np.logical_not(np.isnan(found.values).all(axis=2))
    present: NDArray[np.bool_] = known & known[-1] & (known.sum(axis=0) > 1)
    differences, defined = _differences(found.values, present)
    observed = _statistic(differences[-1].sum(axis=0), (differences[-1] ** 2).sum(axis=0))
    reached = np.zeros(len(found.names))
    for start, stop in pairwise([*range(0, draws, BLOCK), draws]):
        highest = _drawn_maxima(differences, present, count=stop - start, rng=rng)
        # Rounding must not break ties between a draw and its mirror image.
        reached += (highest[:, None] >= observed[None] - 1e-9).sum(axis=0)
    adjusted = (1.0 + reached) / (draws + 1.0)
    return tuple(
        _change(
            found,
            j,
            difference=differences[-1, :, j],
            defined=defined[:, j],
            p_adjusted=p,
            resample=resample,
        )
        for j, p in enumerate(adjusted.tolist())
    )


def _describe(labels: Sequence[Label], column: dict[int, int]) -> Floats:
    row = np.full(len(column) + 5, np.nan)
    row[: len(column)] = 0.0
    for label in labels:
        row[column[label.class_id]] += 1.0
    row[len(column)], row[len(column) + 1] = len(labels), not labels
    boxes = boxes_of(labels)
    if labels:
        areas = np.log(boxes[:, 2] * boxes[:, 3])
        row[-3] = areas.mean()
        row[-2] = areas.std() if len(labels) > 1 else np.nan
        row[-1] = np.log(boxes[:, 2] / boxes[:, 3]).mean()
    return row


def _differences(values: Floats, present: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """(passes, images, features): each pass minus the mean of the others, were it the new one.

    Also where that is defined (images, features); elsewhere it is 0.
    """
    counted = present[:, :, None]
    undefined = np.any(np.isnan(values) & counted, axis=0)
    filled = np.where(counted, np.nan_to_num(values), 0.0)
    passes = np.maximum(present.sum(axis=0), 2)[None, :, None]
    mean = filled.sum(axis=0) / passes[0]
    made = (filled - mean) * passes / (passes - 1.0)
    defined = np.logical_not(undefined) & np.any(present, axis=0, keepdims=True).T
    return np.where(counted & defined[None], made, 0.0), defined


def _statistic(sums: Floats, squares: Floats) -> Floats:
    return np.divide(np.abs(sums), np.sqrt(squares), out=np.zeros_like(sums), where=squares > 1e-18)


def _drawn_maxima(
    differences: Floats, present: NDArray[np.bool_], *, count: int, rng: np.random.Generator
) -> Floats:
    """(count,) the largest statistic when the new pass of each image is drawn at random."""
    usable = present.any(axis=0)
    options = np.maximum(present.sum(axis=0), 1)
    rank = np.where(present, np.cumsum(present, axis=0) - 1, -1)
    drawn = rng.integers(0, options, size=(count, len(options)))
    moving = np.abs(differences).max(axis=(0, 1)) > 0
    sums = np.zeros((count, int(moving.sum())))
    squares = np.zeros_like(sums)
    for row in range(len(differences)):
        chosen = ((drawn == rank[row]) & usable).astype(np.float64)
        sums += chosen @ differences[row][:, moving]
        squares += chosen @ differences[row][:, moving] ** 2
    return np.asarray(_statistic(sums, squares).max(axis=1, initial=0.0))


def _change(
    found: Features,
    j: int,
    *,
    difference: Floats,
    defined: NDArray[np.bool_],
    p_adjusted: float,
    resample: Resample,
) -> FeatureChange:
    kind = found.kinds[j]
    low, high = resample.mean(difference, defined)
    effect = float(difference[defined].mean()) if defined.any() else 0.0
    ratio: float | None = None
    sizes = (low, high)
    if kind is Kind.COUNT:
        usual = float((found.values[-1, defined, j] - difference[defined]).sum())
        ratio = 1.0 + float(difference.sum()) / usual if usual >= FEW_BOXES else None
        per_image = max(usual, FEW_BOXES) / max(int(defined.sum()), 1)
        sizes = (low / per_image, high / per_image)
    elif kind in (Kind.LOG_AREA, Kind.LOG_ASPECT):
        power = 0.5 if kind is Kind.LOG_AREA else 1.0
        ratio = float(np.exp(power * effect))
        sizes = (float(np.expm1(power * low)), float(np.expm1(power * high)))
    scale = 100.0 if kind is Kind.COUNT else 1.0
    return FeatureChange(
        name=found.names[j],
        unit=str(kind),
        p_adjusted=p_adjusted,
        effect=scale * effect,
        interval=(scale * low, scale * high),
        ratio=ratio,
        # An estimate of a true 5 % is below 5 % half of the time, so its interval decides.
        matters=bool(max(abs(sizes[0]), abs(sizes[1])) >= MINIMUMS[kind]),
    )

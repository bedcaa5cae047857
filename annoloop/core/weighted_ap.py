"""COCO's AP for images that weigh differently, and its uncertainty by resampling images.

Matching never crosses images, so it is done once (`prepare`); any number of weight vectors then
cost one pass over the detections each. A weight of 2 is the image twice, 0 is the image left out:
a bootstrap sample of the images is a vector of weights.

    table = prepare(truth, detections, classes=classes)
    average_precision(table).overall("AP50")                   # (1,) hotcoco's number
    draws = Resample.draw(len(table.images), rng, groups=scenes).weights
    halves = split_in_halves(len(table.images), rng, groups=scenes)
    bootstrap(table, draws, halves=halves, metric="AP50").lower(0.005)  # bias-corrected bound
    compare(table, other, draws, metric="AP50").interval()     # paired: the same draws for both

Interpolated AP flatters small sets: it takes the best precision at or beyond each recall, so that
good luck counts and bad luck does not. The excess falls with the root of the images. Half the
images have more of it than all, and the difference tells how much all of them have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from annoloop.core.box_columns import CLASS, IMAGE, MAX_DETECTIONS, Columns, columns
from annoloop.core.matching import Detections, Truth
from annoloop.errors import InputError

Floats = NDArray[np.float64]
Metric = Literal["AP", "AP50", "AP75"]


LEVELS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
OF_METRIC: dict[Metric, slice] = {"AP": slice(0, 10), "AP50": slice(0, 1), "AP75": slice(5, 6)}
"""The IoU thresholds (positions in LEVELS) over which each metric is the mean."""


@dataclass(frozen=True, slots=True, eq=False)
class ApTable:
    """Images and their detections after matching, ready for any weights.

    `positives` (i, k) counts the boxes to be found of each image (ids ascending) and class.
    Detections stand by class, then falling score, then image: class k owns rows `first[k]` to
    `first[k + 1]`; `row` (n,) in the columns they came from, `image` (n,), `scores` (n,), and
    `what` (10, n) at each IoU threshold: 0 wrong, 1 right, 2 ignored.
    """

    images: tuple[Any, ...]
    classes: tuple[str, ...]
    positives: Floats
    first: NDArray[np.int64]
    row: NDArray[np.int64]
    image: NDArray[np.int64]
    scores: Floats
    what: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class WeightedAp:
    """AP as fractions (b, 10, k): weight vector, IoU threshold 0.50 … 0.95, class.

    NaN where a class has no box among the images that weigh anything.
    """

    values: Floats

    def per_class(self, metric: Metric = "AP") -> Floats:
        """(b, k)."""
        return np.asarray(self.values[:, OF_METRIC[metric]].mean(axis=1))

    def overall(self, metric: Metric = "AP") -> Floats:
        """(b,): the mean over the classes that have boxes; NaN where none has."""
        found = self.per_class(metric)
        there = ~np.isnan(found)
        total = np.where(there, found, 0.0).sum(axis=1)
        answer: Floats = np.full(len(found), np.nan)
        np.divide(total, there.sum(axis=1), out=answer, where=there.any(axis=1))
        return answer


@dataclass(frozen=True, slots=True, eq=False)
class Uncertain:
    """A number and its bootstrap draws (b,); draws in which it is undefined are left out.

    `bias` is how far the number lies above what endless images would give. Intervals and bounds
    are of that: the draws about their own mean, moved to `value` - `bias`, none below `least` or
    above 1.
    """

    value: float
    drawn: Floats
    bias: float = 0.0
    least: float = 0.0

    @property
    def sd(self) -> float:
        """Standard deviation of the draws: the noise that comes from the choice of images."""
        return float(self.drawn.std(ddof=1)) if len(self.drawn) > 1 else 0.0

    def quantiles(self, at: Sequence[float]) -> list[float]:
        """Quantiles of what endless images would give; the value without draws."""
        if not len(self.drawn):
            return [self.value for _ in at]
        moved = self.value - self.bias - float(self.drawn.mean())
        found = np.clip(np.quantile(self.drawn, at) + moved, self.least, 1.0)
        return [float(one) for one in found]

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval."""
        low, high = self.quantiles([(1 - level) / 2, (1 + level) / 2])
        return low, high

    def lower(self, alpha: float) -> float:
        """One-sided lower bound at level `alpha` (methods B3); ask for 20 / alpha draws or more."""
        return self.quantiles([alpha])[0]


def prepare(truth: Truth, detections: Detections, *, classes: Sequence[str]) -> ApTable:
    """Match all images of `truth`, by sample id; order, ignored boxes and errors as `evaluate`.

    Equal scores of an image and class stand in the order given, as in pycocotools.
    """
    return tabulate(columns(truth, detections, classes=classes))


def tabulate(given: Columns) -> ApTable:
    """`prepare` for columns; equal to `COCOeval` at IoU 0.50 … 0.95, all sizes, 100 detections."""
    from annoloop.core.ap_kernel import LARGEST, Cells, match_cells

    images, classes = len(given.images), len(given.classes)
    ignored = given.crowd | given.difficult | (given.area > LARGEST)
    known_cell, found_cell = _cells(given.truth, images), _cells(given.found, images)
    cells = np.unique(found_cell)
    known = np.lexsort((ignored, known_cell))
    known = known[np.isin(known_cell[known], cells)]
    found = np.lexsort((-given.scores, found_cell))
    nobody = np.zeros(len(found), dtype=bool)
    what = match_cells(
        Cells(_starts(found_cell[found], cells), given.found[found, 2:], nobody, nobody),
        Cells(
            _starts(known_cell[known], cells),
            given.truth[known, 2:],
            ignored[known],
            given.crowd[known],
        ),
        LEVELS,
        MAX_DETECTIONS,
    )
    kinds = given.found[found, CLASS].astype(np.int64)
    ranked = np.lexsort((-given.scores[found], kinds))
    counted = np.bincount(known_cell[~ignored], minlength=images * classes).astype(np.float64)
    return ApTable(
        images=given.images,
        classes=given.classes,
        positives=counted.reshape(classes, images).T.copy(),
        first=np.searchsorted(kinds[ranked], np.arange(classes + 1)),
        row=found[ranked],
        image=given.found[found[ranked], IMAGE].astype(np.int64),
        scores=given.scores[found[ranked]],
        what=np.ascontiguousarray(what[:, ranked]),
    )


def _cells(rows: Floats, images: int) -> NDArray[np.int64]:
    """A number for each image and class, by class first: (n,)."""
    return np.asarray(rows[:, CLASS] * images + rows[:, IMAGE], dtype=np.int64)


def _starts(sorted_cells: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `cells` starts among the rows, and where the last ends: (c + 1,)."""
    return np.append(np.searchsorted(sorted_cells, cells), len(sorted_cells))


def counts_by_image(table: ApTable, min_score: float) -> NDArray[np.int64]:
    """Right, wrong and missed of each image at IoU 0.5 with detections from `min_score`: (i, 3)."""
    counted = table.scores >= min_score
    right, wrong = (
        np.bincount(table.image[counted & (table.what[0] == what)], minlength=len(table.images))
        for what in (1, 0)
    )
    missed = table.positives.sum(axis=1).astype(np.int64) - right
    return np.column_stack((right, wrong, missed))


def average_precision(
    table: ApTable, weights: Floats | None = None, *, metric: Metric = "AP"
) -> WeightedAp:
    """AP of every class for each row of image `weights` (b, i); once each image if None.

    Weights are whole numbers or not, at least 0, in the order of `table.images`. Only the IoU
    thresholds of `metric` are computed, the others stay NaN: AP50 costs a tenth of AP, which has
    them all. Raises InputError for weights of another shape or below 0.
    """
    from annoloop.core.ap_kernel import Ranked, sweep

    given = np.ones((1, len(table.images))) if weights is None else np.asarray(weights, np.float64)
    if given.ndim != 2 or given.shape[1] != len(table.images) or not (given >= 0).all():
        raise InputError(
            f"image weights of shape {given.shape} for {len(table.images)} images",
            fix="give one row for each weighting, one number of at least 0 for each image",
        )
    asked = OF_METRIC[metric]
    found = np.empty((len(given), asked.stop - asked.start, len(table.classes)))
    ranked = Ranked(table.first, table.image, np.ascontiguousarray(table.what[asked]))
    sweep(ranked, np.ascontiguousarray(given), given @ table.positives, RECALLS, found)
    values = np.full((len(given), len(LEVELS), len(table.classes)), np.nan)
    values[:, asked] = found
    return WeightedAp(values)


def bootstrap(
    table: ApTable,
    draws: Floats,
    *,
    metric: Metric = "AP",
    class_id: int | None = None,
    halves: Floats | None = None,
) -> Uncertain:
    """The metric with its draws for resampled images `draws` (b, i), of one class or overall.

    `Resample.draw(images, rng, groups=...)` gives the draws; 1,000 or more for an interval.
    `halves` (2 p, i), of `split_in_halves`, tell the bias; without them it is taken to be none.
    """
    value = _metric(table, None, metric=metric, class_id=class_id)[0]
    drawn = _metric(table, draws, metric=metric, class_id=class_id)
    plain = _uncertain(value, drawn)
    if halves is None:
        return plain
    excess = _excess(table, halves, metric=metric, class_id=class_id)
    # Of a handful of images two halves say nothing, not even on which side of zero it lies.
    return replace(plain, bias=min(max(excess, 0.0), plain.sd))


def _excess(table: ApTable, halves: Floats, *, metric: Metric, class_id: int | None) -> float:
    """How far the metric lies above that of endless images, if the excess falls as 1 / sqrt(n).

    Each class is compared with itself: rare ones may be missing from a half.
    """
    whole = average_precision(table, None, metric=metric).per_class(metric)[0]
    half = average_precision(table, halves, metric=metric).per_class(metric)
    if class_id is not None:
        whole, half = whole[class_id : class_id + 1], half[:, class_id : class_id + 1]
    there = ~np.isnan(half)
    seen = there.any(axis=0)
    if not seen.any():
        return 0.0
    mean = np.where(there, half, 0.0).sum(axis=0)[seen] / there.sum(axis=0)[seen]
    return float((mean - whole[seen]).mean() / (np.sqrt(2.0) - 1.0))


def compare(
    first: ApTable,
    second: ApTable,
    draws: Floats,
    *,
    metric: Metric = "AP",
    class_id: int | None = None,
) -> Uncertain:
    """How much better the second model is on the same images: the paired image bootstrap.

    Both are weighted by the same `draws` (b, i), so what is hard for both cancels out.
    Raises InputError if the tables are not of the same images and classes.
    """
    if (first.images, first.classes) != (second.images, second.classes):
        raise InputError(
            "the two models were measured on different images or classes",
            fix="compare models on the same images with the same schema",
        )
    if not np.array_equal(first.positives, second.positives):
        raise InputError(
            "the two models were measured against different labels",
            fix="evaluate both with the newest reference labels",
        )
    pair = (first, second)
    value = [_metric(one, None, metric=metric, class_id=class_id)[0] for one in pair]
    drawn = [_metric(one, draws, metric=metric, class_id=class_id) for one in pair]
    return replace(_uncertain(value[1] - value[0], drawn[1] - drawn[0]), least=-1.0)


def _metric(
    table: ApTable, weights: Floats | None, *, metric: Metric, class_id: int | None
) -> Floats:
    found = average_precision(table, weights, metric=metric)
    return found.overall(metric) if class_id is None else found.per_class(metric)[:, class_id]


def _uncertain(value: float, drawn: Floats) -> Uncertain:
    return Uncertain(float(value), drawn[~np.isnan(drawn)])

"""The golden set: what annotators drew in it, and how far that is from the reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from annoloop.core.agreement import match_pass, plain
from annoloop.core.golden_advice import MIN_BOXES, MIN_IMAGES
from annoloop.core.golden_counts import COUNTED
from annoloop.errors import InputError
from annoloop.records import GoldenVerdict, Label

TOP_CLASSES = 5


@dataclass(frozen=True, slots=True)
class GoldenStatistics:
    """Counts over the answered golden samples.

    `samples` is the size of the golden set; `samples_with_labels` and `samples_empty` are answered
    ones with and without boxes; `mean_per_image` and `empty_share` are over all answered samples
    (0 when there are none); `median_side` is the square root of the area in pixels, `median_aspect`
    width over height (None without boxes). `class_counts` has every class in schema order,
    `top_classes` the five most frequent, most first.
    """

    samples: int
    samples_with_labels: int
    samples_empty: int
    total_detections: int
    class_counts: Mapping[str, int]
    top_classes: Mapping[str, int]
    mean_per_image: float
    empty_share: float
    median_side: float | None
    median_aspect: float | None


@dataclass(frozen=True, slots=True)
class GoldenCheck:
    """A verdict on the answers, its reason, and the errors per reference box."""

    verdict: GoldenVerdict
    reason: str
    images: int
    boxes: int
    missed: float
    spurious: float
    confused: float


def statistics(
    labels: Mapping[str, Sequence[Label]], total: int, *, classes: Sequence[str]
) -> GoldenStatistics:
    """Statistics of the answered golden samples, by sample id; no labels is an answer ("empty").

    Raises InputError for a class id outside `classes`.
    """
    counts: Counter[int] = Counter()
    for sample, rows in labels.items():
        counts.update(label.class_id for label in rows)
        if any(not 0 <= label.class_id < len(classes) for label in rows):
            raise InputError(
                f"golden sample {sample!r} has a class id outside the schema",
                fix=f"class ids run from 0 to {len(classes) - 1}; import the answers again",
            )
    class_counts = {name: counts[position] for position, name in enumerate(classes)}
    # sorted() is stable, so classes with equal counts stay in schema order
    ranked = sorted(class_counts, key=lambda name: -class_counts[name])
    sizes = [label.box[2:] for rows in labels.values() for label in rows]
    empty = sum(not rows for rows in labels.values())
    answered = max(len(labels), 1)
    return GoldenStatistics(
        samples=total,
        samples_with_labels=len(labels) - empty,
        samples_empty=empty,
        total_detections=counts.total(),
        class_counts=class_counts,
        top_classes={n: class_counts[n] for n in ranked[:TOP_CLASSES] if class_counts[n]},
        mean_per_image=counts.total() / answered,
        empty_share=empty / answered,
        median_side=median(math.sqrt(w * h) for w, h in sizes) if sizes else None,
        median_aspect=median(w / h for w, h in sizes) if sizes else None,
    )


def tolerance_check(
    reference: Mapping[str, Sequence[Label]],
    answers: Mapping[str, Sequence[Label]],
    *,
    iou: float = 0.5,
    tolerance: float = 0.05,
) -> GoldenCheck:
    """Compare answers with the reference on the samples that have both, against a tolerance.

    Boxes are matched image by image, whatever their class, so that the sum of the IoU (≥ `iou`)
    is largest. A reference box without a partner is missed, an answered box without one is
    spurious, a pair of different classes is confused; rates are per reference box. Crowd and
    difficult boxes count for nothing, and so does a box without a partner that lies by half or
    more in one of the other side.

    `warn` when the three rates together exceed `tolerance`, else `pass`; with fewer than 10 images
    or 30 reference boxes `insufficient`. Never `fail`: without earlier passes of the same images
    nobody knows how many errors are usual, and only the permutation test may say so.
    """
    matched = match_pass(reference, answers, rule=plain(iou))
    compared, boxes = matched.images, int(matched.reference_boxes().sum())
    errors = [int(matched.rows(*kinds).sum()) for kinds in COUNTED.values()]
    missed, spurious, confused = (count / max(boxes, 1) for count in errors)
    share = sum(errors) / max(boxes, 1)  # the sum of the rates, without their rounding
    if len(compared) < MIN_IMAGES:
        verdict = GoldenVerdict.INSUFFICIENT
        reason = f"{len(compared)} blind golden images answered, at least {MIN_IMAGES} are needed"
    elif boxes < MIN_BOXES:
        verdict = GoldenVerdict.INSUFFICIENT
        reason = f"{boxes} reference boxes in {len(compared)} blind golden images, at least "
        reason += f"{MIN_BOXES} are needed"
    else:
        verdict = GoldenVerdict.WARN if share > tolerance else GoldenVerdict.PASS
        reason = (
            f"{share:.1%} errors per reference box ({missed:.1%} missed, {spurious:.1%} spurious, "
            f"{confused:.1%} confused), tolerance {tolerance:.1%}; {boxes:,} boxes in "
            f"{len(compared):,} blind golden images"
        )
    return GoldenCheck(
        verdict, f"{verdict}: {reason}", len(compared), boxes, missed, spurious, confused
    )

"""Krippendorff's alpha for boxes: do people agree on what is there more than by chance?

Definition used here. The boxes of one image are sorted into clusters, one rater after the other:
a rater's boxes are matched with the boxes of the first rater, what is left with those of the
second, and so on (largest sum of IoU, classes ignored), and what is left then opens new clusters.
Each cluster is a unit in which each rater gives the class of their box, or "absent". An image that
all leave empty is one unit on which all agree. Alpha is nominal.

On one image this is what kalphacv computes (Tschirschwitz & Rodehorst, WACV 2025), and its example
values are reproduced. Three things differ. A pair needs an IoU of at least the threshold, there
more than it. kalphacv rounds the alpha of each image to four digits before it averages; we do not.
And beside the mean over images we give alpha of all units together, where crowded images weigh
more and chance is that of the whole data set: it is the number that Krippendorff's bands are for.
KaLOS chooses the threshold from the data; here it is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annoloop.core.agreement import ABSENT, Answers, best_pairs, plain
from annoloop.core.matching import boxes_of, iou_matrix
from annoloop.errors import InputError
from annoloop.records import Label

RELIABLE, TENTATIVE = 0.8, 0.667

Cluster = dict[int, int]
"""Rater position → position of their label in the image."""


@dataclass(frozen=True, slots=True)
class Alpha:
    """`alpha` of all units together, and the mean over images of the alpha of each.

    `band` is Krippendorff's for `alpha`: reliable (≥ 0.8), tentative (≥ 0.667) or unreliable.
    """

    alpha: float
    mean_per_image: float
    images: int
    units: int
    band: str


def krippendorff_alpha(raters: Mapping[str, Answers], *, iou: float = 0.5) -> Alpha:
    """Alpha over the images that at least two raters have; ignored labels do not take part.

    Raises InputError when no image has two raters.
    """
    by_image = [_image_units(raters, sample, iou=iou) for sample in _shared(raters)]
    if not by_image:
        raise InputError(
            "no image has the answers of two raters",
            fix="Have the same images labelled by two people or more, without seeing each other.",
        )
    units = [unit for image in by_image for unit in image]
    whole = nominal_alpha(units)
    band = "reliable" if whole >= RELIABLE else "unreliable"
    return Alpha(
        alpha=whole,
        mean_per_image=float(np.mean([nominal_alpha(image) for image in by_image])),
        images=len(by_image),
        units=len(units),
        band="tentative" if TENTATIVE <= whole < RELIABLE else band,
    )


def vitality(raters: Mapping[str, Answers], *, iou: float = 0.5) -> dict[str, float]:
    """How much alpha changes when a rater is left out; positive: the others agree better without.

    The idea is KaLOS's (arXiv 2603.27197). Raters without whom no image has two are left out.
    """
    whole = krippendorff_alpha(raters, iou=iou).alpha
    rests = {
        name: {other: answers for other, answers in raters.items() if other != name}
        for name in sorted(raters)
    }
    return {
        name: krippendorff_alpha(rest, iou=iou).alpha - whole
        for name, rest in rests.items()
        if _shared(rest)
    }


def nominal_alpha(units: Sequence[Mapping[int, int]]) -> float:
    """Krippendorff's nominal alpha of units, each category → number of raters who gave it.

    [(n−1) Σ o_cc − Σ n_c (n_c−1)] / [n (n−1) − Σ n_c (n_c−1)] with o_cc the coincidences within
    units of two ratings or more; 1 where all ratings are of one category. (Krippendorff,
    Computing Krippendorff's Alpha-Reliability, 2011.)
    """
    agreeing, totals = 0.0, Counter[int]()
    for unit in units:
        ratings = sum(unit.values())
        if ratings < 2:
            continue
        agreeing += sum(k * (k - 1) for k in unit.values()) / (ratings - 1)
        totals.update(unit)
    n = totals.total()
    expected = sum(k * (k - 1) for k in totals.values())
    if n * (n - 1) == expected:
        return 1.0
    return ((n - 1) * agreeing - expected) / (n * (n - 1) - expected)


def cluster(raters: Sequence[Sequence[Label]], *, iou: float = 0.5) -> list[Cluster]:
    """Which boxes of one image are the same object, by the order of the raters."""
    rule = plain(iou)
    clusters: list[Cluster] = []
    for rater, labels in enumerate(raters):
        free = [k for k, label in enumerate(labels) if not label.ignored]
        for earlier in range(rater):
            open_ = [c for c in clusters if earlier in c and rater not in c]
            first = boxes_of([raters[earlier][c[earlier]] for c in open_])
            second = boxes_of([labels[k] for k in free])
            overlap = iou_matrix(first, second)
            allowed = rule.allows(first, second, overlap=overlap)
            pairs = best_pairs(overlap, allowed, same=np.zeros_like(allowed))
            for row, column in pairs:
                open_[row][rater] = free[column]
            taken = {free[column] for _, column in pairs}
            free = [k for k in free if k not in taken]
        clusters += [{rater: k} for k in free]
    return clusters


def _shared(raters: Mapping[str, Answers]) -> list[str]:
    seen = Counter(sample for answers in raters.values() for sample in answers)
    return sorted(sample for sample, times in seen.items() if times >= 2)


def _image_units(raters: Mapping[str, Answers], sample: str, *, iou: float) -> list[Counter[int]]:
    answers = [raters[name][sample] for name in sorted(raters) if sample in raters[name]]
    units = []
    for found in cluster(answers, iou=iou):
        classes = (
            answers[rater][found[rater]].class_id if rater in found else ABSENT
            for rater in range(len(answers))
        )
        units.append(Counter(classes))
    return units or [Counter({ABSENT: len(answers)})]

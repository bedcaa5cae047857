"""A linear classifier and a box refiner over described regions: the maths of the classical trainer.

Regions that overlap an object by half are that object; those that overlap none by 0.3 are
background; what lies between, or in an ignored label, teaches nothing (the rule of R-CNN, Girshick
et al., CVPR 2014, as are the linear classifier with mined hard negatives and the ridge refiner).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from annoloop.core.matching import COVERED_SHARE, iou_matrix
from annoloop.core.regions import Boxes, suppress
from annoloop.errors import TrainerError

OBJECT_IOU = 0.5
BACKGROUND_IOU = 0.3
SUPPRESS_IOU = 0.45
MIN_SCORE = 0.01
MAX_DETECTIONS = 100

POSITIVES = 8_000
BACKGROUNDS = 6_000
POOL = 40_000
"""Background rows kept to mine hard ones from, over all images."""

_STRENGTH = 0.01
_RIDGE = 0.1
_SHIFT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """Candidate boxes (n, 4) of one image and their descriptors (n, d)."""

    boxes: Boxes
    rows: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One reviewed image: its candidates, the true boxes described like them, and the ignored.

    `classes` (m,) are the classes of `truth`; `ignored` (k, 4) are boxes that are neither object
    nor background.
    """

    candidates: Regions
    truth: Regions
    classes: NDArray[np.int64]
    ignored: Boxes


@dataclass(frozen=True, slots=True, eq=False)
class RegionModel:
    """Softmax over `classes` (k,) and background (the last row), and a linear box refiner.

    `mean`, `spread` (d,); `weights` (k + 1, d); `bias` (k + 1,); `refine` (d + 1, 4).
    """

    classes: NDArray[np.int64]
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    refine: NDArray[np.float32]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The model by field name, to be written and given back to the constructor."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Training rows, and for how many regions each of them stands.

    `weigh`, `boxes` and `goals` belong to `positive`, row by row; `each` to all of `background`.
    """

    positive: NDArray[np.float32]
    classes: NDArray[np.int64]
    weigh: NDArray[np.float64]
    boxes: Boxes
    goals: Boxes
    background: NDArray[np.float32]
    each: float


def fit_regions(
    examples: Iterable[Example], *, images: int, rng: np.random.Generator
) -> RegionModel:
    """Learn from `images` examples; how many rows are kept hardly grows with their number.

    Raises TrainerError if there is no object, or no background at all.
    """
    rows = _collect(examples, images, rng)
    total = len(rows.background)
    first = rng.permutation(total)[:BACKGROUNDS]
    mean = (rows.positive.mean(axis=0) + rows.background.mean(axis=0)) / 2
    spread = np.concatenate([rows.positive, rows.background[first]]).std(axis=0)
    # A number that hardly varies here must not shout when it varies elsewhere.
    spread = np.maximum(spread, 0.3 * np.median(spread) + 1e-6)
    positive = (rows.positive - mean) / spread
    background = (rows.background - mean) / spread
    weigh = np.full(len(first), rows.each * total / len(first))
    weights, bias, classes = _logistic(rows, positive, background[first], weigh)
    # Second round: the backgrounds that look most like objects join, each at its own weight, and
    # the random ones stand for the rest, so that scores keep the meaning of probabilities.
    background_scores = _softmax(background @ weights.T + bias)[:, -1]
    hard = np.argsort(background_scores, kind="stable")[: len(first) // 2]
    easy = np.setdiff1d(first, hard)
    weigh = np.full(len(hard) + len(easy), rows.each)
    weigh[len(hard) :] *= (total - len(hard)) / max(len(easy), 1)
    chosen = background[np.concatenate([hard, easy])]
    weights, bias, classes = _logistic(rows, positive, chosen, weigh)
    refine = _ridge(positive, _targets(rows.boxes, rows.goals))
    return RegionModel(classes, mean, spread, weights, bias, refine)


def _collect(examples: Iterable[Example], images: int, rng: np.random.Generator) -> _Rows:
    background_quota = -(-POOL // images)
    positive_quota = -(-4 * POSITIVES // images)
    positive: list[NDArray[np.float32]] = []
    classes: list[NDArray[np.int64]] = []
    pairs: list[Boxes] = []
    background: list[NDArray[np.float32]] = []
    seen: list[NDArray[np.int64]] = []
    passed = 0
    for example in examples:
        found, owner, other = _sort_candidates(example)
        seen += [example.classes, example.classes[owner[found]]]
        passed += len(other)
        found = _some(found, positive_quota, rng)
        truth, candidates = example.truth, example.candidates
        positive += [truth.rows, candidates.rows[found]]
        classes += [example.classes, example.classes[owner[found]]]
        pairs.append(np.concatenate([truth.boxes, truth.boxes], axis=1))
        pairs.append(np.concatenate([candidates.boxes[found], truth.boxes[owner[found]]], axis=1))
        background.append(candidates.rows[_some(other, background_quota, rng)])
    rest = np.concatenate(background)
    if not sum(map(len, positive)):
        raise TrainerError(
            "no training image holds a box", fix="Annotate some images that show an object."
        )
    if not len(rest):
        raise TrainerError(
            f"nothing but the objects themselves was found in {images} training images",
            fix="Train on images that show more than the object, or use another trainer.",
        )
    of_class = np.concatenate(classes)
    kept, weigh = _thinned(of_class, np.bincount(np.concatenate(seen)), rng)
    pair = np.concatenate(pairs)[kept]
    return _Rows(
        positive=np.concatenate(positive)[kept],
        classes=of_class[kept],
        weigh=weigh,
        boxes=pair[:, :4],
        goals=pair[:, 4:],
        background=rest,
        each=passed / len(rest),
    )


def _thinned(
    of_class: NDArray[np.int64], seen: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows to train on, and the weight of each: frequent classes are thinned, rare ones whole."""
    present = np.flatnonzero(seen)
    kept = [_some(np.flatnonzero(of_class == c), POSITIVES // len(present), rng) for c in present]
    weigh = [np.full(len(k), seen[c] / len(k)) for c, k in zip(present, kept, strict=True)]
    return np.concatenate(kept), np.concatenate(weigh)


def _sort_candidates(
    example: Example,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Positions of object candidates, the true box of every candidate, positions of background."""
    boxes = example.candidates.boxes
    best = np.zeros(len(boxes))
    owner = np.zeros(len(boxes), dtype=np.int64)
    if len(example.classes) and len(boxes):
        overlap = iou_matrix(boxes, example.truth.boxes)
        best, owner = overlap.max(axis=1), overlap.argmax(axis=1)
    neutral: NDArray[np.bool_] = np.zeros(len(boxes), dtype=np.bool_)
    if len(example.ignored) and len(boxes):
        # As a crowd, so that a candidate which lies inside an ignored box counts as covered by it.
        inside = iou_matrix(boxes, example.ignored, crowd=np.ones(len(example.ignored), bool))
        overlap = iou_matrix(boxes, example.ignored)
        near = (inside >= COVERED_SHARE) | (overlap >= BACKGROUND_IOU)
        neutral = np.asarray(near.any(axis=1))
    found = np.flatnonzero(best >= OBJECT_IOU)
    return found, owner, np.flatnonzero((best < BACKGROUND_IOU) & ~neutral)


def _some(positions: NDArray[np.int64], quota: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return positions if len(positions) <= quota else rng.permutation(positions)[:quota]


def _logistic(
    rows: _Rows,
    positive: NDArray[np.float32],
    background: NDArray[np.float32],
    weigh: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Weights, bias and classes of a softmax whose last class is background."""
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(rows.classes)
    other = np.full(len(background), classes[-1] + 1)
    model = LogisticRegression(C=_STRENGTH, tol=1e-3, max_iter=1000).fit(
        np.concatenate([positive, background]),
        np.concatenate([rows.classes, other]),
        sample_weight=np.concatenate([rows.weigh, weigh]),
    )
    weights, bias = model.coef_, model.intercept_
    if len(classes) == 1:  # two classes come as one row: the log odds of the second, background
        weights = np.concatenate([np.zeros_like(weights), weights])
        bias = np.concatenate([np.zeros_like(bias), bias])
    return weights.astype(np.float32), bias.astype(np.float32), classes


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def _targets(boxes: Boxes, goals: Boxes) -> NDArray[np.float64]:
    """Shift of the centre in box sizes and log growth that turn `boxes` into `goals`, (n, 4)."""
    size = np.maximum(boxes[:, 2:], 1e-3).astype(np.float64)
    goal = np.maximum(goals[:, 2:], 1e-3)
    shift = (goals[:, :2] + goal / 2 - boxes[:, :2] - size / 2) / size
    return np.concatenate([shift, np.log(goal / size)], axis=1)


def _ridge(rows: NDArray[np.float32], targets: NDArray[np.float64]) -> NDArray[np.float32]:
    design = np.concatenate([rows, np.ones((len(rows), 1))], axis=1).astype(np.float64)
    penalty = np.full(design.shape[1], _RIDGE * len(design))
    penalty[-1] = 1e-6 * len(design)
    solved = np.linalg.solve(design.T @ design + np.diag(penalty), design.T @ targets)
    return np.asarray(solved, dtype=np.float32)


def detect(
    model: RegionModel, regions: Regions, *, size: tuple[int, int]
) -> Iterator[tuple[int, NDArray[np.float32], float]]:
    """(class, box, score) in an image of `size` (width, height), best first.

    Scores are the softmax probabilities of the regions, at least MIN_SCORE; of boxes of a class
    that overlap by more than SUPPRESS_IOU the best stays; at most MAX_DETECTIONS in all.
    """
    if not len(regions.boxes):
        return
    rows = np.asarray((regions.rows - model.mean) / model.spread, dtype=np.float32)
    scores = _softmax(rows @ model.weights.T + model.bias)
    boxes = _refined(regions.boxes, rows @ model.refine[:-1] + model.refine[-1], size)
    visible = (boxes[:, 2:] > 0).all(axis=1)
    found = []
    for position, number in enumerate(model.classes.tolist()):
        likely = np.flatnonzero(visible & (scores[:, position] >= MIN_SCORE))
        kept = likely[suppress(boxes[likely], scores[likely, position], iou=SUPPRESS_IOU)]
        found += [(float(scores[one, position]), number, int(one)) for one in kept]
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    for score, number, one in found[:MAX_DETECTIONS]:
        yield number, boxes[one], score


def pooled(model: RegionModel, candidates: Regions, asked: Regions) -> NDArray[np.float32]:
    """One row of length 1 for each region asked, (m, d): what the model finds in it.

    The mean of the region itself and of the candidates whose middle lies in it, by how little the
    model takes each for background. Numbers weigh as much as the model's classes depend on them.
    """
    matter = np.sqrt((model.weights.astype(np.float64) ** 2).mean(axis=0))
    every = np.concatenate([candidates.rows, asked.rows])
    rows = np.asarray((every - model.mean) / model.spread, dtype=np.float32)
    weigh = 1.0 - _softmax(rows @ model.weights.T + model.bias)[:, -1] + 1e-6
    rows = _unit(rows * matter) * weigh[:, None]
    middle = candidates.boxes[:, :2] + candidates.boxes[:, 2:] / 2
    low = asked.boxes[:, None, :2]
    inside = ((middle >= low) & (middle < low + asked.boxes[:, None, 2:])).all(axis=2)
    found, own = rows[: len(candidates.rows)], rows[len(candidates.rows) :]
    return _unit(inside.astype(np.float64) @ found + own).astype(np.float32)


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), dtype=np.float64)


def _refined(boxes: Boxes, moves: NDArray[np.float32], size: tuple[int, int]) -> Boxes:
    """Boxes moved and grown as the refiner says, cut at the image's border."""
    moves = np.clip(moves, -_SHIFT, _SHIFT)
    centre = boxes[:, :2] + boxes[:, 2:] * (0.5 + moves[:, :2])
    half = boxes[:, 2:] * np.exp(moves[:, 2:]) / 2
    low = np.clip(centre - half, 0, size)
    high = np.clip(centre + half, 0, size)
    return np.concatenate([low, high - low], axis=1).astype(np.float32)

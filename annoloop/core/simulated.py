"""Simulated golden sets and annotators: what the golden tests are proven on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annoloop.core.agreement import Answers
from annoloop.core.power import SHAPE
from annoloop.records import Box, Label

GRID, CELL = 12, 120.0
"""Objects stand in cells of their own, so that people's boxes never overlap by accident."""

SKEW = 0.8
"""Class k is drawn in proportion to (k + 1) ** -SKEW."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a person labels: shares of missed, extra and relabelled boxes; how edges lie.

    `edge` is the standard deviation of each edge (Laplace) and `shift` moves the box to the right,
    both over the side of the box; `grow` is the factor of both sides. `relabel` maps a class to
    another one and the share of its boxes that get it; `correlation` makes the misses of one image
    alike.
    """

    miss: float = 0.03
    spurious: float = 0.01
    swap: float = 0.02
    edge: float = 0.02
    grow: float = 1.0
    shift: float = 0.0
    correlation: float = 0.05
    relabel: tuple[int, int, float] | None = None


def draw_reference(
    images: int, boxes: float, *, classes: int, rng: np.random.Generator
) -> dict[str, list[Label]]:
    """Images with a negative binomial number of boxes (mean `boxes`) of skewed classes."""
    weights = (np.arange(classes) + 1.0) ** -SKEW
    counts = rng.negative_binomial(SHAPE, SHAPE / (SHAPE + boxes), size=images)
    made: dict[str, list[Label]] = {}
    for number, count in enumerate(np.minimum(counts, GRID * GRID).tolist()):
        cells = rng.permutation(GRID * GRID)[:count]
        ids = rng.choice(classes, size=count, p=weights / weights.sum())
        corner = rng.uniform(0.0, 20.0, size=(count, 2))
        sides = rng.uniform(40.0, 90.0, size=(count, 2))
        corner += CELL * np.stack([cells % GRID, cells // GRID], axis=1)
        made[f"image-{number:05d}.jpg"] = [
            Label(class_id, (x, y, w, h))
            for class_id, (x, y), (w, h) in zip(
                ids.tolist(), corner.tolist(), sides.tolist(), strict=True
            )
        ]
    return made


def annotate(
    reference: Answers, habits: Habits, *, classes: int, rng: np.random.Generator
) -> dict[str, list[Label]]:
    """One blind pass over `reference` by a person with these habits."""
    return {
        sample: _image(labels, habits, classes=classes, rng=rng)
        for sample, labels in reference.items()
    }


def annotate_by(
    reference: Answers,
    people: Mapping[str, Habits],
    *,
    classes: int,
    rng: np.random.Generator,
) -> tuple[dict[str, list[Label]], dict[str, str]]:
    """One pass whose images are dealt to people in turn; also who answered which image."""
    names = sorted(people)
    who = {sample: names[k % len(names)] for k, sample in enumerate(sorted(reference))}
    labels = {
        sample: _image(reference[sample], people[name], classes=classes, rng=rng)
        for sample, name in who.items()
    }
    return labels, who


def _image(
    labels: Sequence[Label], habits: Habits, *, classes: int, rng: np.random.Generator
) -> list[Label]:
    share = habits.miss
    if habits.correlation > 0.0 and 0.0 < share < 1.0:
        spread = (1.0 - habits.correlation) / habits.correlation
        share = float(rng.beta(share * spread, (1.0 - share) * spread))
    chances = rng.random((len(labels), 3))
    moves = rng.laplace(0.0, habits.edge / np.sqrt(2.0), size=(len(labels), 4))
    drawn = []
    for label, (missed, swapped, relabelled), move in zip(
        labels, chances.tolist(), moves.tolist(), strict=True
    ):
        if missed < share:
            continue
        class_id = label.class_id
        if swapped < habits.swap and classes > 1:
            class_id = (class_id + int(rng.integers(1, classes))) % classes
        if habits.relabel and class_id == habits.relabel[0] and relabelled < habits.relabel[2]:
            class_id = habits.relabel[1]
        drawn.append(Label(class_id, _moved(label.box, move, habits)))
    extra = int(rng.binomial(len(labels), habits.spurious))
    for place in rng.uniform(0.0, CELL * GRID, size=(extra, 2)).tolist():
        # Below all cells: an extra box stands where no object is.
        box = (place[0], CELL * (GRID + 1) + place[1], 60.0, 60.0)
        drawn.append(Label(int(rng.integers(0, classes)), box))
    return drawn


def _moved(box: Box, move: list[float], habits: Habits) -> Box:
    x, y, width, height = box
    wider, higher = (habits.grow - 1.0) * width / 2.0, (habits.grow - 1.0) * height / 2.0
    left = x + (habits.shift + move[0]) * width - wider
    top = y + move[1] * height - higher
    right = x + width + (habits.shift + move[2]) * width + wider
    bottom = y + height + move[3] * height + higher
    return left, top, max(right - left, 1.0), max(bottom - top, 1.0)

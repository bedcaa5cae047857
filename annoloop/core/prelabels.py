"""Boxes of a model that people start from: who is left without them, and what they do to labels.

Which images of a batch stay blank is drawn at random, so the two sides differ by chance and by what
the boxes did to the people who saw them, and by nothing else. The test is therefore a randomisation
test (Fisher 1935): under the hypothesis that nobody was swayed each image would have got the same
answer on the other side, and any other draw of the blank ones was as likely. It is exact, whatever
the images are like. docs/golden.md explains the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from annoloop.core.intervals import Interval, Resample
from annoloop.core.matching import boxes_of, classes_of, greedy_match, iou_matrix
from annoloop.records import Label

ALPHA = 0.05
"""How often one look finds a bias where there is none, at most; split over `DECIDING`."""

DECIDING = ("agreement", "boxes")
"""What decides; the others describe. That accepted boxes stand unchanged is no harm by itself."""

MIN_IMAGES = 10
"""So many answered images each side needs before anything is tested."""

DRAWS = 4_999
AT_ONCE = 1 << 21
"""Memberships of images held at once while drawing (16 MiB)."""

SAME_BOX = 0.95
"""IoU above which a box counts as taken over unchanged."""

Floats = NDArray[np.float64]


def draw_blank(ids: Sequence[str], *, share: float, rng: np.random.Generator) -> frozenset[str]:
    """The images that get no boxes: `share` of them, drawn alike whatever they are.

    Where a share is asked, at least one image stays blank, and below 1 at least one does not.
    """
    wanted = math.floor(share * len(ids) + 0.5)
    if 0.0 < share < 1.0 and len(ids) > 1:
        wanted = min(max(wanted, 1), len(ids) - 1)
    chosen = rng.choice(len(ids), wanted, replace=False)
    order = sorted(ids)
    return frozenset(order[place] for place in chosen.tolist())


@dataclass(frozen=True, slots=True)
class Answered:
    """One answered image: what the model had said of it and a person drew.

    `given` says whether the person started from the model's boxes. `reference` is known of golden
    images only.
    """

    batch: str
    given: bool
    model: tuple[Label, ...]
    drawn: tuple[Label, ...]
    seconds: float | None = None
    reference: tuple[Label, ...] | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One number on both sides, and how sure the difference (given − blank) is.

    `interval` is its 95 % interval by bootstrap over images, `p_value` that of the randomisation
    test; both None below 10 images a side.
    """

    given: float | None
    blank: float | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    images_given: int
    images_blank: int


@dataclass(frozen=True, slots=True)
class Bias:
    """`verdict`: `bias`, `none seen` or `too few`; `alarming` names what decided."""

    verdict: str
    alarming: tuple[str, ...]
    images_given: int
    images_blank: int
    measures: Mapping[str, Difference]


Parts = tuple[float, float]
"""What one image adds to the numerator and the denominator of a rate."""


def _pairs(rows: Sequence[Label], columns: Sequence[Label], floor: float) -> int:
    """How many of `rows` find a partner of their class among `columns`."""
    same = classes_of(rows)[:, None] == classes_of(columns)
    match = greedy_match(iou_matrix(boxes_of(rows), boxes_of(columns)), same, floor=floor)
    return int((match >= 0).sum())


def _agreement(one: Answered) -> Parts:
    both = len(one.model) + len(one.drawn)
    return 2.0 * _pairs(one.model, one.drawn, 0.5), float(both)


def _missed(one: Answered) -> Parts | None:
    known = one.reference
    if known is None:
        return None
    return float(len(known) - _pairs(known, one.drawn, 0.5)), float(len(known))


def _spurious(one: Answered) -> Parts | None:
    known = one.reference
    if known is None:
        return None
    return float(len(one.drawn) - _pairs(known, one.drawn, 0.5)), float(len(one.drawn))


MEASURES: Mapping[str, Callable[[Answered], Parts | None]] = {
    "agreement": _agreement,
    "boxes": lambda one: (float(len(one.drawn)), 1.0),
    "confirmed": lambda one: (float(_pairs(one.model, one.drawn, 0.5)), float(len(one.model))),
    "foreseen": lambda one: (float(_pairs(one.model, one.drawn, 0.5)), float(len(one.drawn))),
    "unchanged": lambda one: (
        float(_pairs(one.model, one.drawn, SAME_BOX)),
        float(len(one.model)),
    ),
    "missed": _missed,
    "spurious": _spurious,
    "seconds": lambda one: None if one.seconds is None else (one.seconds, 1.0),
}
"""Name → what an image adds to the rate, None where it has no say in it.

`agreement`: F1 of answer and model at IoU 0.5. `boxes`: boxes an image. `confirmed`: share of the
model's boxes that the answer has too. `foreseen`: share of the answer's boxes that the model had.
`unchanged`: `confirmed` at IoU 0.95. `missed`, `spurious`: errors against the reference, of golden
images. `seconds`: time an image.
"""


def bias(answered: Sequence[Answered], *, rng: np.random.Generator, draws: int = DRAWS) -> Bias:
    """Compare images that people labelled from the model's boxes with those that they did not.

    Only batches with images on both sides enter. Each image weighs by the inverse of its side's
    share in its batch, so that batches with other shares can be put together.
    """
    rows = _comparable(answered)
    given = np.array([one.given for one in rows], dtype=bool)
    batch = np.unique([one.batch for one in rows], return_inverse=True)[1].astype(np.int64)
    sides = int(given.sum()), int((~given).sum())
    said = {name: [measure(one) for one in rows] for name, measure in MEASURES.items()}
    parts = {
        name: np.array([one or (0.0, 0.0) for one in found], dtype=np.float64).reshape(-1, 2)
        for name, found in said.items()
    }
    p_values = _p_values(parts, given, batch, rng=rng, draws=draws) if min(sides) else {}
    weight = _weights(given, batch)
    resampled = [
        (np.flatnonzero(side), Resample.draw(int(side.sum()), rng).weights)
        for side in (given, ~given)
    ]
    found = {}
    for name, values in parts.items():
        counted = np.array([one is not None for one in said[name]], dtype=bool)
        images = int((given & counted).sum()), int((~given & counted).sum())
        weighted = weight[:, None] * values
        found[name] = _difference(weighted, resampled, images=images, p_value=p_values.get(name))
    level = ALPHA / len(DECIDING)
    tested = [(name, found[name].p_value) for name in DECIDING]
    alarming = tuple(name for name, p in tested if p is not None and p <= level)
    enough = any(p is not None for _, p in tested)
    verdict = "bias" if alarming else "none seen" if enough else "too few"
    return Bias(verdict, alarming, *sides, found)


def _comparable(answered: Sequence[Answered]) -> list[Answered]:
    sides: dict[str, set[bool]] = {}
    for one in answered:
        sides.setdefault(one.batch, set()).add(one.given)
    return [one for one in answered if len(sides[one.batch]) == 2]


def _weights(given: NDArray[np.bool_], batch: NDArray[np.int64]) -> Floats:
    """Images of the batch over images of the same side in it, (n,)."""
    count = int(batch.max(initial=-1)) + 1
    whole = np.bincount(batch, minlength=count)
    shown = np.bincount(batch, weights=given, minlength=count)
    side = np.where(given, shown[batch], whole[batch] - shown[batch])
    return np.asarray(whole[batch] / side, dtype=np.float64)


def _p_values(
    parts: Mapping[str, Floats],
    given: NDArray[np.bool_],
    batch: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    draws: int,
) -> dict[str, float]:
    """Share of draws, the real one included, with at least its absolute difference of rates.

    A draw shuffles who is blank inside each batch; an image has the weight of the side it is drawn
    to.
    """
    weight = _weights(given, batch)
    members = [np.flatnonzero(batch == number) for number in range(int(batch.max()) + 1)]
    sides = np.empty((2, len(given)))  # what an image weighs as given, and as blank
    for places in members:
        shown = given[places]
        sides[:, places] = [[weight[places][shown][0]], [weight[places][~shown][0]]]
    values = np.concatenate(list(parts.values()), axis=1)
    as_given, as_blank = sides[0][:, None] * values, sides[1][:, None] * values
    real = np.abs(_gaps(given[None, :], as_given, as_blank))[0]
    reached = np.ones(len(parts), dtype=np.int64)
    step = max(1, AT_ONCE // len(given))
    for first in range(0, draws, step):
        drawn = np.empty((min(step, draws - first), len(given)), dtype=bool)
        for places in members:
            copies = np.broadcast_to(given[places], (len(drawn), len(places)))
            drawn[:, places] = rng.permuted(copies, axis=1)
        gaps = np.abs(_gaps(drawn, as_given, as_blank))
        reached += (gaps >= real - 1e-12).sum(axis=0)
    return dict(zip(parts, (reached / (draws + 1)).tolist(), strict=True))


def _gaps(given: NDArray[np.bool_], as_given: Floats, as_blank: Floats) -> Floats:
    """Rates of the given − rates of the blank images, (draws, measures).

    `given` (draws, n); the others (n, 2 · measures) hold weighted numerators and denominators side
    by side. 0 where a side has no denominator.
    """
    members = given.astype(np.float64)
    shown = members @ as_given
    blank = as_blank.sum(axis=0) - members @ as_blank
    rates = [
        np.divide(one[:, ::2], one[:, 1::2], out=np.zeros_like(one[:, ::2]), where=there)
        for one in (shown, blank)
        for there in [one[:, 1::2] > 1e-9]
    ]
    both = (shown[:, 1::2] > 1e-9) & (blank[:, 1::2] > 1e-9)
    return np.asarray(np.where(both, rates[0] - rates[1], 0.0))


def _difference(
    values: Floats,
    sides: Sequence[tuple[NDArray[np.int64], Floats]],
    *,
    images: tuple[int, int],
    p_value: float | None,
) -> Difference:
    """`values` (n, 2) weighted; of each side its images and how often each is in each bootstrap."""
    rates: list[float | None] = []
    drawn: list[Floats] = []
    for places, resample in sides:
        tops, bottoms = values[places].T
        rates.append(float(tops.sum() / bottoms.sum()) if bottoms.sum() > 0 else None)
        below = resample @ bottoms
        # A bootstrap sample without a box says nothing of a rate of boxes.
        drawn.append(
            np.divide(resample @ tops, below, out=np.full_like(below, np.nan), where=below > 0)
        )
    shown, blank = rates
    if shown is None or blank is None:
        return Difference(shown, blank, None, None, None, *images)
    if min(images) < MIN_IMAGES:
        return Difference(shown, blank, shown - blank, None, None, *images)
    low, high = np.nanquantile(drawn[0] - drawn[1], [0.025, 0.975]).tolist()
    return Difference(shown, blank, shown - blank, (low, high), p_value, *images)

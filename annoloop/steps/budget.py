"""What each image of the open pool is expected to cost: boxes, or minutes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from annoloop.core import budget as core_budget
from annoloop.core.contrast import believed_boxes
from annoloop.errors import NotReadyError, SettingsError
from annoloop.records import Half, Sample, Selection, Split
from annoloop.steps.context import Context
from annoloop.steps.outlook import rates
from annoloop.steps.train import pool_predictions, predictions
from annoloop.store import iterations, samples


@dataclass(frozen=True, slots=True)
class Price:
    """A budget, and what each sample of the open pool is expected to take of it."""

    budget: float
    unit: str
    costs: Mapping[str, float]
    boxes: Mapping[str, float]
    words: tuple[str, ...]

    def largest(self, choose: Callable[[int], Selection]) -> tuple[Selection, str]:
        """The largest batch that is expected to cost no more, and what it does cost in words.

        Raises SettingsError where one image costs more.
        """
        mean = math.fsum(self.costs.values()) / len(self.costs)
        found = core_budget.largest_within(
            choose,
            self._cost,
            budget=self.budget,
            guess=int(min(self.budget / mean, len(self.costs))) if mean > 0 else len(self.costs),
            most=len(self.costs),
        )
        if found is None:
            raise SettingsError(
                f"{self.budget:g} {self.unit} do not pay for one image "
                f"({mean:.2f} {self.unit} on average)",
                fix="Ask for more, or for a number of images with `--size`.",
            )
        return found, (
            f"{self._cost(found):.1f} of {self.budget:g} {self.unit} expected for "
            f"{len(found.picks)} images"
        )

    def _cost(self, chosen: Selection) -> float:
        return math.fsum(self.costs[pick.sample_id] for pick in chosen.picks)


def price(
    context: Context, pool: Sequence[Sample], *, boxes: float | None, minutes: float | None
) -> Price | None:
    """What the pool costs in the unit of the budget, None where there is no budget.

    Raises NotReadyError where nothing tells what images cost.
    """
    if boxes is None and minutes is None:
        return None
    expected, told = expected_boxes(context, pool)
    if boxes is not None:
        return Price(boxes, "boxes", expected, expected, (told,))
    times, paced = expected_minutes(context, expected)
    return Price(minutes or 0.0, "minutes", times, expected, (told, paced))


def expected_boxes(context: Context, pool: Sequence[Sample]) -> tuple[dict[str, float], str]:
    """Boxes that each image will probably get, by sample id, and in words where that comes from.

    What the newest model believes, scaled so that it is right on mine; before there is a model,
    the mean of the images with reference labels. Raises NotReadyError where nothing tells.
    """
    with context.store.read() as connection:
        trained = bool(iterations.step_history(connection, "train"))
        mine = {s.id: s for s in samples.load(connection, split=Split.VAL, half=Half.MINE)}
        known = samples.newest_references(connection, ids=mine)
        golden = samples.newest_references(connection, split=Split.GOLDEN)
        classes = len(samples.schema(connection).classes)
    boxes = {key: sum(not label.ignored for label in one.labels) for key, one in known.items()}
    if not trained:
        counted = [*boxes.values(), *(len(one.labels) for one in golden.values())]
        if not counted:
            raise NotReadyError(
                "nothing tells yet how many boxes an image gets: there is no model, and no val or "
                "golden image has labels",
                fix="Ask for a number of images with `--size`.",
            )
        mean = float(np.mean(counted))
        words = f"{mean:.1f} boxes an image, as on {len(counted)} val and golden images"
        return dict.fromkeys((s.id for s in pool), mean), words
    model, found = pool_predictions(context, pool)
    looked = [mine[key] for key in sorted(boxes)]
    on_mine = predictions(context, model, looked)
    believed = believed_boxes([found[s.id] for s in pool], classes=classes).sum(axis=1)
    sums = believed_boxes([on_mine[s.id] for s in looked], classes=classes)
    scale = sum(boxes.values()) / float(sums.sum()) if sums.any() else 1.0
    words = f"boxes as {model} predicts them, times {scale:.2f} to be right on mine"
    return {s.id: float(n) for s, n in zip(pool, believed * scale, strict=True)}, words


def expected_minutes(context: Context, boxes: Mapping[str, float]) -> tuple[dict[str, float], str]:
    """Minutes that each image will probably take, at the pace that `decide` prices with."""
    pace = rates(context)
    words = f"{pace.seconds_per_image:.1f} s an image and {pace.seconds_per_box:.1f} s a box"
    return {
        key: (pace.seconds_per_image + pace.seconds_per_box * number) / 60
        for key, number in boxes.items()
    }, words

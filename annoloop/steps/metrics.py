"""`metrics`: COCO's numbers of two files, and what lies behind them, without a project."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from annoloop.core import details as core_details
from annoloop.core import evaluation
from annoloop.core import weighted_ap as ap
from annoloop.core.box_columns import Columns
from annoloop.core.coco_columns import coco_columns
from annoloop.core.intervals import Resample, split_in_halves
from annoloop.core.voc_ap import voc_ap
from annoloop.errors import InputError
from annoloop.records import Metrics
from annoloop.results_metrics import ImageCounts, Interval, MetricsResult, MetricsWish
from annoloop.steps.groups import GroupRule

SEED, DRAWS = 0, 1_000
INTERVALS: tuple[ap.Metric, ...] = ("AP", "AP50")


def metrics(ground_truth: Path, detections: Path, wish: MetricsWish | None = None) -> MetricsResult:
    """COCO metrics by hotcoco. Raises InputError naming the file that is not what it should be."""
    wish = wish or MetricsWish()
    truth = _truth(ground_truth)
    given = _columns(truth, ground_truth, detections)
    other = None if wish.against is None else _columns(truth, ground_truth, wish.against)
    about = _Images(truth)
    more: dict[str, Any] = {}
    if wish.details or wish.by:
        made, more = _explained(given, about, wish)
    else:
        made = evaluation.measure(given)
    return MetricsResult(
        summary=made.summary,
        per_class=made.per_class,
        images=made.images,
        boxes=made.boxes,
        detections=made.detections,
        **more | _uncertain(given, about, wish, other=other),
    )


class _Images:
    """The images' rows of a document, by id: their names, and what they are sorted into."""

    def __init__(self, truth: Mapping[str, Any]) -> None:
        self.name = {row["id"]: str(row.get("file_name", row["id"])) for row in truth["images"]}
        self.columns = {
            self.name[row["id"]]: {key: str(value) for key, value in row.items()}
            for row in truth["images"]
        }

    def sorted_by(self, rule: str, images: Sequence[Any]) -> list[str | None]:
        chosen = GroupRule(rule, self.columns)
        found = [chosen.group(self.name[key]) for key in images]
        if not any(found):
            raise InputError(
                f"{rule!r} says nothing about any image",
                fix="Use folder, column:NAME with a key of the images' rows, or rule:REGEX.",
            )
        return found


def _explained(given: Columns, about: _Images, wish: MetricsWish) -> tuple[Metrics, dict[str, Any]]:
    table = ap.tabulate(given)
    least = _operating_point(table) if wish.min_score is None else wish.min_score
    slices: dict[str, list[Any]] = {}
    if wish.by is not None:
        for key, name in zip(given.images, about.sorted_by(wish.by, given.images), strict=True):
            slices.setdefault("none" if name is None else name, []).append(key)
    made = core_details.details(given, min_score=least, slices=slices)
    more: dict[str, Any] = {"slices": made.slices} if slices else {}
    if wish.details:
        counts = ap.counts_by_image(table, least).tolist()
        more |= {
            "min_score": least,
            "details": asdict(made.explained),
            "voc": asdict(voc_ap(given)),
            "per_image": [
                ImageCounts(about.name[key], *row)
                for key, row in zip(given.images, counts, strict=True)
            ],
        }
    return made.metrics, more


def _operating_point(table: ap.ApTable) -> float:
    counted = table.what[0] != 2
    return evaluation.best_threshold(
        table.scores[counted],
        table.what[0][counted] == 1,
        positives=int(table.positives.sum()),
    )


def _uncertain(
    given: Columns, about: _Images, wish: MetricsWish, *, other: Columns | None
) -> dict[str, Any]:
    """AP and AP50 with their intervals, and the paired gain of another model."""
    if not wish.interval and other is None:
        return {}
    groups = None if wish.group is None else about.sorted_by(wish.group, given.images)
    rng = np.random.default_rng(SEED)
    draws = Resample.draw(len(given.images), rng, draws=DRAWS, groups=groups).weights
    table = ap.tabulate(given)
    halves = split_in_halves(len(given.images), rng, groups=groups)
    made = {
        "intervals": _intervals(
            {m: ap.bootstrap(table, draws, metric=m, halves=halves) for m in INTERVALS}
        )
    }
    if other is not None:
        second = ap.tabulate(other)
        made["gains"] = _intervals(
            {m: ap.compare(table, second, draws, metric=m) for m in INTERVALS}
        )
    return made


def _intervals(found: Mapping[ap.Metric, ap.Uncertain]) -> dict[str, Interval]:
    return {
        metric: Interval(one.value, *one.interval(), sd=one.sd)
        for metric, one in found.items()
        if not isnan(one.value)
    }


def _truth(file: Path) -> dict[str, Any]:
    truth = _load(file)
    if not isinstance(truth, dict) or not {"images", "categories"} <= truth.keys():
        raise InputError(
            f"{file} is not COCO ground truth (an object with images and categories)",
            fix="Give the annotations file, for instance instances_val2017.json.",
        )
    return truth


def _columns(truth: dict[str, Any], ground_truth: Path, detections: Path) -> Columns:
    try:
        return coco_columns(truth, _rows(detections, truth))
    except InputError as error:
        raise InputError(
            f"{error.problem} ({detections} for {ground_truth})", fix=error.fix
        ) from error


def _rows(file: Path, truth: dict[str, Any]) -> list[Any]:
    found = _load(file)
    rows = _same_ids(found, truth, file) if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise InputError(
            f"{file} is not a list of COCO detections",
            fix="Each detection has image_id, category_id, bbox and score.",
        )
    return rows


def _same_ids(found: dict[str, Any], truth: dict[str, Any], file: Path) -> Any:
    """Rows of a whole COCO document, with its own image and category ids turned into truth's."""
    rows = found.get("annotations")
    if not isinstance(rows, list) or not {"images", "categories"} <= found.keys():
        return rows
    try:
        theirs = {
            "image_id": {i["id"]: i["file_name"] for i in found["images"]},
            "category_id": {c["id"]: c["name"] for c in found["categories"]},
        }
        ours = {
            "image_id": {i["file_name"]: i["id"] for i in truth["images"]},
            "category_id": {c["name"]: c["id"] for c in truth["categories"]},
        }
        return [
            {**row, **{key: ours[key][theirs[key][row[key]]] for key in theirs}} for row in rows
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file}: image or class {error} is not in the ground truth",
            fix="File names and class names of the two files must be the same.",
        ) from error


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"there is no file {file}", fix="Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{file} is a folder", fix="Give the JSON file in it.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid JSON: {error}", fix="Export it again.") from error

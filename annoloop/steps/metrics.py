"""`metrics`: the twelve COCO numbers of two files, without a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from annoloop.core import evaluation
from annoloop.errors import InputError
from annoloop.results_models import MetricsResult


def metrics(ground_truth: Path, detections: Path) -> MetricsResult:
    """COCO metrics by hotcoco. Raises InputError naming the file that is not what it should be."""
    truth, found = _load(ground_truth), _load(detections)
    if not isinstance(truth, dict) or not {"images", "categories"} <= truth.keys():
        raise InputError(
            f"{ground_truth} is not COCO ground truth (an object with images and categories)",
            fix="Give the annotations file, for instance instances_val2017.json.",
        )
    rows = _same_ids(found, truth, detections) if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise InputError(
            f"{detections} is not a list of COCO detections",
            fix="Each detection has image_id, category_id, bbox and score.",
        )
    made = evaluation.coco_metrics(truth, rows)
    return MetricsResult(
        summary=made.summary,
        per_class=made.per_class,
        images=made.images,
        boxes=made.boxes,
        detections=made.detections,
    )


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

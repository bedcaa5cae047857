"""`metrics`: the twelve COCO numbers of two files, without a project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from annoloop.core import evaluation
from annoloop.errors import InputError
from annoloop.results import MetricsResult


def metrics(ground_truth: Path, detections: Path) -> MetricsResult:
    """COCO metrics by hotcoco. Raises InputError naming the file that is not what it should be."""
    truth, found = _load(ground_truth), _load(detections)
    if not isinstance(truth, dict) or not {"images", "categories"} <= truth.keys():
        raise InputError(
            f"{ground_truth} is not COCO ground truth (an object with images and categories)",
            fix="Give the annotations file, for instance instances_val2017.json.",
        )
    rows = found.get("annotations") if isinstance(found, dict) else found
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


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"there is no file {file}", fix="Check the path.") from error
    except IsADirectoryError as error:
        raise InputError(f"{file} is a folder", fix="Give the JSON file in it.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not valid JSON: {error}", fix="Export it again.") from error

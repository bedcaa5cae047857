"""Labelled images as COCO and YOLO documents, and COCO detections checked row by row: no files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from annoloop.errors import TrainerError
from annoloop.records import Box, Detection, LabeledImage


def coco_document(
    images: Sequence[LabeledImage], *, classes: Sequence[str], names: Sequence[str]
) -> dict[str, Any]:
    """A COCO data set; `names` are the images' file names, in the same order.

    Image ids count from 1 in the order given, category ids are the positions in `classes`, from 0.
    Images without boxes are there too. Ignored labels keep their mark (`iscrowd`, `difficult`).
    """
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, start=1):
        for label in image.labels:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label.class_id,
                    "bbox": list(label.box),
                    "area": label.box[2] * label.box[3],
                    "iscrowd": int(label.crowd),
                    "difficult": label.difficult,
                }
            )
    return {
        "images": [
            {
                "id": image_id,
                "sample_id": image.sample_id,
                "file_name": name,
                "width": image.width,
                "height": image.height,
            }
            for image_id, (image, name) in enumerate(zip(images, names, strict=True), start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes)],
    }


def yolo_lines(image: LabeledImage) -> str:
    """The text of a YOLO label file: class, centre and size as shares of the image, a box a line.

    Empty for an image without boxes. Ignored labels are left out: YOLO has no mark for them.
    """
    lines = []
    for label in image.labels:
        box = clipped(label.box, image.width, image.height)
        if label.ignored or box is None:
            continue
        x, y, width, height = box
        shares = (
            (x + width / 2) / image.width,
            (y + height / 2) / image.height,
            width / image.width,
            height / image.height,
        )
        lines.append(f"{label.class_id} " + " ".join(f"{share:.8g}" for share in shares) + "\n")
    return "".join(lines)


def yolo_yaml(classes: Sequence[str]) -> str:
    """The `data.yaml` beside `images/` and `labels/`; without a `path`, it may be moved."""
    return (
        "# All images are training images. If your program needs a validation set, take it from\n"
        "# these: annoloop measures on images that no trainer sees.\n"
        f"train: images\nval: images\nnc: {len(classes)}\nnames: {json.dumps(list(classes))}\n"
    )


def clipped(box: Box, width: float, height: float) -> Box | None:
    """The part of a box that lies in the image; None if there is none."""
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[0] + box[2], width), min(box[1] + box[3], height)
    if right <= left or bottom <= top:
        return None
    return left, top, right - left, bottom - top


def read_detections(
    rows: object, images: Sequence[LabeledImage], *, classes: Sequence[str], source: str
) -> list[tuple[Detection, ...]]:
    """COCO detections of `images`, in their order, best first; boxes are cut at the border.

    A row is {"image_id", "category_id", "bbox": [x, y, width, height], "score"}; `image_id` is the
    sample id, or the image's number in the order given, from 1. Raises TrainerError naming
    `source`, row and fix.
    """
    if not isinstance(rows, list):
        raise TrainerError(
            f"{source} holds a JSON {type(rows).__name__}, not a list",
            fix="Write a list with one object for each detection; [] if there is none.",
        )
    places: dict[str | int, int] = {}
    for position, image in enumerate(images):
        places[image.sample_id] = places[position + 1] = position
    found: list[list[Detection]] = [[] for _ in images]
    for number, row in enumerate(rows, start=1):
        where = f"{source}, row {number}"
        if not isinstance(row, Mapping):
            raise TrainerError(f"{where}: {row!r} is no object", fix=_FIELDS)
        key = row.get("image_id")
        if isinstance(key, bool) or not isinstance(key, str | int) or key not in places:
            raise TrainerError(
                f"{where}: image_id {key!r} was not asked for",
                fix="Copy `id` or `sample_id` of the image from the file in ANNOLOOP_IMAGES.",
            )
        position = places[key]
        found[position].append(_detection(row, images[position], classes, where))
    return [tuple(sorted(one, key=lambda d: -d.score)) for one in found]


_FIELDS = "Give every row image_id, category_id, bbox [x, y, width, height] and score."


def _detection(
    row: Mapping[str, Any], image: LabeledImage, classes: Sequence[str], where: str
) -> Detection:
    kind = row.get("category_id")
    if isinstance(kind, bool) or not isinstance(kind, int) or not 0 <= kind < len(classes):
        raise TrainerError(
            f"{where}: category_id {kind!r} is none of 0 to {len(classes) - 1}",
            fix="Use the position in ANNOLOOP_CLASSES, from 0, as in the training data.",
        )
    score = _finite(row.get("score"))
    if score is None or not 0 <= score <= 1:
        raise TrainerError(
            f"{where}: score {row.get('score')!r} is no number from 0 to 1",
            fix="Write probabilities; a network's raw logits need a sigmoid or softmax first.",
        )
    written = row.get("bbox")
    numbers = [_finite(value) for value in written] if isinstance(written, list) else []
    values = [value for value in numbers if value is not None]
    if len(values) != 4 or len(numbers) != 4:
        raise TrainerError(f"{where}: bbox {written!r} is not four finite numbers", fix=_FIELDS)
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise TrainerError(
            f"{where}: bbox {written!r} has no area",
            fix="Write x, y, width, height (not two corners), and leave out boxes without area.",
        )
    box = clipped((x, y, width, height), image.width, image.height)
    if box is None:
        raise TrainerError(
            f"{where}: bbox {written!r} lies outside the image of {image.width} × "
            f"{image.height} pixels",
            fix="Write boxes in pixels of the original image, EXIF orientation applied.",
        )
    return Detection(kind, box, score)


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None

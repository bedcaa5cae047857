"""The sample data set: real handwritten digits on made-up paper, boards and stone.

The digits come with scikit-learn (E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
Digits, UCI 1998), so nothing is downloaded. What makes detection data hard in practice is there on
purpose: a long tail of classes, rare ones at home in few scenes, strokes that are no digits, digits
that can hardly be read, images without any, and frames that look almost alike.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import InputError
from annoloop.ports import Progress, silent
from annoloop.records import Box, Label, LabeledImage, sample_id
from annoloop.scenes import LOOKS, Mark, draw, frame, handwriting

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_MOST_FREQUENT_FIRST = (1, 0, 7, 2, 3, 5, 4, 9, 6, 8)
_TAIL = 12.0
_HOMES = {9: "stone", 4: "board", 6: "stained", 8: "board"}
"""The four rarest classes, and the background where each is at home."""

_SHARE_GROUPED, _SHARE_EMPTY, _SHARE_PNG = 0.15, 0.05, 0.15


@dataclass(frozen=True, slots=True)
class _Scene:
    """What one folder shows: digits by class id, on one background, in one or more frames."""

    look: str
    digits: tuple[int, ...]
    frames: int


def make_digits(
    root: Path, *, images: int = 480, seed: int = 0, progress: Progress = silent
) -> Path:
    """Draw a detection data set into the new or empty folder `root`, and return `root`.

    `root/images/scene_0001/frame_00.jpg` … (one folder is one group; some are .png) and
    `root/labels.json`, COCO with all images reviewed, categories zero … nine with ids 1 … 10, and
    `ambiguous` on boxes of digits that can hardly be read. About 208 × 160 pixels an image, digits
    16 to 48 pixels tall, the most frequent class twelve times the rarest. The same arguments give
    the same bytes. Raises InputError for a folder with files in it and for less than one image.
    """
    if images < 1:
        raise InputError(f"{images} images cannot be drawn", fix="Ask for at least one.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder", fix="Name a new or an empty folder.")
    glyphs = handwriting()
    rows: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number, scene in enumerate(_plan(images, np.random.default_rng(seed)), start=1):
        rng = np.random.default_rng([seed, number])
        canvas, marks = draw(LOOKS[scene.look], scene.digits, glyphs=glyphs, rng=rng)
        suffix = "png" if rng.random() < _SHARE_PNG else "jpg"
        for shot in range(scene.frames):
            path = f"scene_{number:04}/frame_{shot:02}.{suffix}"
            pixels, (left, top) = frame(canvas, rng)
            _write(root / "images" / path, pixels)
            size = {"width": pixels.shape[1], "height": pixels.shape[0]}
            rows.append({"id": len(rows) + 1, "file_name": path, **size, "reviewed": True})
            for mark in marks:
                x, y, w, h = mark.box
                box = (float(x - left), float(y - top), float(w), float(h))
                boxes.append(_row(len(boxes) + 1, len(rows), mark=mark, box=box))
            progress(len(rows), images, "drawing images")
    names = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    data = {"images": rows, "annotations": boxes, "categories": names}
    (root / "labels.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return root


def labeled_digits(root: Path) -> tuple[LabeledImage, ...]:
    """What `make_digits` wrote into `root`, as images on their way to a trainer, by path."""
    data = json.loads((root / "labels.json").read_text(encoding="utf-8"))
    labels: dict[int, list[Label]] = {row["id"]: [] for row in data["images"]}
    for row in data["annotations"]:
        x, y, w, h = row["bbox"]
        labels[row["image_id"]].append(Label(row["category_id"] - 1, (x, y, w, h)))
    return tuple(
        LabeledImage(
            sample_id=sample_id(row["file_name"]),
            path=row["file_name"],
            file=str(root / "images" / row["file_name"]),
            width=row["width"],
            height=row["height"],
            labels=tuple(labels[row["id"]]),
            reviewed=True,
        )
        for row in data["images"]
    )


def _row(number: int, image: int, *, mark: Mark, box: Box) -> dict[str, Any]:
    row = {
        "id": number,
        "image_id": image,
        "category_id": mark.class_id + 1,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
    }
    return row | {"ambiguous": True} if mark.ambiguous else row


def _plan(images: int, rng: np.random.Generator) -> list[_Scene]:
    """Scenes of `images` frames in all; every class gets its share of digits, to the digit."""
    frames = []
    grouped = round(_SHARE_GROUPED * images)
    while grouped >= 2:
        frames.append(min(grouped, int(rng.integers(2, 5))))
        grouped -= frames[-1]
    frames += [1] * (images - sum(frames))
    empty = np.zeros(len(frames), dtype=bool)
    empty[len(frames) - round(_SHARE_EMPTY * images) :] = True
    order = rng.permutation(len(frames))
    counts = np.where(empty, 0, 1 + rng.binomial(3, 0.3, len(frames)))
    looks = rng.choice(list(LOOKS), len(frames), p=[look.share for look in LOOKS.values()])
    left = _shares(int(sum(counts * frames)))
    scenes = []
    for scene in order.tolist():
        look = str(looks[scene])
        digits = _classes(left, look, wanted=int(counts[scene]), rng=rng)
        left[list(digits)] -= frames[scene]
        scenes.append(_Scene(look, digits, frames[scene]))
    return scenes


def _shares(total: int) -> NDArray[np.float64]:
    """How many of `total` digits each class gets: a geometric tail from most frequent to rarest."""
    weights = _TAIL ** -np.linspace(0, 1, len(CLASSES))
    shares = np.zeros(len(CLASSES))
    shares[list(_MOST_FREQUENT_FIRST)] = np.maximum(1.0, np.round(total * weights / weights.sum()))
    return shares


def _classes(
    left: NDArray[np.float64], look: str, *, wanted: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Classes for one scene by what is left of each; the rare prefer the background of their own.

    A class comes at most once a scene as long as others are left.
    """
    weights = np.maximum(left, 0.0) + 1e-9
    for class_id, home in _HOMES.items():
        weights[class_id] *= 12.0 if home == look else 0.5
    shares = weights / weights.sum()
    return tuple(rng.choice(len(CLASSES), wanted, replace=False, p=shares).tolist())


def _write(file: Path, rgb: NDArray[np.uint8]) -> None:
    import cv2

    file.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if file.suffix == ".jpg" else []
    done, data = cv2.imencode(file.suffix, bgr, options)
    if not done:
        raise InputError(f"{file} cannot be encoded", fix="Reinstall opencv-python-headless.")
    file.write_bytes(bytes(data))

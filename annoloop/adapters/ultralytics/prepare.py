"""The training set as Ultralytics reads it: images and labels in a folder of the model's own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annoloop.core.documents import yolo_lines
from annoloop.errors import TrainerError
from annoloop.images import place, read_rgb
from annoloop.records import LabeledImage

LEAST_SIDE = 10
"""Ultralytics leaves out images with fewer pixels across or down."""

_LINKED = {".jpg", ".jpeg", ".png", ".bmp"}


def write_data(
    folder: Path,
    train: Sequence[LabeledImage],
    held: Sequence[LabeledImage],
    *,
    classes: Sequence[str],
) -> Path:
    """data.yaml, whose `val` are the images held out, or else the training images; links where
    Ultralytics sees what a person sees, and upright copies elsewhere. Raises TrainerError for an
    image that is not what was recorded, InputError for a broken one."""
    shutil.rmtree(folder, ignore_errors=True)
    for part, images in (("train", train), ("held", held)):
        (folder / "images" / part).mkdir(parents=True)
        (folder / "labels" / part).mkdir(parents=True)
        for image in images:
            _place_image(image, folder / "images" / part)
            file = folder / "labels" / part / f"{image.sample_id}.txt"
            file.write_text(yolo_lines(image), encoding="utf-8")
    side = "held" if held else "train"
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    document = (
        f"path: {json.dumps(str(folder))}\ntrain: images/train\nval: images/{side}\nnames:\n{names}"
    )
    file = folder / "data.yaml"
    file.write_text(document, encoding="utf-8")
    return file


def _place_image(image: LabeledImage, folder: Path) -> None:
    suffix = Path(image.path).suffix.lower()
    size = _plain_size(Path(image.file)) if suffix in _LINKED and "://" not in image.file else None
    if size is not None:
        check_size(image, size)
        place(image.file, folder / f"{image.sample_id}{suffix}")
        return
    rgb = read_rgb(image.file)
    check_size(image, (rgb.shape[1], rgb.shape[0]))
    _write_png(folder / f"{image.sample_id}.png", rgb)


def _plain_size(file: Path) -> tuple[int, int] | None:
    """(width, height) of an upright RGB or grey file that is whole at its end; None for others."""
    from PIL import Image

    try:
        with Image.open(file) as header, file.open("rb") as stream:
            if header.mode not in ("RGB", "L") or header.getexif().get(0x0112, 1) != 1:
                return None
            stream.seek(-2, 2)
            if header.format == "JPEG" and stream.read() != b"\xff\xd9":
                return None  # Ultralytics would repair it where it lies
            return header.size
    except Exception:  # read_rgb says what is wrong with it
        return None


def check_size(image: LabeledImage, size: tuple[int, int]) -> None:
    if size != (image.width, image.height):
        raise TrainerError(
            f"{image.path} is {size[0]} × {size[1]} pixels, but {image.width} × {image.height} "
            "were recorded",
            fix="The file changed after it was ingested: bring the old one back.",
        )


def _write_png(file: Path, rgb: NDArray[np.uint8]) -> None:
    import cv2

    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))
    if not done:
        raise TrainerError(f"{file} cannot be encoded", fix="Reinstall opencv-python-headless.")
    file.write_bytes(bytes(data))

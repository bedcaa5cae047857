"""Writes Ultralytics' layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from annoloop import foreign
from annoloop.images import place
from annoloop.records import Label, LabeledImage


class YoloWriter:
    """Writes data.yaml, images/ and labels/.

    An image that is neither labelled nor reviewed gets no label file. YOLO has no flags: crowd and
    difficult boxes are written as plain ones.
    """

    def write(
        self, out: Path, images: Sequence[LabeledImage], *, classes: Sequence[str]
    ) -> Sequence[Path]:
        """Returns data.yaml, the label files, the images. Coordinates keep twelve digits.

        Raises InputError for a path that is unsafe or there twice, and for a missing image.
        """
        paths = foreign.written_paths(image.path for image in images)
        names = foreign.written_paths((image.path for image in images), suffix=".txt")
        targets = [out / "images" / path for path in paths]
        labels = []
        for image, target, name in zip(images, targets, names, strict=True):
            place(image.file, target)
            file = out / "labels" / name
            if image.labels or image.reviewed:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(_row(label, image) for label in image.labels))
                labels.append(file)
            else:
                file.unlink(missing_ok=True)  # left by an earlier write it would say reviewed
        out.mkdir(parents=True, exist_ok=True)
        yaml = out / "data.yaml"
        quoted = (json.dumps(name, ensure_ascii=False) for name in classes)
        # Without `path` the root is the file's own folder; Ultralytics wants train and val.
        lines = ["train: images", "val: images", "names:", *(f"  - {name}" for name in quoted)]
        yaml.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [yaml, *labels, *targets]


def _row(label: Label, image: LabeledImage) -> str:
    x, y, w, h = label.box
    values = (
        (x + w / 2) / image.width,
        (y + h / 2) / image.height,
        w / image.width,
        h / image.height,
    )
    return f"{label.class_id} " + " ".join(f"{value:.12g}" for value in values) + "\n"

"""What a training set must hold, and the part of it that says when to stop: no files."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

from annoloop.errors import TrainerError
from annoloop.records import LabeledImage


def count_boxes(images: Sequence[LabeledImage], classes: Sequence[str]) -> dict[str, int]:
    """Boxes by class name. Raises TrainerError where nothing can be learnt."""
    if not images:
        raise TrainerError("there is no image to train on", fix="Annotate a batch first.")
    counts = dict.fromkeys(classes, 0)
    for image in images:
        for number, label in enumerate(image.labels, start=1):
            if not 0 <= label.class_id < len(classes):
                raise TrainerError(
                    f"{image.path}: label {number} has class {label.class_id} of {len(classes)}",
                    fix="Correct the label's class, or add the class to the schema.",
                )
            if not all(map(math.isfinite, label.box)) or min(label.box[2:]) <= 0:
                raise TrainerError(
                    f"{image.path}: label {number} has the box {label.box}, which has no area",
                    fix="Correct or delete the label.",
                )
            if not label.ignored:
                counts[classes[label.class_id]] += 1
    if not any(counts.values()):
        raise TrainerError(
            f"none of the {len(images)} training images holds a box",
            fix="Annotate images that show at least one object.",
        )
    return counts


def hold_out(
    images: Sequence[LabeledImage], share: float
) -> tuple[list[LabeledImage], list[LabeledImage]]:
    """(to train on, to stop early by): about `share` of the images, by their groups or ids alone.

    A group is held out whole or not at all: frames of a scene that is trained on would say too late
    when to stop. What was held out stays so as the training set grows. None is held out that shows
    the last images of a class, and none at all if those held out would show no object.
    """
    units: dict[str, list[LabeledImage]] = {}
    for image in images:
        units.setdefault(_unit(image), []).append(image)
    left = Counter(kind for image in images for kind in _classes(image))
    held: set[str] = set()
    for name, members in units.items():
        kinds = Counter(kind for image in members for kind in _classes(image))
        if _place(name) < share and all(left[kind] > kinds[kind] for kind in kinds):
            left.subtract(kinds)
            held.add(name)
    stops = [image for image in images if _unit(image) in held]
    if not any(map(_classes, stops)):
        return list(images), []
    return [image for image in images if _unit(image) not in held], stops


def _unit(image: LabeledImage) -> str:
    return image.sample_id if image.group is None else f"group {image.group}"


def _classes(image: LabeledImage) -> set[int]:
    return {label.class_id for label in image.labels if not label.ignored}


def _place(name: str) -> float:
    """A number in [0, 1) that is the image's or the group's own."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, person=b"hold out")
    return int.from_bytes(digest.digest(), "big") / 2**64

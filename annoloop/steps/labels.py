"""Labels of a foreign data set find their images; what does not fit is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from annoloop import foreign
from annoloop.records import ForeignDataset, ForeignImage, Problem, Sample


def match_images(
    labels: ForeignDataset, found: Mapping[str, str]
) -> tuple[dict[str, ForeignImage], list[Problem]]:
    """Our path → its labels: by our id, by relative path, or by a base name that is unique."""
    by_id = {key: path for path, key in found.items()}
    by_name: dict[str, list[str]] = {}
    for path in found:
        by_name.setdefault(PurePosixPath(path).name, []).append(path)
    matched: dict[str, ForeignImage] = {}
    problems: list[Problem] = []
    for image in labels.images:
        ours = by_id.get(image.sample_id or "") or _same_path(image.path, found, by_name)
        if ours is None:
            what = "labels for an image that is not in the image folder"
            problems.append(Problem(image.path, "", what, "left out"))
        elif ours in matched:
            what = f"a second set of labels for {ours}"
            problems.append(Problem(image.path, "", what, "left out"))
        else:
            matched[ours] = image
    return matched, problems


def _same_path(path: str, found: Mapping[str, str], by_name: Mapping[str, list[str]]) -> str | None:
    if path in found:
        return path
    candidates = by_name.get(PurePosixPath(path).name, [])
    # A longer path that ends the same way is the same file seen from another root.
    ends = [c for c in candidates if path.endswith("/" + c) or c.endswith("/" + path)]
    if len(ends) == 1:
        return ends[0]
    return candidates[0] if len(candidates) == 1 and not ends else None


def size_problems(matched: Mapping[str, ForeignImage], new: Mapping[str, Sample]) -> list[Problem]:
    """Labels that were drawn on an image of another size: their boxes may be off."""
    problems = []
    for path, image in matched.items():
        sample = new.get(path)
        if sample is None or image.width is None or image.height is None:
            continue
        if (image.width, image.height) != (sample.width, sample.height):
            what = (
                f"labels were drawn on {image.width} × {image.height}, "
                f"the file is {sample.width} × {sample.height}"
            )
            problems.append(Problem(path, "", what, "kept as they are; check them"))
    return problems


def drop_outside(
    matched: Mapping[str, ForeignImage], sizes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, ForeignImage], list[Problem]]:
    """Boxes that lie wholly outside the image file, whatever size the label file says it has."""
    kept: dict[str, ForeignImage] = {}
    problems: list[Problem] = []
    for path, image in matched.items():
        width, height = sizes[path]
        why = [foreign.why_dropped(label.box, width, height) for label in image.labels]
        labels = tuple(one for one, odd in zip(image.labels, why, strict=True) if odd is None)
        problems += [
            Problem(path, f"box {number}", odd, "dropped")
            for number, odd in enumerate(why, start=1)
            if odd is not None
        ]
        dropped = len(image.labels) - len(labels)
        kept[path] = foreign.after_drops(replace(image, labels=labels), dropped)
    return kept, problems

"""Do these answers fit this batch? Classes and images are matched before anything is merged."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from annoloop.core.rules import Rule, broken
from annoloop.errors import AnswersError, SettingsError
from annoloop.records import (
    Annotation,
    Box,
    ForeignDataset,
    ForeignImage,
    Problem,
    Sample,
    Schema,
)
from annoloop.settings import RuleSettings

LEAST_INSIDE = 0.1
"""Share of a box that has to lie in its image; less is a mistake, not a rounding."""

TOLERANCE = 1.0
"""Pixels by which a box may leave its image before it is reported; rounding does less."""


def class_order(answers: ForeignDataset, schema: Schema) -> list[int]:
    """The file's class id → ours, by name. Raises AnswersError naming the nearest known class."""
    index = schema.index()
    used = {label.class_id for image in answers.images for label in image.labels}
    unknown = [name for i, name in enumerate(answers.classes) if i in used and name not in index]
    if unknown:
        near = difflib.get_close_matches(unknown[0], schema.classes, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise AnswersError(
            f"class {unknown[0]!r} of the answers is not in this project; nothing was merged",
            fix=f"{hint}Rename it in the file, or add it: "
            f"`annoloop ingest --classes {unknown[0]}`.",
        )
    return [index.get(name, -1) for name in answers.classes]


def match_batch(
    answers: ForeignDataset, tasks: Mapping[str, Sample]
) -> tuple[dict[str, ForeignImage], list[str]]:
    """sample id → its image in the file, and the paths of images that are not in the batch.

    Our own id decides; then the relative path; then a path that ends the same way or a base
    name, each only where it is unique. Raises AnswersError if two images claim one sample.
    """
    by_path = {s.path: key for key, s in tasks.items()}
    by_name: dict[str, list[str]] = {}
    for key, sample in tasks.items():
        by_name.setdefault(PurePosixPath(sample.path).name, []).append(key)
    matched: dict[str, ForeignImage] = {}
    unknown: list[str] = []
    for image in answers.images:
        task = _task_of(image, tasks, by_path=by_path, by_name=by_name)
        if task is None:
            unknown.append(image.path)
        elif task in matched:
            raise AnswersError(
                f"{image.path!r} and {matched[task].path!r} are both {tasks[task].path}; "
                "nothing was merged",
                fix="Keep one answer for each image in the file.",
            )
        else:
            matched[task] = image
    return matched, unknown


def _task_of(
    image: ForeignImage,
    tasks: Mapping[str, Sample],
    *,
    by_path: Mapping[str, str],
    by_name: Mapping[str, Sequence[str]],
) -> str | None:
    if image.sample_id is not None:
        return image.sample_id if image.sample_id in tasks else None
    if image.path in by_path:
        return by_path[image.path]
    same_name = by_name.get(PurePosixPath(image.path).name, ())
    ends = [key for key in same_name if image.path.endswith("/" + tasks[key].path)]
    if len(ends) == 1:
        return ends[0]
    return same_name[0] if len(same_name) == 1 else None


def refuse_other_sizes(matched: Mapping[str, ForeignImage], tasks: Mapping[str, Sample]) -> None:
    """Raise AnswersError if boxes were drawn on another size than the image has."""
    for key, image in sorted(matched.items()):
        sample = tasks[key]
        drawn = (image.width or sample.width, image.height or sample.height)
        if image.labels and drawn != (sample.width, sample.height):
            raise AnswersError(
                f"{sample.path}: its boxes were drawn on {drawn[0]} × {drawn[1]} pixels, the image "
                f"has {sample.width} × {sample.height}; nothing was merged",
                fix="Scale the boxes to the image, or label the images as they were exported.",
            )


def partly_outside(given: Sequence[Annotation], tasks: Mapping[str, Sample]) -> list[Problem]:
    """Boxes that leave their image are reported. Raises AnswersError for one wholly outside."""
    problems = []
    for one in given:
        sample = tasks[one.sample_id]
        for number, label in enumerate(one.labels, start=1):
            x, y, w, h = label.box
            if _share_inside(label.box, sample) < LEAST_INSIDE:
                raise AnswersError(
                    f"{sample.path}: box {number} {label.box} lies (almost) outside the "
                    f"{sample.width} × {sample.height} image; nothing was merged",
                    fix="Correct it in the file: boxes are x, y, width, height in pixels.",
                )
            over = max(-x, -y, x + w - sample.width, y + h - sample.height)
            if over > TOLERANCE:
                what = f"leaves the image by {over:.1f} pixels"
                problems.append(Problem(sample.path, f"box {number}", what, "kept as it is"))
    return problems


def against_rules(
    rules: Mapping[str, RuleSettings],
    given: Sequence[Annotation],
    tasks: Mapping[str, Sample],
    *,
    schema: Schema,
) -> list[Problem]:
    """What breaks the rules of `[labels.rules]`. Raises SettingsError for a class without name."""
    unknown = sorted(set(rules) - set(schema.classes))
    if unknown:
        near = difflib.get_close_matches(unknown[0], schema.classes, n=1)
        raise SettingsError(
            f"annoloop.toml has rules for {unknown[0]!r}, which is no class of this project",
            fix=f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(schema.classes)}.",
        )
    known = {name: Rule(one.min_side, one.most) for name, one in rules.items()}
    return [
        Problem(tasks[one.sample_id].path, where, what, "kept as it is")
        for one in given
        for where, what in broken(one.labels, known, classes=schema.classes)
    ]


def _share_inside(box: Box, sample: Sample) -> float:
    x, y, w, h = box
    wide = min(x + w, sample.width) - max(x, 0.0)
    high = min(y + h, sample.height) - max(y, 0.0)
    return max(wide, 0.0) * max(high, 0.0) / (w * h)


def overruled(given: Sequence[Annotation], before: Mapping[str, Annotation]) -> list[str]:
    """Sample ids whose newest answer was another person's and says something else."""
    found = []
    for one in given:
        other = before.get(one.sample_id)
        if other is None or other.annotator == one.annotator:
            continue
        if (other.answer, other.labels) != (one.answer, one.labels):
            found.append(one.sample_id)
    return found

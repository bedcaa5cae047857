"""`golden check` on label files and `golden power`: the golden test without a project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from annoloop.core import golden_check
from annoloop.core.control import LookPlan
from annoloop.core.power import REPETITIONS, Scenario
from annoloop.core.power import power as simulate
from annoloop.errors import InputError
from annoloop.records import Answer, ForeignDataset, ForeignImage, Label
from annoloop.results_golden import GoldenFilesResult, GoldenPowerResult

SEED = 0
"""Files have no project to take a seed from; the same files give the same answer."""


@dataclass(frozen=True, slots=True)
class FilePass:
    """One pass over the golden images, and the name of the file that it came from."""

    name: str
    data: ForeignDataset


def check_files(
    reference: FilePass,
    new: FilePass,
    *,
    baselines: Sequence[FilePass] = (),
    looks: int = 20,
    look: int = 1,
) -> GoldenFilesResult:
    """Judge `new` against `reference` and the earlier passes; image paths are the key.

    An image that a file lists counts as answered, without boxes as empty, unless the file says
    that nobody looked. Classes are the same where their names are. Raises InputError when the
    reference and the new pass have no image in common, or two files no class, and for a look
    outside the plan.
    """
    classes = list(reference.data.classes)
    notes = []
    for one in (*baselines, new):
        added = [name for name in one.data.classes if name not in classes]
        if added and len(added) == len(one.data.classes) and _has_labels(one):
            raise InputError(
                f"{one.name} and {reference.name} have no class in common",
                fix="Give the classes the same names: " + ", ".join(reference.data.classes[:5]),
            )
        used = {one.data.classes[label.class_id] for i in one.data.images for label in i.labels}
        wrong = [name for name in added if name in used]
        if wrong:
            notes.append(f"{one.name} has classes that the reference lacks: {', '.join(wrong)}")
        classes += added
    truth, answers = _answers(reference, classes), _answers(new, classes)
    if not truth.keys() & answers.keys():
        raise InputError(
            f"{new.name} has no image of {reference.name}",
            fix="Image file names are the key; write them alike in all files.",
        )
    notes += _left_out(truth.keys(), answers.keys(), names=(reference.name, new.name))
    report = golden_check.check(
        golden_check.GoldenPasses(truth, [_answers(one, classes) for one in baselines], answers),
        classes=classes,
        terms=golden_check.Terms(plan=LookPlan(looks=looks), look=look),
        rng=np.random.default_rng(SEED),
    )
    made: dict[str, Any] = asdict(report)
    made["verdict"] = str(report.verdict)
    made["notes"] = (*notes, *report.notes)
    return GoldenFilesResult(**made)


def power(
    scenario: Scenario, *, usual: float, to: float, looks: int, repetitions: int = REPETITIONS
) -> GoldenPowerResult:
    """How often one look finds the miss rate risen from `usual` to `to`, by simulation.

    Raises InputError for rates outside [0, 1] and for impossible plans.
    """
    found = simulate(
        scenario,
        usual=usual,
        to=to,
        plan=LookPlan(looks=looks),
        rng=np.random.default_rng(SEED),
        repetitions=repetitions,
    )
    return GoldenPowerResult(
        images=scenario.images,
        boxes=scenario.boxes,
        passes=scenario.passes,
        usual=usual,
        to=to,
        looks=looks,
        repetitions=repetitions,
        **asdict(found),
    )


def _answers(one: FilePass, classes: Sequence[str]) -> dict[str, tuple[Label, ...]]:
    """Labels by image path, with class ids in the order of `classes`."""
    ids = [classes.index(name) for name in one.data.classes]
    return {
        image.path: tuple(replace(label, class_id=ids[label.class_id]) for label in image.labels)
        for image in one.data.images
        if _answered(image)
    }


def _answered(image: ForeignImage) -> bool:
    return image.reviewed is not False and image.answer not in (Answer.UNSURE, Answer.UNUSABLE)


def _has_labels(one: FilePass) -> bool:
    return any(image.labels for image in one.data.images)


def _left_out(truth: Any, answers: Any, *, names: tuple[str, str]) -> list[str]:
    said = []
    if truth - answers:
        said.append(f"{len(truth - answers)} images of {names[0]} are not answered in {names[1]}")
    if answers - truth:
        said.append(f"{len(answers - truth)} images of {names[1]} are not in {names[0]}")
    return said

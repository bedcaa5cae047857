"""What all runs of a replay share: the labelled images, their vectors, and each seed's start."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annoloop import __version__, durable, images, plugins
from annoloop.errors import InputError, SettingsError
from annoloop.ports import Progress
from annoloop.project import Project
from annoloop.records import Answer, BatchKind, Label, Sample, Source, Split
from annoloop.replay.oracle import AnsweringProject
from annoloop.replay.plan import ArmPlan, Plan, digest
from annoloop.replay.trainings import SharedTrainer
from annoloop.store import batches, samples

STAMP = "world.json"
_TRAINERS: dict[tuple[str, str], Any] = {}
"""Trainers of this process: they may hold what they have computed, from run to run."""


class ReplayProject(AnsweringProject):
    """One run's project: its models come from the replay's shared trainings."""

    trainings: Path

    def _once(self, kind: str, name: str, options: Any) -> Callable[[], Any]:
        if kind != "trainers":
            return super()._once(kind, name, options)
        key = name, json.dumps(options, sort_keys=True)
        if key not in _TRAINERS:
            _TRAINERS[key] = plugins.make(kind, name, dict(options))
        shared = SharedTrainer(_TRAINERS[key], self.trainings, name=name, options=options)
        return lambda: shared


@dataclass(frozen=True, slots=True)
class Voices:
    """Who hears what a replay does: sentences, and (done, total, what)."""

    say: Callable[[str], None]
    progress: Progress


@dataclass(frozen=True, slots=True)
class World:
    """The folder of a replay, and the facts about its data that every run rests on."""

    folder: Path
    digest: str
    classes: tuple[str, ...]
    images: int
    boxes: dict[str, int]

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def seed_folder(self, plan: Plan, seed: int) -> Path:
        about = {
            "version": __version__,  # another version may select otherwise
            "data": self.digest,
            "seed": seed,
            "first": [plan.first, plan.first_mix],
            "oracle": plan.oracle.model_dump(),
            "settings": plan.settings_of(None, seed),
        }
        return self.folder / "seeds" / f"s{seed}-{digest(about)}"

    def run_folder(self, plan: Plan, arm: ArmPlan, seed: int) -> Path:
        about = {
            "start": self.seed_folder(plan, seed).name,
            "mix": arm.mix,
            "batch": plan.size_of(arm),
            "settings": plan.settings_of(arm, seed),
        }
        safe = "".join(c if c.isalnum() or c in "-." else "_" for c in arm.name)
        return self.folder / "runs" / f"{safe}-s{seed}-{digest(about)}"

    def open(self, folder: Path, plan: Plan, arm: ArmPlan | None, seed: int) -> ReplayProject:
        project = ReplayProject(folder, overrides=plan.settings_of(arm, seed))
        project.trainings = self.folder / "trainings"
        return project


def prepare_world(plan: Plan, folder: Path, voices: Voices) -> World:
    """The project of labelled images with all vectors that arms ask for; made once, then reused."""
    folder.mkdir(parents=True, exist_ok=True)
    data, base = plan.data.model_dump(), folder / "base"
    if not (folder / STAMP).exists():
        shutil.rmtree(base, ignore_errors=True)
        _gather(plan, folder, base, voices)
        durable.write_text(folder / STAMP, json.dumps({"data": data}))
    if json.loads((folder / STAMP).read_text(encoding="utf-8"))["data"] != data:
        raise InputError(
            f"{folder} holds the replay of other data", fix="Name another folder with `--out`."
        )
    for arm in (None, *plan.arms):
        overrides = plan.settings_of(arm, 0)
        Project(base, overrides=overrides, say=voices.say, progress=voices.progress).embed()
    return _facts(folder, base)


def _facts(folder: Path, base: Path) -> World:
    project = Project(base)
    with project.store.read() as connection:
        everyone = samples.load(connection)
        known = samples.newest_references(connection, ids=[s.id for s in everyone])
        classes = samples.schema(connection).classes
    rows = [(s.id, s.sha256, s.group, repr(known[s.id].labels)) for s in everyone]
    boxes = dict.fromkeys(classes, 0)
    for one in known.values():
        for label in one.labels:
            boxes[classes[label.class_id]] += not label.ignored
    return World(folder, digest(rows), classes, len(everyone), boxes)


def _gather(plan: Plan, folder: Path, base: Path, voices: Voices) -> None:
    """Make the base project of labelled images only: what has no labels has no oracle."""
    data = plan.data
    if data.project is not None:
        source, group = _linked(Project(data.project), folder / "data")
    elif data.digits is not None:
        from annoloop.testing import make_digits

        if not (folder / "data" / "labels.json").exists():
            shutil.rmtree(folder / "data", ignore_errors=True)
            voices.say(f"making {data.digits} images with handwritten digits")
            make_digits(folder / "data", images=data.digits, seed=data.digits_seed)
        root = folder / "data"
        source, group = Source(str(root / "images"), str(root / "labels.json")), "folder"
    else:
        source, group = Source(data.images, data.labels, data.format), data.group
    project, made = Project.init(base, source, group=group, progress=voices.progress)
    with project.store.read() as connection:
        everyone = samples.load(connection)
        known = samples.newest_references(connection, ids=[s.id for s in everyone])
    if not known:
        raise InputError("no image has labels, so there is nothing to replay", fix="Give labels.")
    if len(known) < len(everyone):
        voices.say(f"{len(everyone) - len(known)} images have no labels and are left out")
        source, group = _linked(project, folder / "data")
        shutil.rmtree(base)
        Project.init(base, source, group=group, progress=voices.progress)
    voices.say(f"{len(known)} labelled images, {made.ingest.boxes} boxes")


def _linked(project: Project, folder: Path) -> tuple[Source, str]:
    """Labelled images of a project as a folder of links and a COCO file, and how they group."""
    everyone, known, classes = _known(project)
    labelled = [s for s in everyone if s.id in known]
    if not labelled:
        raise InputError(
            f"no image of {project.folder} is labelled", fix="Label some, or give another project."
        )
    shutil.rmtree(folder, ignore_errors=True)
    for sample in labelled:
        images.place(sample.uri, folder / "images" / sample.path)
    document = _coco(labelled, known, classes)
    (folder / "labels.json").write_text(json.dumps(document), encoding="utf-8")
    group = "column:group" if any(s.group for s in labelled) else "none"
    return Source(str(folder / "images"), str(folder / "labels.json"), "coco"), group


def labelled_images(project: Project) -> int:
    """How many images of a project could be replayed."""
    return len(_known(project)[1])


def _known(
    project: Project,
) -> tuple[list[Sample], dict[str, tuple[Label, ...]], tuple[str, ...]]:
    """All samples, the labels of those that have some, and the classes."""
    with project.store.read() as connection:
        everyone = samples.load(connection)
        known = {
            key: one.labels
            for key, one in samples.newest_references(
                connection, ids=[s.id for s in everyone]
            ).items()
        }
        kinds = {b.name: b.kind for b in batches.load_all(connection)}
        answers = batches.newest(
            one
            for one in batches.load_annotations(connection, split=Split.POOL)
            if kinds[one.batch] in (BatchKind.SELECT, BatchKind.RELABEL)
            and one.answer in (Answer.COMPLETE, Answer.EMPTY)
        )
        classes = samples.schema(connection).classes
    # What people answered in the loop is newer than the references that it came with.
    known |= {key: one.labels for key, one in answers.items()}
    return everyone, known, classes


def _coco(
    labelled: list[Sample], known: dict[str, tuple[Label, ...]], classes: tuple[str, ...]
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number, sample in enumerate(labelled, start=1):
        row = {"id": number, "file_name": sample.path, "reviewed": True}
        size = {"width": sample.width, "height": sample.height}
        rows.append(row | size | ({"group": sample.group} if sample.group else {}))
        for label in known[sample.id]:
            boxes.append(
                {
                    "id": len(boxes) + 1,
                    "image_id": number,
                    "category_id": label.class_id + 1,
                    "bbox": list(label.box),
                    "area": label.box[2] * label.box[3],
                    "iscrowd": int(label.ignored),
                }
            )
    names = [{"id": number, "name": name} for number, name in enumerate(classes, start=1)]
    return {"images": rows, "annotations": boxes, "categories": names}


def prepare_seed(world: World, plan: Plan, seed: int) -> Path:
    """Splits and the answered first batch of one seed: every arm starts from a copy of it."""
    final = world.seed_folder(plan, seed)
    if final.is_dir():
        return final
    part = final.with_name(f".{final.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(world.base, part)
    project = world.open(part, plan, None, seed)
    _refuse_small(plan, project.split().counts["pool"], seed)
    project.select(plan.first, mix=plan.first_mix, seed=seed)
    project.answer("v0", plan.oracle, seed=seed)
    project.annotate_close("v0")
    part.rename(final)
    return final


def _refuse_small(plan: Plan, pool: int, seed: int) -> None:
    """Raise where the pool is too small for the plan."""
    if pool < plan.first:
        raise InputError(
            f"too few labels: seed {seed} leaves {pool} images in the pool, the first batch needs "
            f"{plan.first}",
            fix="Label more images, or make `first` smaller.",
        )
    if plan.budget_images is not None and plan.budget_images > pool:
        raise SettingsError(
            f"the budget of {plan.budget_images} images is above the pool: seed {seed} leaves "
            f"{pool} images in it",
            fix="Make `budget_images` smaller.",
        )

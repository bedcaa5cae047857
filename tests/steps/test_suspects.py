"""Out-of-fold predictions and what they are for: planted label errors come first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annoloop.errors import InputError, NotReadyError, SettingsError
from annoloop.project import Project
from annoloop.records import LabeledImage, Source
from annoloop.render import to_text
from annoloop.steps.train import training_set
from annoloop.testing import make_digits


class Watched:
    """A trainer that passes everything on and remembers who was in which fit and which question."""

    def __init__(self, inner: Any, *, dies_in: int | None = None) -> None:
        self.inner, self.dies_in = inner, dies_in
        self.seen: list[set[str]] = []
        self.asked: list[set[str]] = []

    def fit(self, images: Sequence[LabeledImage], **how: Any) -> Any:
        if self.dies_in == len(self.seen):
            raise KeyboardInterrupt
        self.seen.append({one.sample_id for one in images})
        return self.inner.fit(images, **how)

    def predict(self, folder: Path, images: Sequence[LabeledImage], **how: Any) -> Iterator[Any]:
        assert not any(one.labels for one in images)
        self.asked.append({one.sample_id for one in images})
        return self.inner.predict(folder, images, **how)  # type: ignore[no-any-return]


def watch(project: Project, **how: Any) -> Watched:
    watched = Watched(project._context().trainer(), **how)
    project._made["trainers", "classical"] = watched
    return watched


def audits(project: Project) -> list[str]:
    return [event.what for event in project.history().events]


def test_every_image_is_predicted_by_a_model_that_has_not_seen_its_group(
    evaluated: Project,
) -> None:
    evaluated.run(iterations=1, annotator="oracle")
    watched = watch(evaluated)
    made = evaluated.train_folds(3)
    images, _ = training_set(evaluated._context())
    group = {one.sample_id: one.group for one in images}
    assert all(group.values())
    assert (made.images, sum(made.sizes), made.kept) == (len(images), len(images), 0)
    assert sorted(key for one in watched.asked for key in one) == sorted(group)
    for seen, asked in zip(watched.seen, watched.asked, strict=True):
        assert not seen & asked
        assert not {group[key] for key in seen} & {group[key] for key in asked}
    stored = evaluated._context().vectors.load_predictions(made.model)
    assert stored is not None
    assert set(stored) == set(group)
    assert made.detections == sum(map(len, stored.values()))
    assert "each predicted by a model of the others" in to_text(made)
    assert not list(evaluated.folder.glob("models/*.folds-*"))  # their work is done
    assert evaluated.train().model == "v1.2"  # they are no models of the loop


def test_a_killed_run_goes_on_and_a_finished_one_is_done(evaluated: Project) -> None:
    watch(evaluated, dies_in=2)
    with pytest.raises(KeyboardInterrupt):
        evaluated.train_folds(3)
    assert "train folds" not in audits(evaluated)
    with pytest.raises(NotReadyError, match="has not seen"):
        evaluated.suspects()
    resumed = Project(evaluated.folder)
    watched = watch(resumed)
    made = resumed.train_folds(3)
    assert made.kept == 2
    assert len(watched.seen) == 1
    whole = resumed._context().vectors.load_predictions(made.model)
    assert resumed.train_folds(3).kept == 3
    assert audits(resumed).count("train folds") == 1
    fresh = Project(evaluated.folder, overrides={"train": {"seed": 1}})
    assert fresh.train_folds(3).kept == 0  # another seed, other models
    assert Project(evaluated.folder).train_folds(3).kept == 0
    assert resumed._context().vectors.load_predictions(made.model) == whole


def test_folds_need_answers(project: Project) -> None:
    project.split()
    with pytest.raises(NotReadyError, match="no pool image is annotated"):
        project.train_folds(3)


def test_folds_that_cannot_be_are_refused(evaluated: Project) -> None:
    with pytest.raises(InputError, match="1 folds"):
        evaluated.train_folds(1)
    with pytest.raises(SettingsError, match="cannot be 500 folds"):
        evaluated.train_folds(500)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, list[Any]]]:
    """Generated digits, all of the pool labelled, with errors planted in one label of eight."""
    root = tmp_path_factory.mktemp("digits")
    data = make_digits(root / "data", images=300, seed=3)
    source = Source(str(data / "images"), str(data / "labels.json"))
    project, _ = Project.init(root / "p", source, group="folder")
    project.split()
    size = project.status().pool.total
    project.select(size=size)
    asked = {pick.path for pick in project.batch_show("v0").picks}
    errors, document = spoiled(json.loads((data / "labels.json").read_text()))
    document["images"] = [one for one in document["images"] if one["file_name"] in asked]
    ids = {one["id"] for one in document["images"]}
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] in ids]
    file = root / "answers.json"
    file.write_text(json.dumps(document))
    project.annotate_import(file, batch="v0", annotator="ann")
    project.annotate_close("v0")
    return project, errors


def spoiled(document: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Drop, swap and move 4 % of the labels each, draw 6 % of the images one that is none."""
    rng = np.random.default_rng(0)
    errors: dict[str, list[Any]] = {}
    rows = []
    paths = {image["id"]: image["file_name"] for image in document["images"]}
    for row in document["annotations"]:
        draw, (x, y, w, h) = rng.random(), row["bbox"]
        kind = None
        if draw < 0.04:
            kind = "missing"
        elif draw < 0.08:
            kind = "swapped"
            row = row | {"category_id": (row["category_id"] + int(rng.integers(0, 9))) % 10 + 1}
        elif draw < 0.12:
            kind = "misplaced"
            row = row | {"bbox": [x + 0.5 * w, y + 0.4 * h, w, h]}
        if kind is not None:
            errors.setdefault(paths[row["image_id"]], []).append((kind, row["bbox"]))
        if kind != "missing":
            rows.append(row)
    for image in document["images"]:
        if rng.random() < 0.06:
            box = [float(rng.integers(0, 150)), float(rng.integers(0, 100)), 24.0, 34.0]
            new = {"image_id": image["id"], "bbox": box, "iscrowd": 0, "area": 816.0}
            rows.append(new | {"category_id": int(rng.integers(1, 11)), "id": 0})
            errors.setdefault(image["file_name"], []).append(("spurious", box))
    inside = []
    sizes = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
    for number, row in enumerate(rows, start=1):
        (x, y, w, h), (width, height) = row["bbox"], sizes[row["image_id"]]
        box = [x, y, min(w, width - x), min(h, height - y)]
        if min(box[2:]) > 2:
            inside.append(row | {"id": number, "bbox": box})
    return errors, document | {"annotations": inside}


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    sides = [max(0.0, min(a[i] + a[i + 2], b[i] + b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    shared = sides[0] * sides[1]
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def test_planted_errors_come_first_and_are_offered_for_correction(
    planted: tuple[Project, dict[str, list[Any]]],
) -> None:
    project, errors = planted
    project.train_folds(4)
    found = project.suspects()
    hits = [
        any(overlap(one.box, box) >= 0.4 for _, box in errors.get(one.path, ()))
        for one in found.suspects
    ]
    images, _ = training_set(project._context())
    paths = {one.path for one in images}
    wrong = sum(len(rows) for path, rows in errors.items() if path in paths)
    chance = wrong / found.labels
    assert chance < 0.2
    top = 30
    precision = sum(hits[:top]) / top
    # Blind picks get there in less than one of 10,000 rankings.
    assert precision >= 0.45, (precision, Counter(one.kind for one in found.suspects[:top]))
    assert len({one.kind for one in found.suspects[:60]}) >= 3
    assert [one.suspicion for one in found.suspects] == sorted(
        (one.suspicion for one in found.suspects), reverse=True
    )
    text = to_text(found)
    assert found.suspects[0].text in text
    made = project.suspects_relabel(20)
    assert (made.kind, made.size) == ("relabel", 20)
    picks = project.batch_show(made.batch).picks
    bad = sum(pick.path in errors for pick in picks) / 20
    assert bad >= 2 * len(set(errors) & paths) / len(images)
    assert all(pick.reason and pick.details["suspects"] for pick in picks)
    again = project.suspects_relabel(20)
    assert not {p.path for p in picks} & {p.path for p in project.batch_show(again.batch).picks}
    project.annotate_oracle(made.batch)
    project.annotate_close(made.batch)
    after = project.suspects()
    assert "20 images were corrected since" in after.notes[0]
    assert not {one.path for one in after.suspects} & {pick.path for pick in picks}

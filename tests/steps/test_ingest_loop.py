"""A loop of another tool enters a project, by a reader that keeps its samples in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from annoloop.errors import InputError, LockedSplitError, SettingsError
from annoloop.project import Project
from annoloop.records import Answer, Source, Split, Status
from annoloop.records_loop import Drawn, ForeignLoop, LoopBoxes, LoopSample
from annoloop.steps import dataset, start
from annoloop.steps.ingest_loop import ingest_loop
from annoloop.store import batches, db, samples


class Kept:
    """A `LoopReader` of what it is given."""

    def __init__(self, loop: ForeignLoop, boxes: Mapping[str, LoopBoxes]) -> None:
        self.loop, self.drawn = loop, boxes

    def read_loop(self) -> ForeignLoop:
        return self.loop

    def boxes(self, ids: Sequence[str]) -> Mapping[str, LoopBoxes]:
        return {key: self.drawn[key] for key in ids}

    def vectors(self, ids: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        return [], np.empty((0, 0), np.float32)


def kept(root: Path, **change: Any) -> Kept:
    """The sixty images of `shapes`; splits by scene, v0 annotated, one of v1 selected."""
    document = json.loads((root / "labels.json").read_text())
    names = {one["id"]: one["name"] for one in document["categories"]}
    found, drawn = [], {}
    for image in document["images"]:
        scene = int(image["file_name"][6:9])
        side = (Split.GOLDEN, Split.VAL, Split.TEST, *[Split.POOL] * 3)[scene % 6]
        key = f"id-{image['id']}"
        status, numbers = Status.UNLABELED, ()
        if side is Split.POOL and scene < 10:
            status, numbers = (Status.ANNOTATED, (0,)) if scene < 9 else (Status.SELECTED, (1,))
        file = str(root / "images" / image["file_name"])
        found.append(LoopSample(key, file, side, status, batches=numbers, score=0.5))
        boxes = tuple(
            Drawn(
                names[one["category_id"]],
                tuple(v / s for v, s in zip(one["bbox"], (80, 64, 80, 64), strict=True)),  # type: ignore[arg-type]
            )
            for one in document["annotations"]
            if one["image_id"] == image["id"]
        )
        drawn[key] = LoopBoxes(boxes, boxes if status is Status.ANNOTATED else None)
    loop = ForeignLoop("kept", ("square", "disc"), tuple(found), human="human_labels")
    return Kept(replace(loop, **change), drawn)


def make(folder: Path, reader: Kept, group: str = "none") -> Project:
    start.prepare(folder, Source(dataset="kept"), group=group, reader=reader)
    return Project(folder)


def test_everything_enters_in_one_transaction_and_goes_on(shapes: Path, tmp_path: Path) -> None:
    reader = kept(shapes)
    project = make(tmp_path / "p", reader)
    made = ingest_loop(project._context(), reader)
    assert (made.images_added, made.images_labeled) == (60, 60)
    status = project.status()
    assert (status.open_batch, status.pool.annotated, status.pool.selected) == ("v1", 6, 2)
    assert project.annotate_oracle("v1").images == 2
    project.annotate_close("v1")
    assert project.run(iterations=1, annotator="oracle").iterations == 1
    assert ingest_loop(project._context(), reader).images_added == 0


def test_an_error_in_the_middle_leaves_nothing(shapes: Path, tmp_path: Path) -> None:
    reader = kept(shapes)
    last = max(k for k, one in reader.drawn.items() if one.human)
    strange = (Drawn("wheel", (0.1, 0.1, 0.1, 0.1)),)
    reader.drawn = {**reader.drawn, last: LoopBoxes((), strange)}
    project = make(tmp_path / "p", reader)
    with pytest.raises(InputError, match="an annotated object is 'wheel', which is no class"):
        ingest_loop(project._context(), reader)
    with project.store.read() as connection:
        counts = db.row_counts(connection)
    assert set(counts.values()) == {0}
    assert not (tmp_path / "p" / "splits.lock.json").exists()


def test_skipped_in_the_open_batch_is_answered_unusable(shapes: Path, tmp_path: Path) -> None:
    reader = kept(shapes)
    waits = next(one for one in reader.loop.samples if one.status is Status.SELECTED)
    skipped = replace(waits, status=Status.SKIPPED)
    rest = [one for one in reader.loop.samples if one is not waits]
    reader = kept(shapes, samples=(*rest, skipped))
    project = make(tmp_path / "p", reader)
    ingest_loop(project._context(), reader)
    with project.store.read() as connection:
        answers = batches.load_annotations(connection, batch="v1")
    assert [one.answer for one in answers] == [Answer.UNUSABLE]
    closed = project.annotate_close("v1")
    assert (closed.skipped, closed.pending) == (1, 1)


def test_golden_and_val_fall_back_on_what_people_drew(shapes: Path, tmp_path: Path) -> None:
    reader = kept(shapes)
    drawn = {
        one.external_id: LoopBoxes(None, reader.drawn[one.external_id].reference)
        for one in reader.loop.samples
        if one.split is Split.VAL
    }
    reader.drawn = {**reader.drawn, **drawn}
    project = make(tmp_path / "p", reader)
    made = ingest_loop(project._context(), reader)
    assert any(note.startswith(f"{len(drawn)} samples of test, val") for note in made.notes)
    with project.store.read() as connection:
        val = {s.id for s in samples.load(connection, split=Split.VAL)}
        assert val <= samples.newest_references(connection).keys()


def test_leaks_of_adopted_splits_are_said_and_nothing_is_skipped(
    shapes: Path, tmp_path: Path
) -> None:
    reader = kept(shapes)
    one = next(s for s in reader.loop.samples if s.split is Split.VAL)
    moved = replace(one, split=Split.POOL)
    rest = tuple(s for s in reader.loop.samples if s is not one)
    reader = kept(shapes, samples=(*rest, moved))
    project = make(tmp_path / "p", reader, group="folder")
    made = ingest_loop(project._context(), reader)
    assert any("pairs that look alike" in note for note in made.notes)
    assert project.status().pool.skipped == 0
    assert len(project.split().leaks) == 1


def test_adopting_labels_of_a_dataset_with_splits_is_refused(shapes: Path, tmp_path: Path) -> None:
    reader = kept(shapes)
    project = make(tmp_path / "p", reader)
    with pytest.raises(SettingsError, match="splits and statuses of its own"):
        ingest_loop(project._context(), reader, adopt=True)


def test_a_locked_sample_in_a_batch_is_refused(shapes: Path, tmp_path: Path) -> None:
    reader = kept(shapes)
    bad = tuple(
        replace(s, batches=(0,)) if s.split is Split.TEST else s for s in reader.loop.samples
    )
    reader = kept(shapes, samples=bad)
    project = make(tmp_path / "p", reader)
    with pytest.raises(LockedSplitError, match="is in test and in batch v0"):
        ingest_loop(project._context(), reader)


def test_where_files_lie(tmp_path: Path) -> None:
    def loop(*files: str) -> ForeignLoop:
        return ForeignLoop("kept", (), tuple(LoopSample(file, file) for file in files))

    assert dataset.common_folder(loop("/a/b/1.png")) == "/a/b"
    assert dataset.common_folder(loop("/a/b/1.png", "/a/c/d/2.png")) == "/a"
    assert dataset.inside("/a/c/d/2.png", "/a") == "c/d/2.png"
    with pytest.raises(InputError, match=r"no folder in common \(/a/b, /c\)"):
        dataset.common_folder(loop("/a/b/1.png", "/c/2.png"))
    with pytest.raises(InputError, match=r"/ab/1\.png does not lie in the image folder /a"):
        dataset.inside("/ab/1.png", "/a")

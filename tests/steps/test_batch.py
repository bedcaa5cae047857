"""Batches of other kinds: label a split, correct labels, review failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annoloop.errors import BatchError, InputError, NotReadyError
from annoloop.project import Project
from annoloop.records import Split, Status
from annoloop.store import batches, samples


def answer_all(project: Project, name: str, out: Path) -> None:
    project.batch_export(name, out)
    file = out / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"] = [
        {"id": n, "image_id": image["id"], "category_id": 2, "bbox": [4, 4, 9, 9]}
        for n, image in enumerate(document["images"], start=1)
    ]
    file.write_text(json.dumps(document))
    project.annotate_import(file, batch=name, annotator="ann")
    project.annotate_close(name)


def test_a_relabel_batch_corrects_the_pool_and_the_reference(
    evaluated: Project, tmp_path: Path
) -> None:
    with evaluated.store.read() as connection:
        pool = samples.load(connection, split=Split.POOL, statuses=(Status.ANNOTATED,))[0]
        val = samples.load(connection, split=Split.VAL)[0]
    made = evaluated.batch_make("relabel", paths=[pool.path, val.path])
    assert (made.batch, made.size) == ("relabel-1", 2)
    exported = evaluated.batch_export("relabel-1", tmp_path / "current")
    with evaluated.store.read() as connection:
        before = samples.newest_references(connection, ids=[pool.id, val.id])
    assert exported.boxes == sum(len(one.labels) for one in before.values())
    answer_all(evaluated, "relabel-1", tmp_path / "out")
    with evaluated.store.read() as connection:
        reference = samples.newest_references(connection, ids=[pool.id, val.id])
        newest = batches.newest(batches.load_annotations(connection, ids=[pool.id]))
        after = samples.load(connection, ids=[pool.id])[0]
    assert (reference[val.id].version, reference[val.id].source) == (2, "relabel-1")
    assert reference[pool.id].version == 1
    assert newest[pool.id].batch == "relabel-1"
    assert after.status is Status.ANNOTATED
    before = {r.name: r.boxes for r in evaluated.status().iterations}
    assert evaluated.train().boxes != before["v0"] or len(newest[pool.id].labels) == 1


def test_a_review_batch_is_made_of_failures_and_moves_nothing(
    evaluated: Project, tmp_path: Path
) -> None:
    failed = {v.path for v in evaluated.failures().failures}
    made = evaluated.batch_make("review")
    shown = evaluated.batch_show(made.batch).picks
    assert {p.path for p in shown if p.source == "review"} == failed
    assert not failed & {p.path for p in shown if p.source == "decoy"}
    with evaluated.store.read() as connection:
        before = samples.load(connection)
        references = samples.newest_references(connection)
    answer_all(evaluated, made.batch, tmp_path / "out")
    with evaluated.store.read() as connection:
        assert samples.load(connection) == before
        assert samples.newest_references(connection) == references


def test_a_relabel_batch_of_another_holds_only_what_was_answered(evaluated: Project) -> None:
    """An answer to a pending or skipped image would count for nothing: it comes back otherwise."""
    evaluated.select(4)
    first, second, *others = [pick.path for pick in evaluated.batch_show("v1").picks]
    evaluated.annotate_oracle("v1")
    evaluated.annotate_skip([first], why="too dark")
    evaluated.annotate_close("v1")
    assert evaluated.sample(first).status == "skipped"
    made = evaluated.batch_make("relabel", of="v1")
    assert {pick.path for pick in evaluated.batch_show(made.batch).picks} == {second, *others}


def test_an_unlabeled_sample_cannot_be_relabelled(evaluated: Project) -> None:
    with evaluated.store.read() as connection:
        path = samples.load(connection, split=Split.POOL, statuses=(Status.UNLABELED,))[0].path
    with pytest.raises(InputError, match="only answered samples"):
        evaluated.batch_make("relabel", paths=[path])
    with pytest.raises(InputError, match="no sample has the path"):
        evaluated.batch_make("relabel", paths=["nowhere.png"])


def test_kinds_that_make_no_sense_are_refused(evaluated: Project) -> None:
    with pytest.raises(NotReadyError, match="nothing to send out"):
        evaluated.batch_make("val")
    with pytest.raises(BatchError, match="chosen, not made"):
        evaluated.batch_make("select")
    with pytest.raises(InputError, match="no batch kind 'vall'"):
        evaluated.batch_make("vall")
    with pytest.raises(InputError, match="no batch"):
        evaluated.batch_make("review", size=0)


def test_an_export_never_marks_blind_golden(evaluated: Project, tmp_path: Path) -> None:
    chosen = evaluated.select(size=8)
    assert chosen.blind_golden == 4  # half of the batch at most
    for form in ("coco", "yolo", "voc"):
        evaluated.batch_export(chosen.batch, tmp_path / form, to=form)
    document = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert len(document["images"]) == 12
    assert len({frozenset(image) for image in document["images"]}) == 1
    text = "".join(
        file.read_text()
        for form in ("coco", "yolo", "voc")
        for file in (tmp_path / form).rglob("*")
        if file.suffix in {".json", ".yaml", ".xml"}
    )
    assert "golden" not in text
    assert len(evaluated.batch_show(chosen.batch).picks) == 8


def test_prelabels_are_the_newest_models_boxes(evaluated: Project, tmp_path: Path) -> None:
    chosen = evaluated.select(size=8)
    made = evaluated.batch_export(chosen.batch, tmp_path / "out", prelabels=True)
    assert made.boxes > 0
    document = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert len(document["annotations"]) == made.boxes
    assert not any(image.get("reviewed") for image in document["images"])


def test_prelabels_need_a_model(project: Project, tmp_path: Path) -> None:
    project.select(size=4)
    with pytest.raises(NotReadyError, match="no evaluated model"):
        project.batch_export("v0", tmp_path / "out", prelabels=True)


def test_an_export_does_not_write_over_files(evaluated: Project, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="not empty"):
        evaluated.batch_export("v0", tmp_path)

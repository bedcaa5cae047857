"""Answers from files: reconciled before they are merged, every image accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annoloop.errors import AnswersError, BatchError, InputError
from annoloop.project import Project
from annoloop.records import Status
from annoloop.store import batches, samples


@pytest.fixture
def exported(project: Project, tmp_path: Path) -> tuple[Project, dict[str, object]]:
    """Batch v0 without blind golden images, exported as COCO: the document to fill in."""
    project = Project(project.folder, overrides={"golden": {"share": 0.0}})
    project.select(size=6)
    project.batch_export("v0", tmp_path / "out")
    return project, json.loads((tmp_path / "out" / "annotations.json").read_text())


def back(project: Project, document: object, *allow: str) -> object:
    file = project.folder / "answers.json"
    file.write_text(json.dumps(document))
    return project.annotate_import(file, batch="v0", annotator="ann", allow=allow)


def box(image: dict, number: int, where: list[float] | None = None) -> dict:
    bbox = where or [1, 2, 10, 10]
    return {"id": number, "image_id": image["id"], "category_id": 1, "bbox": bbox, "iscrowd": 0}


def test_an_export_holds_every_image_of_the_batch(exported) -> None:
    project, document = exported
    assert len(document["images"]) == 6
    assert document["annotations"] == []
    assert [c["name"] for c in document["categories"]] == ["square", "disc"]
    shown = {p.path for p in project.batch_show("v0").picks}
    assert {image["file_name"] for image in document["images"]} == shown


def test_every_image_is_answered_missing_or_unknown(exported) -> None:
    project, document = exported
    images = document["images"]
    document["annotations"] = [box(images[0], 1), box(images[0], 2), box(images[1], 3)]
    images[2]["reviewed"] = True
    images[3] |= {"answer": "unsure", "why": "too dark"}
    images[4] |= {"answer": "unusable", "why": "lens cap"}
    made = back(project, document)
    assert (made.complete, made.empty, made.unsure, made.unusable) == (2, 1, 1, 1)
    assert made.boxes == 3
    assert made.missing == (images[5]["file_name"],)
    closed = project.annotate_close("v0")
    assert (closed.annotated, closed.pending, closed.skipped) == (3, 2, 1)
    with project.store.read() as connection:
        found = {s.path: (s.status, s.why) for s in samples.load(connection)}
    assert found[images[3]["file_name"]] == (Status.PENDING, "too dark")
    assert found[images[4]["file_name"]] == (Status.SKIPPED, "lens cap")
    assert found[images[5]["file_name"]][0] is Status.PENDING


def test_pending_samples_come_first_in_the_next_batch_or_go_back(exported) -> None:
    project, document = exported
    document["images"][0]["answer"] = "unsure"
    for image in document["images"][1:]:
        image["reviewed"] = True
    document["annotations"] = [box(document["images"][1], 1)]
    del document["images"][1]["reviewed"]
    back(project, document)
    project.annotate_close("v0")
    chosen = project.select(size=4, dry_run=True)
    assert chosen.picks[0].path == document["images"][0]["file_name"]
    assert chosen.picks[0].source == "pending"
    assert project.annotate_requeue().requeued == 1
    assert project.annotate_requeue().requeued == 0
    assert "pending" not in project.select(size=4, dry_run=True).by_source


def test_an_image_without_boxes_is_empty_only_if_somebody_says_so(exported) -> None:
    project, document = exported
    assert back(project, document).images == 0
    made = back(project, document, "empty_means_reviewed")
    assert (made.empty, made.missing) == (6, ())


def test_the_same_answers_twice_are_stored_once(exported) -> None:
    project, document = exported
    document["annotations"] = [box(document["images"][0], 1)]
    assert back(project, document).new_answers == 1
    assert back(project, document).new_answers == 0
    document["annotations"][0]["bbox"] = [1, 2, 11, 10]
    assert back(project, document).new_answers == 1
    with project.store.read() as connection:
        assert len(batches.load_annotations(connection, batch="v0")) == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["categories"][0].update(name="sqare"), "class 'sqare'"),
        (lambda d: d["images"][0].update(annoloop_id="beef", file_name="x.png"), "not in batch"),
        (lambda d: d["annotations"][0].update(bbox=[500, 2, 5, 5]), "outside"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2, float("nan"), 5]), "annotations"),
        (lambda d: d["annotations"][0].update(category_id=9), "annotations"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(exported, change, problem: str) -> None:
    project, document = exported
    document["annotations"] = [box(document["images"][0], 1), box(document["images"][1], 2)]
    change(document)
    with pytest.raises(InputError, match=problem) as caught:
        back(project, document)
    assert caught.value.fix
    with project.store.read() as connection:
        assert batches.load_annotations(connection) == []


def test_unknown_images_can_be_left_out_on_demand(exported) -> None:
    project, document = exported
    document["annotations"] = [box(document["images"][1], 2)]
    document["images"][0] |= {"annoloop_id": "beef", "file_name": "else.png"}
    with pytest.raises(AnswersError, match="nothing was merged"):
        back(project, document)
    made = back(project, document, "ignore_unknown")
    assert (made.unknown, made.images) == (("else.png",), 1)


def test_answers_in_yolo_an_empty_file_is_an_answer_no_file_is_none(
    project: Project, tmp_path: Path
) -> None:
    project = Project(project.folder, overrides={"golden": {"share": 0.0}})
    project.select(size=4)
    project.batch_export("v0", tmp_path / "out", to="yolo")
    paths = [p.path for p in project.batch_show("v0").picks]
    labels = [(tmp_path / "out" / "labels" / p).with_suffix(".txt") for p in paths]
    for file in labels:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
    labels[0].write_text("1 0.5 0.5 0.25 0.5\n")
    labels[1].write_text("")
    made = project.annotate_import(tmp_path / "out", batch="v0", annotator="ann", format="yolo")
    assert (made.complete, made.empty, made.boxes) == (1, 1, 1)
    assert set(made.missing) == set(paths[2:])


def test_a_batch_without_an_answer_cannot_be_closed(exported) -> None:
    project, _ = exported
    with pytest.raises(BatchError, match="no answer at all"):
        project.annotate_close("v0")
    assert project.status().open_batch == "v0"


def test_boxes_drawn_on_another_size_are_refused(exported) -> None:
    project, document = exported
    document["images"][0] |= {"width": 160, "height": 128}
    document["annotations"] = [box(document["images"][0], 1)]
    with pytest.raises(AnswersError, match="drawn on 160 × 128"):
        back(project, document)


def test_a_box_that_hardly_touches_its_image_is_refused(exported) -> None:
    project, document = exported
    document["annotations"] = [box(document["images"][0], 1, [1, 2, 9000, 10])]
    with pytest.raises(AnswersError, match="outside"):
        back(project, document)


def test_another_persons_answer_is_overruled_aloud(exported) -> None:
    project, document = exported
    document["annotations"] = [box(document["images"][0], 1)]
    assert back(project, document).notes == (
        "5 images are listed without boxes and nobody says that they were looked at: "
        '`"reviewed": true` on the image or `--empty-means reviewed` makes them empty '
        "(docs/annotate.md)",
    )
    document["annotations"] = []
    file = project.folder / "bob.json"
    file.write_text(json.dumps(document))
    made = project.annotate_import(
        file, batch="v0", annotator="bob", allow=["empty_means_reviewed"]
    )
    assert made.notes == (
        "1 images had another person's answer that differs; the newest counts, both are kept",
    )

"""What `init --fiftyone` refuses by name, leaves out and says, and does again after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annoloop.adapters.fiftyone import FiftyoneDataset
from annoloop.errors import (
    BusyError,
    InputError,
    LockedSplitError,
    NotReadyError,
    ProjectError,
    SettingsError,
    VectorError,
)
from annoloop.project import Project
from annoloop.records import Answer, Split, Status
from annoloop.store import batches, db, samples
from tests.fiftyone.shapes import DIM, bare, detections, drawn, init, notebook, stored

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)

BOX = [10.0, 10.0, 20.0, 20.0]


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Any]:
    made = notebook(fo, tmp_path / "data")
    yield made
    made.delete()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Any]:
    made = bare(fo, tmp_path / "data", scenes=15, vectors=True)
    yield made
    made.delete()


def first(dataset: Any, tag: str | None = None) -> Any:
    return (dataset if tag is None else dataset.match_tags(tag)).first()


def rows(folder: Path) -> dict[str, int]:
    with Project(folder).store.read() as connection:
        return db.row_counts(connection)


def refused(folder: Path, dataset: Any, error: type[Exception], match: str, **more: Any) -> None:
    """The project is not made, and can be made once the cause is gone."""
    with pytest.raises(error, match=match):
        init(folder, dataset, **more)
    assert not (folder / "annoloop.toml").exists()
    assert not (folder / "splits.lock.json").exists()


def test_a_dataset_or_view_that_is_not_there_is_named_with_its_neighbour(
    begun: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="FiftyOne has no dataset"):
        init(tmp_path / "p", "no such dataset")
    refused(tmp_path / "p", begun, InputError, "no saved view 'poool'", view="poool")
    begun.save_view("patches", begun.to_patches("ground_truth"))
    refused(tmp_path / "p", begun, InputError, "made of patches", view="patches")


def test_a_saved_view_alone_makes_a_project(begun: Any, tmp_path: Path) -> None:
    begun.save_view("some", begun.match_tags(["split:pool", "split:val"]).sort_by("zcore"))
    project, made = init(tmp_path / "p", begun, view="some")
    assert made.ingest.images_added == 88
    assert project.status().splits == {"pool": 56, "val": 32}
    again, more = init(tmp_path / "p", begun, view="some")
    assert (more.ingest.images_added, more.ingest.images_known) == (0, 88)
    assert again.status().samples == 88


def test_video_and_an_empty_dataset_are_refused(tmp_path: Path) -> None:
    video, empty = fo.Dataset(), fo.Dataset()
    video.add_sample(fo.Sample(filepath="/clips/a.mp4"))
    try:
        refused(tmp_path / "p", video, InputError, "holds video, not images")
        refused(tmp_path / "p", empty, InputError, "has no samples")
    finally:
        video.delete()
        empty.delete()


def test_groups_are_the_unit_of_splits_and_batches(tmp_path: Path) -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("rig", default="left")
    made = []
    scenes: dict[str, Any] = {}
    for path, boxes in sorted(drawn(tmp_path / "data", scenes=30).items()):
        scene, frame = path.split("/")
        group = scenes.setdefault(scene, fo.Group())
        one = fo.Sample(filepath=str(tmp_path / "data" / "images" / path))
        one["rig"] = group.element("left" if frame == "frame_0.png" else "right")
        one["ground_truth"] = detections(fo, boxes)
        made.append(one)
    dataset.add_samples(made, progress=False)
    try:
        with pytest.raises(SettingsError, match="is grouped by its field 'rig' already"):
            init(tmp_path / "q", dataset, group="folder")
        project, _ = init(tmp_path / "p", dataset)
        assert project.settings.split.group == "column:rig"
        ran = project.run(iterations=1, annotator="oracle")
        assert ran.iterations == 1
        sides: dict[str, set[Any]] = {}
        for one in stored(project).values():
            sides.setdefault(one.group, set()).add((one.split, one.half, one.status))
        assert len(sides) == 30
        assert all(len(found) == 1 for found in sides.values())
    finally:
        dataset.delete()


def test_a_field_can_be_the_group(small: Any, tmp_path: Path) -> None:
    ids, files = small.values(["id", "filepath"])
    scenes = {key: Path(file).parent.name for key, file in zip(ids, files, strict=True)}
    small.set_values("scene", scenes, key_field="id")
    refused(tmp_path / "p", small, SettingsError, "no field 'scen'", group="column:scen")
    project, _ = init(tmp_path / "p", small, group="column:scene")
    project.split()
    found = stored(project)
    assert {key: one.group for key, one in found.items()} == scenes


@pytest.mark.parametrize(
    ("vector", "match"),
    [
        (None, r"1 samples to choose from have no vector, first scene_00\d/frame_\d.png"),
        (np.zeros(DIM + 1, np.float32), r"others have \d+ numbers"),
        (np.full(DIM, np.nan, np.float32), "holds NaN or infinity"),
    ],
)
def test_broken_vectors_are_named_and_mended_ones_are_read_anew(
    small: Any, tmp_path: Path, vector: Any, match: str
) -> None:
    one = small.skip(7).first()
    before = one["embeddings"]
    one["embeddings"] = vector
    one.save()
    refused(tmp_path / "p", small, VectorError, match)
    ids = small.values("id")
    other = {key: np.full(DIM, float(i), np.float32) for i, key in enumerate(ids)}
    FiftyoneDataset(small).write_column("embeddings", other)
    assert before is not None
    project, _ = init(tmp_path / "p", small)
    found = stored(project)
    rows_ = project._context().vectors.load_vectors(
        "fiftyone:embeddings", [found[key].sha256 for key in ids]
    )
    assert rows_[:, 0].tolist() == [float(i) for i in range(30)]


def test_vectors_that_are_none_are_refused(small: Any, tmp_path: Path) -> None:
    small.delete_sample_field("embeddings")
    small.set_values("embeddings", ["a name"] * 30)
    refused(tmp_path / "p", small, VectorError, "are no vectors")


def test_new_images_without_vectors_say_what_to_run(small: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", small)
    project.run(iterations=1, annotator="oracle")
    more = drawn(tmp_path / "data" / "images" / "more", scenes=2)
    files = [tmp_path / "data" / "images" / "more" / "images" / path for path in more]
    added = [fo.Sample(filepath=str(file)) for file in files]
    for number, file in enumerate(files):
        file.write_bytes(file.read_bytes() + bytes([number]))  # other files, not copies
    small.add_samples(added, progress=False)
    made = project.ingest()
    assert (made.images_added, made.images_known) == (4, 30)
    assert any("4 samples have no vector" in note for note in made.notes)
    with pytest.raises(VectorError, match=r"have no `embeddings` in the dataset") as caught:
        project.score()
    assert "then run `annoloop ingest`" in caught.value.fix
    ids = small.match({"embeddings": None}).values("id")
    FiftyoneDataset(small).write_column(
        "embeddings", {key: np.ones(DIM, np.float32) for key in ids}
    )
    assert project.ingest().images_added == 0
    assert project.score().embedder == "fiftyone:embeddings"


def test_scores_without_vectors_are_kept_and_pixels_compare(begun: Any, tmp_path: Path) -> None:
    begun.delete_sample_field("embeddings")
    project, _ = init(tmp_path / "p", begun)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    scored = project._context().vectors.load_scores()[2]
    assert scored["embedder"].startswith("pixels")
    made = project.select(8)
    assert made.size == 8


@pytest.mark.parametrize("field", ["ground_truth", "human_labels"])
def test_a_label_field_of_another_type_is_refused(small: Any, tmp_path: Path, field: str) -> None:
    if small.has_sample_field(field):
        small.delete_sample_field(field)
    small.set_values(field, [fo.Classification(label="square")] * 30)
    refused(tmp_path / "p", small, InputError, f"field '{field}' .* not Detections")


def test_another_field_can_hold_the_reference(small: Any, tmp_path: Path) -> None:
    small.rename_sample_field("ground_truth", "trusted")
    project, made = init(tmp_path / "p", small, labels="trusted")
    assert made.ingest.images_labeled == 30
    assert project.ingest().images_labeled == 0
    with pytest.raises(ProjectError, match="is a project already"):
        init(tmp_path / "p", small, labels="other")
    refused(tmp_path / "q", small, InputError, "has no field 'trustd'", labels="trustd")


def test_files_that_are_gone_are_all_named_or_left_out(begun: Any, tmp_path: Path) -> None:
    gone = begun.match_tags("split:pool").limit(30).skip(28).values("filepath")
    for file in gone:
        Path(file).unlink()
    refused(tmp_path / "p", begun, InputError, r"2 files cannot be used; nothing was added")
    project, made = init(tmp_path / "p", begun, overrides={"images": {"skip_bad": True}})
    assert (made.ingest.images_added, len(made.ingest.refused)) == (118, 2)
    assert project.status().samples == 118


def test_two_samples_of_one_file_are_named_or_the_second_left_out(
    small: Any, tmp_path: Path
) -> None:
    small.add_sample(fo.Sample(filepath=small.first().filepath))
    refused(tmp_path / "p", small, InputError, "have this one file")
    _, made = init(tmp_path / "p", small, overrides={"images": {"skip_bad": True}})
    assert (made.ingest.images_added, len(made.ingest.refused)) == (30, 1)


def test_files_without_a_common_folder_are_refused(small: Any, tmp_path: Path) -> None:
    small.add_sample(fo.Sample(filepath="/elsewhere/a.png"))
    refused(tmp_path / "p", small, InputError, "have no folder in common")
    root = str(tmp_path / "data")
    refused(tmp_path / "p", small, InputError, "does not lie in the image folder", images=root)


def test_classes_outside_the_schema(begun: Any, tmp_path: Path) -> None:
    one = first(begun, "split:test")
    one["ground_truth"] = detections(fo, [("wheel", BOX), ("disc", BOX)])
    one.save()
    _, made = init(tmp_path / "p", begun)
    assert any("left out: wheel 1" in note for note in made.ingest.notes)
    assert made.ingest.classes == ("square", "disc")
    one = first(begun, "annotated:v0")
    one["human_labels"] = detections(fo, [("wheel", BOX)])
    one.save()
    refused(tmp_path / "q", begun, InputError, "an annotated object is 'wheel'")
    _, made = init(tmp_path / "q", begun, overrides={"images": {"skip_bad": True}})
    assert [p.what for p in made.ingest.problems] == ["the class 'wheel' is not in the schema"]


@pytest.mark.parametrize(
    ("box", "match"),
    [([0.1, 0.1, float("nan"), 0.2], "the box of an object 'disc'"), ([0.1, 0.2], "the box of")],
)
def test_boxes_that_are_no_boxes_are_named(
    small: Any, tmp_path: Path, box: list[float], match: str
) -> None:
    one = small.first()
    one["ground_truth"] = fo.Detections(detections=[fo.Detection(label="disc", bounding_box=box)])
    one.save()
    refused(tmp_path / "p", small, InputError, match)


def test_boxes_outside_their_image_are_dropped_and_listed(small: Any, tmp_path: Path) -> None:
    one = small.first()
    one["ground_truth"] = detections(fo, [("disc", [-30.0, 5.0, 20.0, 20.0]), ("disc", BOX)])
    one.save()
    _, made = init(tmp_path / "p", small)
    assert [(p.row, p.action) for p in made.ingest.problems] == [("box 1", "dropped")]


def test_boxes_outside_an_annotated_image_are_refused(begun: Any, tmp_path: Path) -> None:
    one = first(begun, "annotated:v0")
    one["human_labels"] = detections(fo, [("disc", [-30.0, 5.0, 20.0, 20.0]), ("disc", BOX)])
    one.save()
    refused(tmp_path / "p", begun, InputError, "is annotated, and its box 1 is none: .* outside")
    _, made = init(tmp_path / "p", begun, overrides={"images": {"skip_bad": True}})
    assert [(p.row, p.action) for p in made.ingest.problems] == [("box 1", "dropped")]


def test_a_sample_of_two_splits_and_a_locked_one_in_a_batch(begun: Any, tmp_path: Path) -> None:
    begun.match_tags("split:val").limit(1).tag_samples("batch:v1")
    refused(tmp_path / "p", begun, LockedSplitError, "is in val and in batch v1")
    begun.match_tags("split:val").untag_samples("batch:v1")
    begun.match_tags("split:pool").limit(1).tag_samples("split:test")
    refused(tmp_path / "p", begun, LockedSplitError, "is in two splits: pool, test")


def test_unknown_statuses_missing_splits_and_batches_without_splits(
    begun: Any, tmp_path: Path
) -> None:
    one = first(begun, "split:pool")
    status = one["annotation_status"]
    one["annotation_status"] = "done"
    one.save()
    refused(tmp_path / "p", begun, InputError, "`annotation_status` of .* is 'done'")
    one["annotation_status"] = status
    one.save()
    tags = ["split:val", "split:test", "split:golden"]
    for view in ("val_set", "test_set", "golden_qa"):
        begun.delete_saved_view(view)
    begun.untag_samples(tags)
    refused(tmp_path / "p", begun, NotReadyError, "but not 2 samples of val")
    begun.delete_saved_view("pool")
    begun.untag_samples("split:pool")
    refused(tmp_path / "p", begun, NotReadyError, "has batches .* but no splits")


def test_saved_views_that_nobody_saved_are_read_from_the_tags(begun: Any, tmp_path: Path) -> None:
    begun.delete_saved_views()
    project, _ = init(tmp_path / "p", begun)
    assert project.status().splits == {"golden": 16, "pool": 56, "test": 16, "val": 32}


def test_annotated_samples_without_a_field_of_boxes_are_refused(begun: Any, tmp_path: Path) -> None:
    begun.delete_sample_field("human_labels")
    refused(tmp_path / "p", begun, InputError, "annotated, but there is no field of people's boxes")


def test_the_lock_of_the_dataset_holds_here_too(small: Any, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    with FiftyoneDataset(small).alone(at=datetime.now(UTC)):
        refused(tmp_path / "p", small, BusyError, "another process works on dataset")


def test_run_again_it_adds_nothing_and_after_a_change_what_is_new(
    begun: Any, tmp_path: Path
) -> None:
    init(tmp_path / "p", begun)
    before = rows(tmp_path / "p")
    init(tmp_path / "p", begun)
    Project(tmp_path / "p").ingest()
    assert rows(tmp_path / "p") == before
    waiting = begun.match({"annotation_status": "selected"}).limit(4)
    skipped, unsure, *done = waiting.values("id")
    adapter = FiftyoneDataset(begun)
    begun.set_values(
        "human_labels", {key: detections(fo, [("disc", BOX)]) for key in done}, key_field="id"
    )
    adapter.write_column(
        "annotation_status",
        {skipped: "skipped", unsure: "pending", **dict.fromkeys(done, "annotated")},
    )
    project = Project(tmp_path / "p")
    made = project.ingest()
    assert any("4 answers to batch v1 came in" in note for note in made.notes)
    with project.store.read() as connection:
        answers = batches.newest(batches.load_annotations(connection, batch="v1"))
    found = stored(project)
    assert answers[found[skipped].id].answer is Answer.UNUSABLE
    assert answers[found[unsure].id].answer is Answer.UNSURE
    assert {answers[found[key].id].answer for key in done} == {Answer.COMPLETE}
    assert project.ingest().notes == ()
    closed = project.annotate_close("v1")
    assert (closed.annotated, closed.skipped, closed.pending) == (6, 1, 3)
    now = stored(project)
    assert {now[key].status for key in done} == {Status.ANNOTATED}


def test_new_samples_join_the_pool_and_locked_ones_stay_out(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    root = tmp_path / "data" / "images" / "more"
    files = [str(root / "images" / path) for path in drawn(root, scenes=1)]
    for number, file in enumerate(files):
        Path(file).write_bytes(Path(file).read_bytes() + bytes([number]))
    new = [fo.Sample(filepath=file, tags=["split:pool"]) for file in files]
    new[1].tags = ["split:val"]
    for one in new:
        one["embeddings"] = np.ones(DIM, np.float32)
    begun.add_samples(new, progress=False)
    made = project.ingest()
    assert made.images_added == 1
    assert [p.what for p in made.problems] == [
        "is in val of the dataset, and the splits of this project are locked"
    ]
    one = stored(project)[new[0].id]
    assert one.split is Split.POOL


def test_batches_that_the_dataset_makes_meanwhile_are_named(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    begun.match_tags("split:pool").limit(2).tag_samples("batch:v7")
    assert any("has not (v7)" in note for note in project.ingest().notes)


def test_a_corrected_reference_is_not_overruled(begun: Any, tmp_path: Path) -> None:
    from annoloop.records import Label, Reference

    project, _ = init(tmp_path / "p", begun)
    one = next(s for s in stored(project).values() if s.split is Split.VAL)
    mended = Reference(one.id, (Label(0, (1.0, 2.0, 3.0, 4.0)),), "relabel-1")
    with project.store.write() as connection:
        samples.add_references(connection, [mended], who="ann", at="now")
    project.ingest()
    with project.store.read() as connection:
        assert samples.newest_references(connection)[one.id].labels == mended.labels


@pytest.mark.parametrize(
    "place",
    [
        "annoloop.store.vectors.VectorStore.add_vectors",
        "annoloop.store.vectors.VectorStore.write_scores",
        "annoloop.store.batches.add_annotations",
        "annoloop.steps.adopt_loop.write_manifest",
    ],
)
def test_killed_anywhere_it_goes_on_and_ends_the_same(
    begun: Any, tmp_path: Path, place: str
) -> None:
    module, _, name = place.rpartition(".")
    code = (
        "import os, signal, sys, pkgutil\n"
        "from annoloop.project import Project\n"
        "from annoloop.records import Source\n"
        f"owner = pkgutil.resolve_name('{module}')\n"
        f"setattr(owner, '{name}', lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL))\n"
        "Project.init(sys.argv[1], Source(dataset=sys.argv[2]))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p"), begun.name], check=False
    )
    assert killed.returncode == -9
    init(tmp_path / "p", begun)
    init(tmp_path / "whole", begun)
    assert rows(tmp_path / "p") == rows(tmp_path / "whole")
    manifest = "splits.lock.json"
    assert (tmp_path / "p" / manifest).read_text() == (tmp_path / "whole" / manifest).read_text()


def test_labels_of_people_without_splits_are_adopted_on_demand(small: Any, tmp_path: Path) -> None:
    small.rename_sample_field("ground_truth", "human_labels")
    small.set_values("annotation_status", ["annotated"] * 30)
    _, made = init(tmp_path / "p", small)
    assert any("(annotated 30)" in note for note in made.ingest.notes)
    project, _ = init(tmp_path / "q", small, labels="human_labels", adopt_labels=True)
    project.split()
    status = project.status()
    assert status.pool.annotated == status.pool.total > 10
    assert [b.name for b in status.batches] == ["v0"]


def test_the_dataset_is_no_folder_and_other_label_files_add_no_images(
    small: Any, tmp_path: Path
) -> None:
    project, _ = init(tmp_path / "p", small)
    stray = tmp_path / "data" / "images" / "stray.png"
    stray.write_bytes(Path(small.first().filepath).read_bytes())
    from annoloop.records import Source

    made = project.ingest(Source(labels=str(tmp_path / "data" / "labels.json")))
    assert (made.images_added, made.images_known) == (0, 30)
    with pytest.raises(ProjectError, match="is a project already, of the dataset"):
        Project.init(tmp_path / "p", Source(images=str(tmp_path / "data" / "images")))


def test_the_command_prints_one_document(begun: Any, tmp_path: Path) -> None:
    script = str(Path(sys.executable).with_name("annoloop"))
    command = [script, "init", str(tmp_path / "p"), "--fiftyone", begun.name]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert (found["ingest"]["images_added"], found["split"]) == (120, True)
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"next: annoloop status --project {tmp_path / 'p'}" in said.stdout
    verbs = (["status"], ["golden", "stats"], ["batch", "show", "v0"], ["doctor"])
    for verb in verbs:
        subprocess.run(
            [script, *verb, "--project", str(tmp_path / "p")], capture_output=True, check=True
        )

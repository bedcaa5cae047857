"""Ingest: what is new comes in, what is wrong is named, and nothing half."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from annoloop.errors import InputError, ProjectError
from annoloop.project import Project
from annoloop.records import Source, Split, Status
from annoloop.store import samples

from ..conftest import draw_shapes  # noqa: TID252


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_shapes(tmp_path / "data", scenes=10, seed=1)


def start(data: Path, **options: object) -> Project:
    source = Source(str(data / "images"), str(data / "labels.json"))
    project, _ = Project.init(data / "p", source, group="folder", **options)
    return project


def everyone(project: Project) -> dict[str, object]:
    with project.store.read() as connection:
        return {s.path: s for s in samples.load(connection)}


def test_equal_base_names_in_folders_are_different_samples(data: Path) -> None:
    found = everyone(start(data))
    assert len(found) == 20
    assert len({s.id for s in found.values()}) == 20
    assert found["scene_000/frame_0.png"].group == "scene_000"
    assert (found["scene_000/frame_0.png"].width, found["scene_000/frame_0.png"].height) == (80, 64)


def test_running_again_adds_only_what_is_new(data: Path) -> None:
    project = start(data)
    before = everyone(project)
    again = project.ingest(Source(None, str(data / "labels.json")))
    assert (again.images_added, again.images_known, again.images_labeled) == (0, 20, 0)
    shutil.copy(data / "images" / "scene_000" / "frame_0.png", data / "images" / "new.png")
    more = project.ingest()
    assert (more.images_added, more.images_known) == (1, 20)
    after = everyone(project)
    assert {path: after[path] for path in before} == before


def test_a_bad_image_is_named_and_nothing_is_added(data: Path) -> None:
    (data / "images" / "scene_003" / "frame_0.png").write_bytes(b"")
    (data / "images" / "scene_004" / "zz.jpg").write_text("not an image")
    with pytest.raises(InputError) as caught:
        start(data)
    for name in ("scene_003/frame_0.png", "scene_004/zz.jpg"):
        assert name in caught.value.problem
    assert "--skip-bad" in caught.value.fix
    assert not (data / "p" / "annoloop.toml").exists()
    project = start(data, overrides={"images": {"skip_bad": True}})
    assert len(everyone(project)) == 19
    again = Project(project.folder, overrides={"images": {"skip_bad": True}}).ingest()
    assert {p.file for p in again.refused} == {"scene_003/frame_0.png", "scene_004/zz.jpg"}


def test_labels_without_an_image_are_refused_or_listed(data: Path) -> None:
    document = json.loads((data / "labels.json").read_text())
    document["images"].append({"id": 999, "file_name": "ghost.png", "width": 5, "height": 5})
    (data / "labels.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"ghost\.png"):
        start(data)
    source = Source(str(data / "images"), str(data / "labels.json"))
    skipping = {"images": {"skip_bad": True}}
    _, made = Project.init(data / "p", source, overrides=skipping)
    assert [p.file for p in made.ingest.problems] == ["ghost.png"]


def test_labels_of_another_image_size_are_reported(data: Path) -> None:
    document = json.loads((data / "labels.json").read_text())
    document["images"][0] |= {"width": 160, "height": 128}
    (data / "labels.json").write_text(json.dumps(document))
    source = Source(str(data / "images"), str(data / "labels.json"))
    _, made = Project.init(data / "p", source)
    assert "drawn on 160 × 128, the file is 80 × 64" in made.ingest.problems[0].what


def test_new_images_join_the_pool_only(data: Path) -> None:
    project = start(data)
    project.split()
    locked = {p: (s.split, s.half) for p, s in everyone(project).items()}
    in_val = next(p for p, (side, _) in locked.items() if side is Split.VAL)
    folder = data / "images" / Path(in_val).parent
    shutil.copy(data / "images" / in_val, folder / "later.png")
    fresh = draw_shapes(data / "more", scenes=1, frames=1, seed=77)
    shutil.copytree(fresh / "images" / "scene_000", data / "images" / "scene_900")
    project.ingest()
    after = everyone(project)
    assert {p: (after[p].split, after[p].half) for p in locked} == locked
    of_the_group = after[str(Path(in_val).parent / "later.png")]
    assert (of_the_group.split, of_the_group.status) == (Split.POOL, Status.SKIPPED)
    assert "would leak" in of_the_group.why
    assert after["scene_900/frame_0.png"].split is Split.POOL
    assert after["scene_900/frame_0.png"].status is Status.UNLABELED


def test_a_new_near_duplicate_of_a_locked_image_is_skipped(data: Path) -> None:
    project = start(data)
    project.split()
    in_test = next(p for p, s in everyone(project).items() if s.split is Split.TEST)
    shutil.copy(data / "images" / in_test, data / "images" / "copy.png")
    made = project.ingest()
    copy = everyone(project)["copy.png"]
    assert (copy.split, copy.status) == (Split.POOL, Status.SKIPPED)
    assert "near-duplicate of" in copy.why
    assert any("skipped" in note for note in made.notes)


def test_adopted_labels_are_annotated_batch_v0(data: Path) -> None:
    document = json.loads((data / "labels.json").read_text())
    keep = {image["id"] for image in document["images"][:12]}
    document["images"] = document["images"][:12]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] in keep]
    (data / "labels.json").write_text(json.dumps(document))
    source = Source(str(data / "images"), str(data / "labels.json"), adopt_labels=True)
    project, _ = Project.init(data / "p", source, group="folder")
    project.split()
    now = project.status()
    with_boxes = {a["image_id"] for a in document["annotations"]}
    paths = {i["file_name"] for i in document["images"] if i["id"] in with_boxes}
    adopted = {p for p, s in everyone(project).items() if s.status is Status.ANNOTATED}
    pool = {p for p, s in everyone(project).items() if s.split is Split.POOL}
    assert adopted == paths & pool
    assert now.batches[0].by_source == {"adopted": len(adopted)}
    assert now.iterations[0].name == "v0"
    assert now.next_step == "`annoloop golden check`"
    with pytest.raises(InputError, match="before the splits"):
        project.ingest(source)


def test_groups_by_column_and_by_rule(data: Path) -> None:
    document = json.loads((data / "labels.json").read_text())
    for image in document["images"]:
        image["video"] = f"clip {image['id'] % 5}"
    (data / "labels.json").write_text(json.dumps(document))
    source = Source(str(data / "images"), str(data / "labels.json"))
    by_column, _ = Project.init(data / "a", source, group="column:video")
    assert {s.group for s in everyone(by_column).values()} == {f"clip {i}" for i in range(5)}
    by_rule, _ = Project.init(data / "b", source, group="rule:scene_00(.)/")
    assert everyone(by_rule)["scene_007/frame_1.png"].group == "7"


def test_classes_can_be_named_without_labels(data: Path) -> None:
    source = Source(str(data / "images"), classes=("disc", "square"))
    _, made = Project.init(data / "p", source)
    assert made.ingest.classes == ("disc", "square")


def test_a_project_can_be_moved_with_its_images(data: Path, tmp_path: Path) -> None:
    start(data)
    moved = tmp_path / "elsewhere"
    shutil.move(data, moved)
    project = Project(moved / "p", overrides={"images": {"root": "../images"}})
    project.run(iterations=1, annotator="oracle")
    assert project.status().iterations[0].metric is not None
    images = next(c for c in project.doctor().checks if c.name == "images")
    assert images.found == "20 files, all there"


def test_a_grouping_that_finds_nothing_is_refused(data: Path) -> None:
    source = Source(str(data / "images"), str(data / "labels.json"))
    for group in ("column:scen", "rule:clip_(.)"):
        with pytest.raises(InputError, match="finds no group in any image"):
            Project.init(data / "p", source, group=group)


def test_an_existing_project_is_not_made_again_from_other_images(data: Path) -> None:
    start(data)
    (data / "other").mkdir()
    with pytest.raises(ProjectError, match="a project already"):
        Project.init(data / "p", Source(str(data / "other")))
    assert start(data).status().samples == 20


def test_a_lost_database_is_named(data: Path) -> None:
    project = start(data)
    project.split()
    project.store.file.unlink()
    with pytest.raises(ProjectError, match=r"annoloop\.db is gone"):
        Project(data / "p")


def test_a_replaced_image_is_found_by_doctor(data: Path) -> None:
    project = start(data)
    (data / "images" / "scene_000" / "frame_0.png").write_bytes(b"something else")
    check = next(c for c in project.doctor().checks if c.name == "images")
    assert not check.ok
    assert "scene_000/frame_0.png" in check.found

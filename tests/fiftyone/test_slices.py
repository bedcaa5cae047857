"""Groups with slices that are no images: the images are the samples, the others go with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import annoloop.fiftyone as loop
from annoloop.adapters.fiftyone import FiftyoneDataset
from annoloop.errors import InputError
from annoloop.records import Split, Status
from tests.fiftyone.conftest import samples_of
from tests.fiftyone.shapes import detections, drawn, init, stored

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)

KINDS = {"lidar": "/clouds/{}.pcd", "model": "/scenes/{}.fo3d"}


def step(dataset: Any, size: int | None = None, **options: Any) -> Any:
    return loop.iterate(dataset, size, say=lambda _: None, **options)


def grouped(pairs: list[dict[str, Any]], *, default: str = "lidar") -> Any:
    """A dataset with a group of each: its images by slice, a point cloud and a 3D scene."""
    dataset = fo.Dataset()
    dataset.add_group_field("rig", default=default)
    made = []
    for number, images in enumerate(pairs):
        group = fo.Group()
        others = {name: fo.Sample(filepath=f.format(number)) for name, f in KINDS.items()}
        for name, one in {**others, **images}.items():
            one["rig"] = group.element(name)
            made.append(one)
    dataset.add_samples(made, progress=False)
    return dataset


def every(dataset: Any) -> Any:
    return dataset.select_group_slices(_allow_mixed=True)


def by_group(dataset: Any, field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for group, value in zip(*every(dataset).values(["rig.id", field]), strict=True):
        found.setdefault(group, set()).add(str(value))
    return found


@pytest.fixture
def begun() -> Iterator[Any]:
    """60 groups; what people did in the App was done to the slice that it showed, the cloud."""
    made = samples_of(120)
    for one in made:
        one.tags, one["annotation_status"] = [], None
    dataset = grouped([{"left": a, "right": b} for a, b in zip(made[::2], made[1::2], strict=True)])
    clouds = dataset.select_group_slices("lidar").values("id")
    for place, key in enumerate(clouds):
        split = ("golden", "val", "pool", "pool", "pool", "pool")[place % 6]
        dataset.select_group_slices("lidar").select(key).tag_samples(f"split:{split}")
    yield dataset
    dataset.delete()


@pytest.mark.parametrize("saved", [False, True])
def test_a_step_takes_groups_whole_and_all_slices_show_it(begun: Any, saved: bool) -> None:
    if saved:
        begun.save_view("pool", begun.match_tags("split:pool"))
        begun.save_view("golden_qa", begun.match_tags("split:golden"))
    first = step(begun, 20)
    assert (first.size, first.progress.total) == (20, 80)
    assert any("lidar (point-cloud), model (3d)" in note for note in first.notes)
    statuses, tags = by_group(begun, "annotation_status"), every(begun).match_tags("batch:v0")
    assert sorted(statuses.values(), key=str) == [{"None"}] * 50 + [{"selected"}] * 10
    assert tags.count() == 40
    assert tags.match_tags("to_annotate").count() == 40
    assert None not in tags.values("annoloop_reason")
    assert begun.load_saved_view("batch_v0").count() == 20
    done = every(begun).match_tags("batch:v0")
    done.untag_samples("to_annotate")
    done.set_values("annotation_status", ["annotated"] * 40)
    second = step(begun, 10)
    assert (second.batch, second.size, second.progress.annotated) == ("v1", 10, 20)
    both = every(begun).match_tags(["batch:v0", "batch:v1"], all=True)
    assert both.count() == 0


def test_a_half_written_batch_is_taken_back_from_all_slices(
    begun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = by_group(begun, "tags")

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fo.Dataset, "save_view", dies)
        with pytest.raises(KeyboardInterrupt):
            step(begun, 20)
    assert every(begun).match_tags("batch:v0").count() == 40
    with FiftyoneDataset(begun).alone(at=loop.datetime.now(loop.UTC)):
        pass
    assert by_group(begun, "tags") == before
    assert "selected" not in every(begun).count_values("annotation_status")


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Any]:
    """34 groups of two images of a scene, on disk; nothing was done with them."""
    made: dict[str, dict[str, Any]] = {}
    for path, boxes in sorted(drawn(tmp_path / "data", scenes=34).items()):
        scene, frame = path.removesuffix(".png").split("/")
        one = fo.Sample(filepath=str(tmp_path / "data" / "images" / path))
        one["ground_truth"] = detections(fo, boxes)
        made.setdefault(scene, {})[frame] = one
    dataset = grouped(list(made.values()), default="frame_0")
    yield dataset
    dataset.delete()


def test_a_project_of_the_images_shows_itself_on_every_slice(images: Any, tmp_path: Path) -> None:
    project, made = init(tmp_path / "p", images)
    assert made.ingest.images_added == 68
    assert any("are no images" in note for note in made.ingest.notes)
    project.run(iterations=1, annotator="oracle")
    project.select()
    assert project.fiftyone_sync().conflicts == ()
    found = stored(project)
    sides = {one.group: one.split for one in found.values()}
    assert by_group(images, "rig.id").keys() == sides.keys()
    for name in KINDS:
        slices = images.select_group_slices(name)
        for group, tags in zip(*slices.values(["rig.id", "tags"]), strict=True):
            assert f"split:{sides[group]}" in tags
    selected = {one.group for one in found.values() if one.status is Status.SELECTED}
    shown = by_group(images, "annotation_status")
    assert {group for group, said in shown.items() if said == {"selected"}} == selected != set()
    again = project.fiftyone_sync()
    assert (sum(again.changed.values()), again.views, again.info, again.conflicts) == (
        0,
        (),
        (),
        (),
    )


def test_what_the_other_slices_say_is_adopted(images: Any, tmp_path: Path) -> None:
    """Splits on the cloud or on one image are of the group; so is a status on the cloud."""
    clouds = images.select_group_slices("lidar")
    for place, key in enumerate(clouds.values("id")):
        split = ("golden", "val", "test", "pool", "pool")[place % 5]
        clouds.select(key).tag_samples(f"split:{split}")
        if place % 5 == 3:
            clouds.select(key).tag_samples("batch:v0")
            clouds.select(key).set_values("annotation_status", ["selected"])
        if place % 5 == 4:
            group = clouds.select(key).values("rig.id")
            images.select_groups(group).select_group_slices("frame_1").tag_samples("split:pool")
            clouds.select(key).untag_samples("split:pool")
    project, _ = init(tmp_path / "p", images)
    found = stored(project)
    sides: dict[str, set[Split]] = {}
    for one in found.values():
        sides.setdefault(one.group, set()).add(one.split)
    assert all(len(found) == 1 for found in sides.values())
    counts = {side: sum(side in found for found in sides.values()) for side in Split}
    assert counts == {Split.GOLDEN: 7, Split.VAL: 7, Split.TEST: 7, Split.POOL: 13}
    status = project.status()
    assert (status.open_batch, status.pool.selected) == ("v0", 14)
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    assert images.select_group_slices("frame_0").match_tags("batch:v0").count() == 7


def test_groups_without_images_are_refused() -> None:
    dataset = fo.Dataset()
    dataset.add_group_field("rig", default="lidar")
    group = fo.Group()
    dataset.add_samples(
        [
            fo.Sample(filepath="/a.pcd", rig=group.element("lidar")),
            fo.Sample(filepath="/a.mp4", rig=group.element("film")),
        ],
        progress=False,
    )
    try:
        with pytest.raises(InputError, match=r"film \(video\), lidar \(point-cloud\)"):
            step(dataset, 10)
    finally:
        dataset.delete()

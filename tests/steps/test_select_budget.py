"""`select` with a budget of boxes or minutes, and with few picks of a scene."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from annoloop.errors import InputError, SettingsError
from annoloop.project import Project
from annoloop.records import Source


@pytest.fixture
def loose(shapes: Path, tmp_path: Path) -> Project:
    """One iteration decided, no groups: the frames of a scene are samples like any."""
    source = Source(str(shapes / "images"), str(shapes / "labels.json"))
    made, _ = Project.init(tmp_path / "loose", source)
    made.run(iterations=1, annotator="oracle")
    return made


def test_as_many_images_as_the_boxes_pay_for(loose: Project) -> None:
    chosen = loose.select(boxes=15, dry_run=True)
    spent, where = chosen.notes[1:3]
    assert spent.endswith(f"of 15 boxes expected for {chosen.size} images")
    assert 8 <= float(spent.split()[0]) <= 15
    assert "boxes as v0 predicts them, times " in where
    assert chosen.quotas["coverage"] == math.floor(0.3 * chosen.size)
    more = loose.select(size=chosen.size + 1, dry_run=True)
    assert [p.path for p in loose.select(size=chosen.size, dry_run=True).picks] == [
        p.path for p in chosen.picks
    ]
    assert more.size == chosen.size + 1


def test_all_of_the_pool_where_the_budget_is_large(loose: Project) -> None:
    left = loose.status().pool.unlabeled
    assert loose.select(boxes=1e9, dry_run=True).size == left


def test_before_there_is_a_model_reference_labels_tell_the_mean(project: Project) -> None:
    chosen = project.select(boxes=12, dry_run=True)
    assert any("boxes an image, as on" in note for note in chosen.notes)
    assert chosen.size >= 4


def test_minutes_go_by_the_settings_until_answers_have_times(
    loose: Project, tmp_path: Path
) -> None:
    settings = {"cost": {"seconds_per_image": 30, "seconds_per_box": 0}}
    chosen = Project(loose.folder, overrides=settings).select(minutes=4, dry_run=True)
    assert chosen.size == 8
    assert any(n == "30.0 s an image and 0.0 s a box" for n in chosen.notes)
    loose.select(size=12)
    loose.batch_export("v1", tmp_path / "out", to="coco")
    file = next((tmp_path / "out").rglob("*.json"))
    document = json.loads(file.read_text())
    for image in document["images"]:
        image |= {"answer": "empty", "seconds": 60.0}
    file.write_text(json.dumps(document))
    loose.annotate_import(file, batch="v1", annotator="ann")
    loose.annotate_close("v1")
    # Empty images took six times as long as the settings say: so does everything.
    chosen = loose.select(minutes=14, dry_run=True)
    assert "60.0 s an image and 42.0 s a box" in chosen.notes
    assert 2 <= chosen.size <= 14
    document["images"][0]["seconds"] = -1
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"images\[0\].*-1 seconds"):
        loose.annotate_import(file, batch="v1", annotator="ann")


@pytest.mark.parametrize(
    "asked",
    [
        {"size": 4, "boxes": 10},
        {"boxes": 0},
        {"minutes": -1},
        {"boxes": float("nan")},
        {"size": 0},
    ],
)
def test_what_cannot_be_asked(project: Project, asked: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="size"):
        project.select(**asked)


def test_a_budget_that_pays_for_nothing_is_named(loose: Project) -> None:
    with pytest.raises(SettingsError, match="do not pay for one image"):
        loose.select(boxes=1e-9, mix={"uncertainty": 1.0}, dry_run=True)


def test_few_picks_of_one_scene(loose: Project) -> None:
    capped = Project(
        loose.folder, overrides={"select": {"scene": "folder", "per_scene": 1}}
    ).select(size=8, dry_run=True)
    assert max(Counter(p.path.split("/")[0] for p in capped.picks).values()) == 1
    with pytest.raises(SettingsError, match=r"select\.scene.*\n.*none, folder, group, or rule"):
        Project(loose.folder, overrides={"select": {"scene": "column:camera"}}).select(size=4)


def test_groups_may_keep_splits_apart_and_still_give_single_frames(
    evaluated: Project, shapes: Path
) -> None:
    def scenes(**select: object) -> Counter[str]:
        project = Project(evaluated.folder, overrides={"select": select})
        return Counter(p.path.split("/")[0] for p in project.select(size=6, dry_run=True).picks)

    frames = Counter(p.parent.name for p in (shapes / "images").rglob("*.png"))
    whole = scenes()
    assert all(number == frames[scene] > 1 for scene, number in whole.items())
    singly = scenes(whole_groups=False)
    assert any(number < frames[scene] for scene, number in singly.items())
    assert set(scenes(whole_groups=False, scene="group", per_scene=1).values()) == {1}


def test_the_summary_names_the_classes_to_expect(loose: Project) -> None:
    loose.predict()
    summary = json.loads(json.dumps(loose.select(size=8, dry_run=True).summary))
    expected = summary["classes_expected"]
    assert set(expected) == {"square", "disc"} == set(summary["classes_expected_at_random"])
    assert sum(expected.values()) == pytest.approx(summary["boxes_expected"], abs=0.2)

"""What a project shows in its dataset: equal to the row, once, and over nobody's own changes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import annoloop.fiftyone as loop
from annoloop.adapters.fiftyone import FiftyoneDataset
from annoloop.errors import NotReadyError, ProjectError
from annoloop.project import Project
from annoloop.records import Half, Source, Split
from annoloop.store import batches
from tests.fiftyone.shapes import (
    BOX,
    HEIGHT,
    WIDTH,
    bare,
    detections,
    init,
    notebook,
    nothing,
    raw,
    stored,
)

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Any]:
    made = notebook(fo, tmp_path / "data")
    yield made
    made.delete()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Any]:
    made = bare(fo, tmp_path / "data", scenes=30)
    yield made
    made.delete()


def test_a_bare_dataset_shows_the_whole_loop(small: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", small)
    with pytest.raises(NotReadyError, match="no splits to show"):
        project.fiftyone_sync()
    project.run(iterations=1, annotator="oracle")
    project.select()
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    small.reload()
    evaluated = small.exists("predictions").evaluate_detections(
        "predictions", gt_field="ground_truth", eval_key="theirs", progress=False
    )
    assert evaluated.metrics()["support"] > 0  # FiftyOne reads what was written beside its SDK
    found = stored(project)
    views = {"test_set": "test", "val_set": "val", "golden_qa": "golden", "pool": "pool"}
    for view, side in views.items():
        theirs = small.load_saved_view(view).values("id")
        assert set(theirs) == {k for k, s in found.items() if s.split == side}
    by_id = {s.id: key for key, s in found.items()}
    with project.store.read() as connection:
        for name in ("v0", "v1"):
            picks = [p for p, blind in batches.load_picks(connection, name) if not blind]
            view = small.load_saved_view(f"batch_{name}")
            assert set(view.values("id")) == {by_id[p.sample_id] for p in picks}
            for pick in picks:
                assert f"source:{pick.source}" in small[by_id[pick.sample_id]].tags
            reasons = dict(zip(*view.values(["id", "annoloop_reason"]), strict=True))
            assert reasons == {by_id[p.sample_id]: p.reason for p in picks}
        answers = batches.newest(batches.load_annotations(connection, batch="v0"))
    statuses = dict(zip(*small.values(["id", "annotation_status"]), strict=True))
    pool = {key: s for key, s in found.items() if s.split is Split.POOL}
    assert {key: statuses[key] for key in pool} == {k: str(s.status) for k, s in pool.items()}
    assert {statuses[key] for key in found.keys() - pool.keys()} == {None}
    waiting = small.match_tags("to_annotate")
    assert set(waiting.values("id")) == set(small.match_tags("batch:v1").values("id"))
    done = small.match_tags("annotated:v0")
    for key, human in zip(*done.values(["id", "human_labels"]), strict=True):
        sample = found[key]
        wanted = answers[sample.id].labels
        for label, one in zip(wanted, human.detections, strict=True):
            x, y, w, h = one.bounding_box
            size = (x * WIDTH, y * HEIGHT, w * WIDTH, h * HEIGHT)
            assert size == pytest.approx(label.box, abs=1e-6)
    entry = small.info["eval_v0"]
    assert entry["mAP"] == project.status().iterations[0].ap_val
    assert entry["train_samples"] == project.status().iterations[0].images
    failed = small.load_saved_view("eval_v0_failures").values("id")
    tagged = small.match_tags(["failure:high_fn", "failure:high_fp"]).values("id")
    assert set(failed) == set(tagged)
    assert {found[key].half for key in failed} <= {Half.MINE}
    scores = project._context().vectors.load_scores()
    theirs = dict(zip(*small.values(["id", "zcore"]), strict=True))
    for key, score in zip(scores[0], scores[1].tolist(), strict=True):
        assert theirs[by_id[key]] == score
    predicted = small.exists("predictions").values("id")
    assert set(predicted) >= {key for key, s in found.items() if s.split is Split.VAL}
    assert loop.progress(small).pool.selected == project.status().pool.selected


def test_a_second_sync_changes_nothing(small: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", small)
    project.run(iterations=1, annotator="oracle")
    project.fiftyone_sync()
    before = raw(small)
    assert nothing(project.fiftyone_sync())
    assert raw(small) == before
    step = loop.iterate(small, 5, dry_run=True, say=lambda _: None)
    assert (step.batch, step.size) == ("v1", 5)  # the notebooks' step reads what was written


def test_an_adopted_loop_is_shown_as_it_was_and_as_it_goes_on(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    first = project.fiftyone_sync()
    val = begun.match_tags("split:val").count()
    assert first.changed == {**dict.fromkeys(first.changed, 0), "tags": val}  # its halves
    assert (first.views, first.info, first.conflicts) == (("val_gauge", "val_mine"), (), ())
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    project.run(iterations=1)
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    assert made.info == ("eval_v1", "annoloop")
    theirs, ours = loop.progress(begun), project.status()
    for name in ("annotated", "selected", "pending", "skipped", "unlabeled"):
        assert getattr(theirs.pool, name) == getattr(ours.pool, name), name
    assert begun.match_tags("to_annotate").match_tags("batch:v1").count() == 0
    assert begun.match_tags("annotated:v1").count() == 10
    assert nothing(project.fiftyone_sync())


def test_what_people_changed_is_reported_and_stays(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    ids = begun.match_tags("batch:v1").values("id")
    adapter = FiftyoneDataset(begun)
    adapter.write_column("annotation_status", {ids[0]: "skipped"})
    begun.select(ids[1]).untag_samples("batch:v1")
    theirs = detections(fo, [("disc", BOX)])
    begun.set_values("human_labels", {ids[2]: theirs}, key_field="id")
    adapter.write_column("predictions", {ids[3]: detections(fo, [])})
    before = {key: begun[key].to_dict() for key in ids[:2]}
    made = project.fiftyone_sync()
    changed = {p.file for p in made.conflicts}
    found = stored(project)
    assert changed == {found[key].path for key in ids[:3]}
    begun.reload()
    for key in ids[:2]:
        now = begun[key].to_dict()
        for field in ("tags", "annotation_status"):
            assert now[field] == before[key][field]
    kept = begun[ids[2]]["human_labels"].detections
    assert [(one.label, one.bounding_box) for one in kept] == [
        (one.label, one.bounding_box) for one in theirs.detections
    ]
    forced = project.fiftyone_sync(force=True)
    assert forced.conflicts == ()
    begun.reload()
    assert begun[ids[0]]["annotation_status"] == "annotated"
    assert "batch:v1" in begun[ids[1]].tags


def test_predictions_and_evaluations_of_others_stay(begun: Any, tmp_path: Path) -> None:
    FiftyoneDataset(begun).write_column("predictions", {begun.first().id: detections(fo, [])})
    begun.info["eval_v1"] = {"mAP": 0.5}
    begun.save()
    project, made = init(tmp_path / "p", begun)
    assert any("`predictions` stay" in note for note in made.ingest.notes)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    project.decide()
    synced = project.fiftyone_sync()
    assert any("`predictions` there are not of this project" in note for note in synced.notes)
    assert [p.file for p in synced.conflicts] == ["eval_v1"]
    begun.reload()
    assert begun.info["eval_v1"] == {"mAP": 0.5}
    assert begun.exists("predictions").count() == 1


def test_answers_in_the_app_come_in_and_nothing_is_a_conflict(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    project.fiftyone_sync()
    waiting = begun.match({"annotation_status": "selected"})
    done = waiting.limit(4).values("id")
    begun.set_values(
        "human_labels", {key: detections(fo, [("disc", BOX)]) for key in done}, key_field="id"
    )
    FiftyoneDataset(begun).write_column("annotation_status", dict.fromkeys(done, "annotated"))
    before = raw(begun)
    made = project.fiftyone_sync()
    assert (made.to_ingest, nothing(made)) == (4, True)
    assert raw(begun) == before
    project.ingest()
    made = project.fiftyone_sync()
    assert (made.to_ingest, nothing(made)) == (0, True)
    project.annotate_close("v1")
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    begun.reload()
    assert begun.match_tags("annotated:v1").count() == 8
    assert begun.match_tags("to_annotate").count() == 0
    assert nothing(project.fiftyone_sync())


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("tag_samples", 1),
        ("tag_samples", 4),
        ("untag_samples", 1),
        ("set_values", 1),
        ("set_values", 3),
        ("as_stored", 1),  # before people's boxes
        ("as_stored", 8),  # before predictions
        ("save_view", 2),
    ],
)
def test_a_crash_in_the_middle_is_repaired_by_the_next(
    begun: Any, tmp_path: Path, method: str, call: int
) -> None:
    project, _ = init(tmp_path / "p", begun)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    project.run(iterations=1)
    project.select()
    owners = {"save_view": "fiftyone.Dataset", "as_stored": "mirror"}
    owner = owners.get(method, "fiftyone.DatasetView")
    code = (
        "import os, signal, sys, fiftyone\n"
        "from annoloop.adapters.fiftyone import mirror\n"
        "from annoloop.project import Project\n"
        f"real, calls = {owner}.{method}, []\n"
        "def dying(*a, **k):\n"
        "    calls.append(1)\n"
        f"    if len(calls) == {call}:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*a, **k)\n"
        f"{owner}.{method} = dying\n"
        "Project(sys.argv[1]).fiftyone_sync()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")], check=False)
    assert done.returncode == -9
    project.annotate_oracle("v2")  # and the project goes on before it is repaired
    project.annotate_close("v2")
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    theirs, ours = loop.progress(begun), project.status()
    for name in ("annotated", "selected", "pending", "skipped", "unlabeled"):
        assert getattr(theirs.pool, name) == getattr(ours.pool, name), name
    assert begun.exists("predictions").count() == begun.info["annoloop"]["predicted"]
    assert nothing(project.fiftyone_sync())


def test_predictions_that_are_made_later_are_shown_too(small: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", small)
    project.run(iterations=1, annotator="oracle")
    first = project.fiftyone_sync().changed["predictions"]
    assert project.predict().images > first
    assert project.fiftyone_sync().changed["predictions"] > first
    assert nothing(project.fiftyone_sync())


def test_groups_and_views(tmp_path: Path) -> None:
    from tests.fiftyone.shapes import drawn

    dataset = fo.Dataset()
    dataset.add_group_field("rig", default="frame_0")
    scenes: dict[str, Any] = {}
    made = []
    for path, boxes in sorted(drawn(tmp_path / "data", scenes=34).items()):
        scene, frame = path.removesuffix(".png").split("/")
        one = fo.Sample(filepath=str(tmp_path / "data" / "images" / path))
        one["rig"] = scenes.setdefault(scene, fo.Group()).element(frame)
        one["ground_truth"] = detections(fo, boxes)
        made.append(one)
    dataset.add_samples(made, progress=False)
    everyone = dataset.select_group_slices()
    some = everyone.values("id")[:60]
    dataset.save_view("some", dataset.select_groups(everyone.select(some).values("rig.id")))
    try:
        project, _ = init(tmp_path / "p", dataset, view="some")
        project.run(iterations=1, annotator="oracle")
        project.fiftyone_sync()
        dataset.reload()
        flat = dataset.select_group_slices()
        assert flat.match_tags("split:pool").count() == project.status().pool.total
        assert flat.match_tags("annotated:v0").count() == project.status().pool.annotated > 0
        assert flat.exists("annotation_status").count() == project.status().pool.total
        assert nothing(project.fiftyone_sync())
        assert project.status().samples == 60
    finally:
        dataset.delete()


def test_a_project_of_a_folder_has_nothing_to_show(tmp_path: Path) -> None:
    from tests.conftest import draw_shapes

    draw_shapes(tmp_path / "data", scenes=5)
    source = Source(images=str(tmp_path / "data" / "images"))
    project, _ = Project.init(tmp_path / "p", source)
    with pytest.raises(ProjectError, match="not made of a dataset"):
        project.fiftyone_sync()


def test_the_command(begun: Any, tmp_path: Path) -> None:
    project, _ = init(tmp_path / "p", begun)
    project.annotate_oracle("v1")
    project.annotate_close("v1")
    script = str(Path(sys.executable).with_name("annoloop"))
    command = [script, "fiftyone", "sync", "--project", str(tmp_path / "p")]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["changed"]["status"] == 6
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "nothing to push" in again.stdout

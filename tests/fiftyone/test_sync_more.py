"""What stands beside the loop: halves of val, batches outside of it, golden passes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annoloop.project import Project
from annoloop.records import Half, Split
from annoloop.steps import passes
from annoloop.store import batches, iterations, samples
from tests.fiftyone.shapes import BOX, bare, detections, init, nothing, raw, stored

fo = pytest.importorskip(
    "fiftyone", reason="no FiftyOne with a database here: `make test-fiftyone`"
)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Any]:
    made = bare(fo, tmp_path / "data", scenes=30)
    yield made
    made.delete()


@pytest.fixture
def project(small: Any, tmp_path: Path) -> Project:
    """One qualification pass, v0 with blind golden images, a relabel batch that is open."""
    made, _ = init(tmp_path / "p", small)
    made.split()
    first = made.golden_baseline().batch
    made.annotate_oracle(first)
    made.annotate_close(first)
    made.run(iterations=1, annotator="oracle")
    return made


def relabelled(project: Project) -> list[str]:
    """A relabel batch of an annotated and a val sample; their paths."""
    with project.store.read() as connection:
        answered = batches.load_annotations(connection, batch="v0")
        everyone = {s.id: s for s in samples.load(connection)}
    pool = next(s for a in answered if (s := everyone[a.sample_id]).split is Split.POOL)
    val = next(s for s in everyone.values() if s.split is Split.VAL)
    project.batch_make("relabel", paths=[pool.path, val.path])
    return [pool.path, val.path]


def test_the_halves_of_val_are_tags_and_views(small: Any, project: Project) -> None:
    project.fiftyone_sync()
    small.reload()
    found = stored(project)
    for half in Half:
        theirs = set(small.load_saved_view(f"val_{half}").values("id"))
        assert theirs == {key for key, s in found.items() if s.half is half} != set()
    one = small.load_saved_view("val_mine").first().id
    small.select(one).untag_samples("val:mine")
    small.select(one).tag_samples("val:gauge")
    made = project.fiftyone_sync()
    assert [p.file for p in made.conflicts] == [found[one].path]
    assert "val:gauge" in small[one].tags
    project.fiftyone_sync(force=True)
    small.reload()
    assert {"val:mine", "val:gauge"} & set(small[one].tags) == {"val:mine"}


def test_batches_outside_the_loop_are_shown_and_wait_for_nobody_there(
    small: Any, project: Project
) -> None:
    paths = relabelled(project)
    project.fiftyone_sync()
    small.reload()
    found = stored(project)
    wanted = {key for key, s in found.items() if s.path in paths}
    assert set(small.load_saved_view("batch_relabel-1").values("id")) == wanted
    assert small.match_tags("to_annotate").count() == 0
    assert small.match_tags("annotated:relabel-1").count() == 0
    golden = {key for key, s in found.items() if s.split is Split.GOLDEN}
    assert set(
        small.match_tags(["batch:golden-1", "annotated:golden-1"], all=True).values("id")
    ) == (golden)
    before = {key: small[key]["annotation_status"] for key in wanted}
    project.annotate_oracle("relabel-1")
    project.annotate_close("relabel-1")
    elsewhere = small.match_tags("split:pool").limit(2).values("id")
    small.select(elsewhere).tag_samples("batch:val-7")  # of an earlier project
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    small.reload()
    assert set(small.match_tags("annotated:relabel-1").values("id")) == wanted
    assert {key: small[key]["annotation_status"] for key in wanted} == before
    assert small.match_tags("batch:val-7").count() == 2
    assert nothing(project.fiftyone_sync())
    small.select(next(iter(wanted))).untag_samples("batch:relabel-1")
    assert len(project.fiftyone_sync().conflicts) == 1


def test_each_golden_pass_is_a_field_once(small: Any, project: Project) -> None:
    with project.store.read() as connection:
        blind = passes.blind_pass(connection, iterations.newest_iteration(connection))
    made = project.fiftyone_sync()
    assert made.changed["golden"] > len(blind) > 0
    small.reload()
    found = stored(project)
    golden = {key for key, s in found.items() if s.split is Split.GOLDEN}
    assert set(small.exists("golden_pass_1").values("id")) == golden
    shown = small.exists("golden_v0")
    assert {found[key].id for key in shown.values("id")} == blind.keys()
    for truth, answer in zip(
        *shown.values(["ground_truth.detections.label", "golden_v0.detections.label"]), strict=True
    ):
        assert sorted(answer) == sorted(truth)  # an oracle is right
    entry = small.info["golden_passes"]["golden_v0"]
    boxes = sum(map(len, blind.values()))
    assert (entry["batch"], entry["role"], entry["images"], entry["boxes"]) == (
        "v0",
        "blind",
        len(blind),
        boxes,
    )
    assert entry["verdict"] == project.golden_stats().history[0]["verdict"]
    assert small.info["golden_passes"]["golden_pass_1"]["annotator"] == "oracle"
    first = small.info["golden_qa_history"][0]
    assert (first["iteration"], first["samples_with_labels"]) == (
        0,
        project.golden_stats().history[0]["samples_with_labels"],
    )
    before = raw(small)
    assert nothing(project.fiftyone_sync())
    assert raw(small) == before
    key = shown.first().id
    small.set_values("golden_v0", {key: detections(fo, [("disc", BOX)] * 7)}, key_field="id")
    assert nothing(project.fiftyone_sync())
    assert len(small[key]["golden_v0"].detections) == 7  # what people did stays


def test_fields_and_entries_of_others_stay(small: Any, project: Project) -> None:
    key = small.first().id
    small.set_values("golden_v0", {key: detections(fo, [("disc", BOX)])}, key_field="id")
    theirs = {"iteration": 0, "samples_with_labels": 1, "total_detections": 2, "top_classes": {}}
    small.info["golden_qa_history"] = [theirs]
    small.save()
    made = project.fiftyone_sync()
    assert [p.file for p in made.conflicts] == ["golden_v0"]
    assert any("1 entries of others" in note for note in made.notes)
    small.reload()
    assert small.exists("golden_v0").values("id") == [key]
    assert small.info["golden_qa_history"] == [theirs]
    assert "golden_v0" not in small.info["golden_passes"]
    assert project.fiftyone_sync(force=True).conflicts == ()
    small.reload()
    assert small.info["golden_qa_history"][0]["by"] == "annoloop"
    assert small.info["golden_passes"]["golden_v0"]["images"] > 1
    assert nothing(project.fiftyone_sync())


def test_passes_half_written_by_a_killed_sync_are_finished(
    small: Any, project: Project, tmp_path: Path
) -> None:
    code = (
        "import os, signal, sys\n"
        "from annoloop.adapters.fiftyone import mirror\n"
        "from annoloop.project import Project\n"
        "pushing = mirror.FiftyoneShow.push_values\n"
        "def dying(self, name, values):\n"
        "    if name == 'golden_v0':\n"
        "        pushing(self, name, dict(list(values.items())[:1]))\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    pushing(self, name, values)\n"
        "mirror.FiftyoneShow.push_values = dying\n"
        "Project(sys.argv[1]).fiftyone_sync()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")], check=False)
    assert done.returncode == -9
    small.reload()
    assert small.exists("golden_v0").count() == 1
    made = project.fiftyone_sync()
    assert made.conflicts == ()
    small.reload()
    assert small.exists("golden_v0").count() == small.info["golden_passes"]["golden_v0"]["images"]
    assert nothing(project.fiftyone_sync())

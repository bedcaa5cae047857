"""Two processes at once: serialised, or refused by name; never mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annoloop.project import Project
from annoloop.records import Source

from . import ledgers
from .conftest import draw_shapes
from .processes import Verbs


@pytest.fixture(scope="module")
def verbs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verbs]:
    made = Verbs(tmp_path_factory.mktemp("verbs") / "outcomes")
    yield made
    made.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with labels; `p`, a project whose v0 is open, and answers of two people to it."""
    data = draw_shapes(tmp_path_factory.mktemp("data"), scenes=14, seed=3)
    made, _ = Project.init(
        data / "p", Source(str(data / "images"), str(data / "labels.json")), group="folder"
    )
    made.select(size=6)
    made.batch_export("v0", data / "out")
    document = json.loads((data / "out" / "annotations.json").read_text())
    for who, category in (("ann", 1), ("bob", 2)):
        document["annotations"] = [
            {"id": n, "image_id": image["id"], "category_id": category, "bbox": [1, 2, 10, 10]}
            for n, image in enumerate(document["images"], start=1)
        ]
        (data / f"{who}.json").write_text(json.dumps(document))
    return data


@pytest.fixture
def folder(data: Path, tmp_path: Path) -> Path:
    return shutil.copytree(data / "p", tmp_path / "p")


def together(
    verbs: Verbs, folder: Path, *calls: tuple[str, dict[str, Any]]
) -> tuple[list[str], dict[str, list[tuple[object, ...]]]]:
    """How each call ended, all started at once, and the rows afterwards."""
    running = [verbs.start(folder, verb, **args) for verb, args in calls]
    ends = [verbs.wait(one) for one in running]
    assert ledgers.broken(folder) == []
    return ends, ledgers.rows(folder)


REFUSED = ("BusyError: ", "BatchOpenError: ", "BatchClosedError: ")


def refused(ends: list[str]) -> list[str]:
    assert all(end == "done" or end.startswith(REFUSED) for end in ends), ends
    return [end for end in ends if end != "done"]


def close(folder: Path) -> None:
    project = Project(folder)
    project.annotate_oracle("v0")
    project.annotate_close("v0")


def test_two_selects_take_one_batch(verbs: Verbs, folder: Path) -> None:
    close(folder)
    Project(folder).decide()
    ends, rows = together(verbs, folder, ("select", {"size": 4}), ("select", {"size": 4}))
    assert len(refused(ends)) == 1
    assert [row[0] for row in rows["batches"]] == ["v0", "v1"]
    assert sum(row[3] == "select" for row in rows["audit"]) == 2


def test_the_same_answers_at_once_are_stored_once(verbs: Verbs, data: Path, folder: Path) -> None:
    call = ("annotate_import", {"file": str(data / "ann.json"), "batch": "v0", "annotator": "ann"})
    ends, rows = together(verbs, folder, *[call] * 4)
    assert ends == ["done"] * 4
    pictures = len(json.loads((data / "ann.json").read_text())["images"])
    assert len(rows["annotations"]) == pictures
    assert sum(row[3] == "annotate import" for row in rows["audit"]) == 1


def test_answers_of_two_people_at_once_are_both_kept(
    verbs: Verbs, data: Path, folder: Path
) -> None:
    calls = [
        ("annotate_import", {"file": str(data / f"{who}.json"), "batch": "v0", "annotator": who})
        for who in ("ann", "bob")
    ]
    ends, rows = together(verbs, folder, *calls)
    assert ends == ["done", "done"]
    pictures = len(json.loads((data / "ann.json").read_text())["images"])
    who = [row[3] for row in rows["annotations"]]
    assert sorted(who) == ["ann"] * pictures + ["bob"] * pictures
    assert who in (sorted(who), sorted(who, reverse=True))  # one after the other, not mixed


def test_an_import_and_a_close_are_one_after_the_other(
    verbs: Verbs, data: Path, folder: Path
) -> None:
    Project(folder).annotate_import(data / "ann.json", batch="v0", annotator="ann")
    calls = (
        ("annotate_import", {"file": str(data / "bob.json"), "batch": "v0", "annotator": "bob"}),
        ("annotate_close", {"batch": "v0"}),
    )
    ends, rows = together(verbs, folder, *calls)
    late = refused(ends)
    assert ends[1] == "done"
    answered = {row[3] for row in rows["annotations"]}
    assert answered == ({"ann"} if late else {"ann", "bob"})
    closed = next(row for row in rows["audit"] if row[3] == "annotate close")
    if not late:  # then the answers were there before the batch was closed
        imports = [row[0] for row in rows["audit"] if row[3] == "annotate import"]
        assert max(imports) < closed[0]


def test_two_closes_close_once(verbs: Verbs, data: Path, folder: Path) -> None:
    Project(folder).annotate_import(data / "ann.json", batch="v0", annotator="ann")
    ends, rows = together(verbs, folder, *[("annotate_close", {"batch": "v0"})] * 2)
    assert len(refused(ends)) == 1
    assert sum(row[3] == "annotate close" for row in rows["audit"]) == 1


def test_a_select_during_an_import_sees_the_open_batch(
    verbs: Verbs, data: Path, folder: Path
) -> None:
    calls = (
        ("annotate_import", {"file": str(data / "ann.json"), "batch": "v0", "annotator": "ann"}),
        ("select", {"size": 4}),
    )
    ends, rows = together(verbs, folder, *calls)
    assert ends[0] == "done"
    assert ends[1].startswith("BatchOpenError: batch v0 is still open")
    assert [row[0] for row in rows["batches"]] == ["v0"]


def test_run_twice_walks_once(verbs: Verbs, folder: Path) -> None:
    call = ("run", {"iterations": 1, "annotator": "oracle"})
    ends, rows = together(verbs, folder, call, call)
    assert len(refused(ends)) == 1
    assert "another annoloop is working on this project (run, process" in refused(ends)[0]
    assert [row[2] for row in rows["steps"]].count("decide") == 1


def test_two_inits_make_one_project(verbs: Verbs, data: Path, tmp_path: Path) -> None:
    args = {"images": str(data / "images"), "labels": str(data / "labels.json")}
    ends, rows = together(verbs, tmp_path / "new", *[("init", args)] * 4)
    assert "done" in ends
    refused(ends)
    assert len(rows["samples"]) == 28
    assert len(rows["migrations"]) == len(set(rows["migrations"]))


def test_two_exports_into_one_folder_are_never_mixed(
    verbs: Verbs, data: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    calls = [("batch_export", {"name": "v0", "out": str(out), "to": to}) for to in ("coco", "voc")]
    running = [verbs.start(folder, verb, **args) for verb, args in calls]
    ends = [verbs.wait(one) for one in running]
    (other,) = [end for end in ends if end != "done"]
    assert other.startswith(("BusyError: another annoloop is writing", f"InputError: {out} is"))
    assert (out / "annotations.json").exists() == (ends[0] == "done")
    assert not list(tmp_path.glob(".*.part"))


def test_predictions_of_two_processes_are_whole_or_refused(
    verbs: Verbs, folder: Path, tmp_path: Path
) -> None:
    close(folder)
    Project(folder).decide()
    Project(folder).select(size=4)
    shutil.rmtree(folder / "predictions")
    calls = [
        ("batch_export", {"name": "v1", "out": str(tmp_path / f"out {n}"), "prelabels": True})
        for n in range(4)
    ]
    ends, _ = together(verbs, folder, *calls, ("predict", {}))
    refused(ends)
    for n, end in enumerate(ends[:4]):
        assert (tmp_path / f"out {n}").exists() == (end == "done")
    Project(folder).batch_export("v1", tmp_path / "after", prelabels=True)

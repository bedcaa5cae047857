"""`map`: laid out once, anew when images came, one map for each embedder; and what it tells."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from annoloop.atlas import Atlas
from annoloop.errors import BusyError, NotReadyError
from annoloop.project import Project
from annoloop.records import Source
from annoloop.results_map import SampleMap
from annoloop.store.vectors import VectorStore


def column(found: SampleMap, name: str) -> list[str]:
    facet = next(one for one in found.facets if one.name == name)
    return [facet.values[code] for code in facet.codes]


def rows(project: Project, query: str) -> list[tuple]:
    with closing(sqlite3.connect(project.folder / "annoloop.db")) as connection:
        return connection.execute(query).fetchall()


def test_places_are_computed_once_and_kept(evaluated: Project) -> None:
    atlas = Atlas(evaluated)
    assert (atlas.state().placed, atlas.state().missing, atlas.state().at) == (0, 60, None)
    assert atlas.samples().ids == ()
    made = evaluated.map()
    assert (made.images, made.computed, made.embedder) == (60, True, "pixels-v1")
    first = atlas.samples()
    assert (first.state.placed, first.state.missing, first.state.at) == (60, 0, made.at)
    assert np.isfinite(first.points).all()
    again = evaluated.map()
    assert (again.computed, again.at, again.method) == (False, made.at, made.method)
    assert evaluated.map(again=True).computed
    np.testing.assert_array_equal(Atlas(evaluated).samples().points, first.points)


def test_another_seed_is_another_map(evaluated: Project) -> None:
    evaluated.map()
    first = Atlas(evaluated).samples().points
    other = Project(evaluated.folder, overrides={"select": {"seed": 9}})
    assert not other.map().computed  # a new seed alone moves nothing
    assert other.map(again=True).seed == 9
    assert not np.array_equal(Atlas(evaluated).samples().points, first)


def test_new_images_are_counted_until_the_map_is_made_again(evaluated: Project) -> None:
    evaluated.map()
    root = evaluated.folder / evaluated.settings.images.root
    rng = np.random.default_rng(5)
    for k in range(3):
        cv2.imwrite(str(root / f"new_{k}.png"), rng.integers(0, 255, (64, 80, 3), np.uint8))
    try:
        evaluated.ingest()
        state = Atlas(evaluated).state()
        assert (state.images, state.placed, state.missing) == (63, 60, 3)
        assert len(Atlas(evaluated).samples().ids) == 60
        made = evaluated.map()  # embeds them first
        assert (made.images, made.computed) == (63, True)
        assert Atlas(evaluated).state().missing == 0
    finally:
        for k in range(3):
            (root / f"new_{k}.png").unlink()


def test_another_embedder_has_a_map_of_its_own(evaluated: Project) -> None:
    evaluated.map()
    store = VectorStore(evaluated.folder)
    keys = [key for (key,) in rows(evaluated, "SELECT sha256 FROM samples")]
    assert store.load_points("other-v1", keys) is None
    store.write_points("other-v1", keys[:2], np.ones((2, 2), np.float32), {"at": "then"})
    found = store.load_points("other-v1", keys)
    assert found is not None
    assert np.isnan(found[0][2:]).all()
    assert (found[0][:2] == 1).all()
    assert found[1] == {"at": "then"}
    assert Atlas(evaluated).state().placed == 60


def test_a_run_that_was_killed_before_its_audit_line_is_made_again(evaluated: Project) -> None:
    evaluated.map()
    store = VectorStore(evaluated.folder)
    keys = [key for (key,) in rows(evaluated, "SELECT sha256 FROM samples")]
    points, about = store.load_points("pixels-v1", keys) or (None, {})
    store.write_points("pixels-v1", keys, points, about | {"at": "nobody wrote this down"})
    assert evaluated.map().computed
    assert len(rows(evaluated, "SELECT 1 FROM audit WHERE what = 'map'")) == 2


def test_every_column_says_what_the_database_says(evaluated: Project) -> None:
    evaluated.select(8)
    evaluated.map()
    found = Atlas(evaluated).samples()
    stored = rows(evaluated, "SELECT id, path, split, status FROM samples ORDER BY id")
    assert list(found.ids) == [row[0] for row in stored]
    assert list(found.paths) == [row[1] for row in stored]
    assert column(found, "split") == [row[2] for row in stored]
    assert column(found, "status") == [row[3] for row in stored]
    picks = dict(
        rows(evaluated, "SELECT sample_id, batch || ' ' || source FROM picks WHERE NOT blind")
    )
    said = zip(column(found, "batch"), column(found, "source"), strict=True)
    nothing = "not picked not picked"
    assert [" ".join(one) for one in said] == [picks.get(key, nothing) for key in found.ids]
    assert set(picks.values()) >= {"v0 coverage", "v1 targeted"}


def test_the_class_is_the_commonest_of_the_newest_answer(evaluated: Project) -> None:
    evaluated.map()
    found = Atlas(evaluated).samples()
    classes = ("square", "disc")
    wanted = dict.fromkeys(found.ids, "no label")
    query = (
        "SELECT r.sample_id, r.labels FROM reference_labels r JOIN samples s ON s.id = r.sample_id"
        " WHERE s.split = 'val' UNION ALL SELECT sample_id, labels FROM (SELECT a.* FROM"
        " annotations a JOIN samples s ON s.id = a.sample_id WHERE s.split = 'pool' ORDER BY a.seq)"
    )
    for key, labels in rows(evaluated, query):
        ids = [int(row[0]) for row in json.loads(labels)]
        wanted[key] = classes[max(sorted(set(ids)), key=ids.count)] if ids else "empty"
    assert column(found, "class") == list(wanted.values())
    assert {"square", "disc", "empty", "no label"} <= set(wanted.values())


def test_failures_are_those_of_mine(evaluated: Project) -> None:
    evaluated.map()
    found = dict(
        zip(
            Atlas(evaluated).samples().ids,
            column(Atlas(evaluated).samples(), "failure"),
            strict=True,
        )
    )
    halves = dict(rows(evaluated, "SELECT id, half FROM samples"))
    failed = {key for (key,) in rows(evaluated, "SELECT DISTINCT sample_id FROM failures")}
    assert failed
    for key, said in found.items():
        if halves[key] != "mine":
            assert said == "not looked at"
        else:
            assert (said != "no failure") == (key in failed)


def test_golden_images_are_in_no_batch_and_their_labels_are_not_told(project: Project) -> None:
    project.select(6)
    project.annotate_oracle("v0")
    project.map()
    blind = {key for (key,) in rows(project, "SELECT sample_id FROM picks WHERE blind")}
    assert blind
    found = Atlas(project).samples()
    golden = [row for row, split in enumerate(column(found, "split")) if split == "golden"]
    assert blind <= {found.ids[row] for row in golden}
    for name, nothing in (
        ("batch", "not picked"),
        ("source", "not picked"),
        ("class", "no label"),
        ("failure", "not looked at"),
        ("status", "unlabeled"),
    ):
        assert {column(found, name)[row] for row in golden} == {nothing}
    assert "test" in column(found, "split")
    test = [row for row, split in enumerate(column(found, "split")) if split == "test"]
    assert {column(found, "class")[row] for row in test} == {"no label"}
    # Other kinds of batches would say who is hidden where.
    project.annotate_close("v0")
    project.golden_baseline()
    assert "golden-1" not in next(
        f.values for f in Atlas(project).samples().facets if f.name == "batch"
    )


def test_no_image_is_said_to_be_missing_in_words(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    project, _ = Project.init(tmp_path / "p", Source(str(tmp_path / "images"), classes=("a",)))
    assert project.map().images == 1
    assert Atlas(project).samples().points.tolist() == [[0, 0]]
    project.annotate_skip(["a.png"], why="not ours")
    assert Atlas(project).state().images == 0
    with pytest.raises(NotReadyError, match="no images to lay out"):
        project.map()


def test_two_at_once_are_refused_by_name(evaluated: Project) -> None:
    with evaluated._alone("embed"), pytest.raises(BusyError, match="embed, process"):
        evaluated.map()

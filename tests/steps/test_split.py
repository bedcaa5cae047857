"""Splits: made once, locked by a manifest, checked before every use."""

from __future__ import annotations

import json

import pytest
from sqlalchemy.exc import IntegrityError

from annoloop.errors import LockedSplitError
from annoloop.project import Project
from annoloop.records import Half, Split
from annoloop.steps.manifest import MANIFEST
from annoloop.store import samples


def test_counts_and_halves(project: Project) -> None:
    made = project.split()
    assert made.counts == {"test": 8, "val": 8, "golden": 8, "pool": 36}
    assert made.halves == {"mine": 4, "gauge": 4}
    assert made.groups == 30
    assert made.leaks == ()


def test_splitting_again_changes_nothing(project: Project) -> None:
    first = project.split()
    written = (project.folder / MANIFEST).read_text()
    assert project.split().digest == first.digest
    assert (project.folder / MANIFEST).read_text() == written


def test_the_same_seed_gives_the_same_splits(shapes, tmp_path) -> None:
    from annoloop.records import Source

    source = Source(str(shapes / "images"))
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        project, _ = Project.init(
            tmp_path / name, source, group="folder", overrides={"split": {"seed": seed}}
        )
        digests.append(project.split().digest)
    assert digests[0] == digests[1] != digests[2]


def test_the_manifest_names_every_locked_sample(project: Project) -> None:
    project.split()
    manifest = json.loads((project.folder / MANIFEST).read_text())
    with project.store.read() as connection:
        for name, side in (("test", Split.TEST), ("golden", Split.GOLDEN)):
            ids = [s.id for s in samples.load(connection, split=side)]
            assert manifest["splits"][name] == ids
        val = samples.load(connection, split=Split.VAL)
    assert manifest["splits"]["mine"] == [s.id for s in val if s.half is Half.MINE]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda f: f.unlink(), "is gone"),
        (
            lambda f: f.write_text(f.read_text().replace('"golden": [', '"golden": ["x",')),
            "not match",
        ),
        (lambda f: f.write_text("{}"), "not the file that annoloop wrote"),
        (lambda f: f.write_text("{"), "not the file that annoloop wrote"),
        (
            lambda f: f.write_text(f.read_text().replace('"digest": "', '"digest": "0')),
            r"do not match .*: splits\.lock\.json was edited",
        ),
        (lambda f: f.write_text('{"digest": [], "splits": [1]}'), r"splits\.lock\.json was edited"),
        (lambda f: f.write_text("[" * 200_000), "not the file that annoloop wrote"),
        (lambda f: f.write_text('{"digest": ' + "9" * 9999 + "}"), "not the file that annoloop"),
    ],
)
def test_a_damaged_manifest_stops_the_loop(project: Project, damage, problem: str) -> None:
    project.split()
    damage(project.folder / MANIFEST)
    for verb in (project.split, project.select):
        with pytest.raises(LockedSplitError, match=problem) as caught:
            verb()
        assert "backup" in caught.value.fix or "Bring back" in caught.value.fix


MOVE = "UPDATE samples SET split = 'pool' WHERE id = (SELECT id FROM samples WHERE split = 'test')"


def test_the_database_itself_moves_no_locked_sample(project: Project) -> None:
    project.split()
    for statement in (MOVE, "DELETE FROM samples", "UPDATE samples SET half = 'mine'"):
        with (
            pytest.raises(IntegrityError, match="never"),
            project.store.write() as connection,
        ):
            connection.exec_driver_sql(statement)


def test_a_sample_moved_by_force_stops_the_loop(project: Project) -> None:
    project.split()
    with project.store.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER samples_locked")
        connection.exec_driver_sql(MOVE)
    with pytest.raises(LockedSplitError, match=r"do not match .* one of the two was edited"):
        project.select()

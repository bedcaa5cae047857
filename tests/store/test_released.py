"""A database of every released schema is kept here, and goes on after an upgrade."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from annoloop import settings
from annoloop.errors import ProjectError
from annoloop.project import Project
from annoloop.store import migrations

from .. import ledgers  # noqa: TID252
from ..conftest import draw_shapes  # noqa: TID252

RELEASED = Path(__file__).parent / "released"


@pytest.fixture(params=sorted(RELEASED.glob("*.sql")), ids=lambda file: file.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project as that version left it: one iteration decided, batch v1 open."""
    folder = tmp_path / "p"
    folder.mkdir()
    draw_shapes(folder, scenes=12, seed=3)
    connection = sqlite3.connect(folder / "annoloop.db")
    connection.executescript(request.param.read_text())
    connection.close()
    shutil.copy(request.param.with_suffix(".json"), folder / "splits.lock.json")
    (folder / settings.FILE).write_text(settings.template("images", group="folder"))
    return folder


def test_it_is_upgraded_without_losing_a_row_and_goes_on(old: Path) -> None:
    before = ledgers.rows(old)
    project = Project(old)
    after = ledgers.rows(old)
    assert len(after["migrations"]) == len(migrations.MIGRATIONS)
    assert {name: after[name] for name in before if name != "migrations"} == {
        name: rows for name, rows in before.items() if name != "migrations"
    }
    assert project.status().open_batch == "v1"
    assert project.split().leaks == ()
    project.annotate_oracle("v1")
    assert project.annotate_close("v1").annotated == 2
    assert project.train().images == 4


def test_the_database_as_it_was_is_kept_beside_it(old: Path) -> None:
    before = ledgers.rows(old)
    Project(old)
    (copy,) = old.glob("annoloop.db.before-*")
    (old / "copy").mkdir()
    copy.rename(old / "copy" / "annoloop.db")
    assert ledgers.rows(old / "copy") == before


def test_an_upgrade_that_fails_leaves_the_old_one_working(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ledgers.rows(old)

    def fails(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE half_made (x INTEGER)")  # type: ignore[attr-defined]
        connection.exec_driver_sql("DELETE FROM migrations")  # type: ignore[attr-defined]
        connection.exec_driver_sql("INSERT INTO no_such_table VALUES (1)")  # type: ignore[attr-defined]

    first = migrations.MIGRATIONS[:1]
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, ("9998_fails", fails)))
    with pytest.raises(ProjectError, match=r"could not be upgraded \(9998_fails: no such table"):
        Project(old)
    assert ledgers.rows(old) == before
    monkeypatch.setattr(migrations, "MIGRATIONS", first)
    assert Project(old).status().open_batch == "v1"  # the annoloop that people had goes on

"""The database: migrations, append-only tables, transactions, and errors with a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.exc import IntegrityError

from annoloop.errors import BusyError, NotBuiltError, ProjectError
from annoloop.store import db, migrations, tables
from annoloop.store.db import Store


def make(folder: Path) -> Store:
    store = Store("sqlite:///annoloop.db", folder)
    store.migrate("2026-01-01T00:00:00.000+00:00")
    return store


def test_migrations_make_the_tables_that_sqlalchemy_knows(tmp_path: Path) -> None:
    made = inspect(make(tmp_path).engine)
    for name, table in tables.metadata.tables.items():
        found = {column["name"]: column for column in made.get_columns(name)}
        assert set(found) == {column.name for column in table.columns}, name
        nullable = {c.name: c.nullable for c in table.columns if not c.primary_key}
        assert {k: found[k]["nullable"] for k in nullable} == nullable, name
        keys = {column.name for column in table.primary_key}
        assert set(made.get_pk_constraint(name)["constrained_columns"]) == keys, name


def test_migrating_twice_changes_nothing(tmp_path: Path) -> None:
    store = make(tmp_path)
    assert store.check()
    store.migrate("later")
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT name, at FROM migrations").all()
    assert rows == [(name, "2026-01-01T00:00:00.000+00:00") for name, _ in migrations.MIGRATIONS]


def test_a_failed_migration_leaves_the_old_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(tmp_path)

    def fails(connection: object) -> None:
        connection.exec_driver_sql("CREATE TABLE half_made (x INTEGER)")  # type: ignore[attr-defined]
        raise RuntimeError("power cut")

    more = (*migrations.MIGRATIONS, ("0002_fails", fails))
    monkeypatch.setattr(migrations, "MIGRATIONS", more)
    with pytest.raises(RuntimeError, match="power cut"):
        store.migrate("later")
    with store.read() as connection:
        names = {r[0] for r in connection.exec_driver_sql("SELECT name FROM sqlite_master")}
    assert "half_made" not in names
    assert not store.check()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    store = make(tmp_path)
    with store.write() as connection:
        connection.exec_driver_sql("INSERT INTO migrations VALUES ('9999_future', 'x')")
    with pytest.raises(ProjectError, match="newer annoloop"):
        store.check()


@pytest.mark.parametrize("table", migrations.APPEND_ONLY)
def test_history_cannot_be_rewritten(tmp_path: Path, table: str) -> None:
    store = make(tmp_path)
    with store.write() as connection:
        rows = {
            "audit": "(1, 'at', 'who', 'what', 'target', '{}')",
            "looks": "(1, 'test', 0, 'who', 'at', '{}')",
            "steps": "(1, 0, 'train', 'at', 'who', '{}')",
            "failures": "(1, 1, 's', 'missed', 0, 0, 0, 1, 1, NULL, NULL, 0, 0)",
            "image_results": "(1, 's', 1, 1, 1)",
            "annotations": "(1, 's', 'v0', 'who', 'empty', '[]', NULL, NULL, 'files', 'at')",
            "picks": "('v0', 's', 0, 0, 'random', 1, 0.0, 'why', '{}')",
            "reference_labels": "(1, 's', 1, '[]', 'labels', 'who', 'at')",
        }
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        connection.exec_driver_sql(
            "INSERT INTO samples VALUES ('s', 'p', 'u', 1, 1, 'h', 1, NULL, NULL, NULL,"
            " 'unlabeled', NULL, NULL, 'at')"
        )
        connection.exec_driver_sql(
            "INSERT INTO batches VALUES ('v0', 'select', 0, 1, 0, 'at', NULL, '{}')"
        )
        connection.exec_driver_sql(f"INSERT INTO {table} VALUES {rows[table]}")
    column = inspect(store.engine).get_columns(table)[-1]["name"]
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET {column} = {column}"):
        with pytest.raises(IntegrityError, match="append-only"), store.write() as connection:
            connection.exec_driver_sql(statement)


def test_a_failing_block_writes_nothing(tmp_path: Path) -> None:
    store = make(tmp_path)

    def dies_halfway() -> None:
        with store.write() as connection:
            db.record(connection, at="t", who="w", what="x", target="y", details={})
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        dies_halfway()
    with store.read() as connection:
        assert db.history(connection) == []


def test_readers_go_on_while_one_writes(tmp_path: Path) -> None:
    store = make(tmp_path)
    with store.write() as writing:
        db.record(writing, at="t", who="w", what="x", target="y", details={})
        with store.read() as reading:
            assert db.history(reading) == []
    with store.read() as reading:
        assert [row["what"] for row in db.history(reading)] == ["x"]


def test_looks_are_counted(tmp_path: Path) -> None:
    store = make(tmp_path)
    with store.write() as connection:
        counts = [
            db.look(connection, what=what, iteration=0, who="w", at="t", details={})
            for what in ("test", "test", "target")
        ]
    assert counts == [1, 2, 1]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "annoloop.db").write_text("not a database, " * 100)
    with pytest.raises(ProjectError, match="not a healthy SQLite database"):
        Store("sqlite:///annoloop.db", tmp_path).check()


def test_other_databases_say_that_they_are_not_built(tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match="only SQLite"):
        Store("postgresql://user:secret@host/db", tmp_path)


@pytest.mark.parametrize("name", ["what?", "100%", "a#b", "x%41", "with space", "ü", "a&b=c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    store = make(folder)
    with store.write() as connection:
        db.record(connection, at="t", who="w", what="x", target="y", details={})
    store.copy_to(folder / "copy.db")
    assert {f.name for f in folder.iterdir()} == {"annoloop.db", "copy.db"}
    assert [f.name for f in tmp_path.iterdir()] == [name]


def test_rows_that_another_process_wrote_meanwhile_are_named(tmp_path: Path) -> None:
    store = make(tmp_path)
    row = "INSERT INTO classes VALUES (0, 'cup', '{}')"
    with store.write() as connection:
        connection.exec_driver_sql(row)
    with pytest.raises(BusyError, match="added the same rows meanwhile"), store.write() as again:
        again.exec_driver_sql(row)

"""Ordered migrations; all that are due run in one transaction, with the record that they ran."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection

from annoloop.errors import ProjectError

# What may only grow. Triggers hold it, so that no code path and no other tool can rewrite history.
APPEND_ONLY = (
    "reference_labels",
    "picks",
    "annotations",
    "steps",
    "failures",
    "image_results",
    "looks",
    "audit",
)

FIRST = (
    """CREATE TABLE classes (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, rules JSON NOT NULL)""",
    """CREATE TABLE samples (
        id TEXT PRIMARY KEY, path TEXT NOT NULL UNIQUE, uri TEXT NOT NULL,
        width INTEGER NOT NULL, height INTEGER NOT NULL, sha256 TEXT NOT NULL,
        bytes BIGINT NOT NULL, group_name TEXT, split TEXT, half TEXT,
        status TEXT NOT NULL, why TEXT, external_id TEXT, added_at TEXT NOT NULL)""",
    "CREATE INDEX samples_by_split ON samples (split, status)",
    "CREATE INDEX samples_by_hash ON samples (sha256)",
    """CREATE TABLE reference_labels (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, sample_id TEXT NOT NULL REFERENCES samples (id),
        version INTEGER NOT NULL, labels JSON NOT NULL, source TEXT NOT NULL,
        who TEXT NOT NULL, at TEXT NOT NULL, UNIQUE (sample_id, version))""",
    """CREATE TABLE near_duplicates (
        first_id TEXT NOT NULL, second_id TEXT NOT NULL, binding BOOLEAN NOT NULL,
        PRIMARY KEY (first_id, second_id), CHECK (first_id < second_id))""",
    """CREATE TABLE batches (
        name TEXT PRIMARY KEY, kind TEXT NOT NULL, number INTEGER NOT NULL,
        asked INTEGER NOT NULL, seed INTEGER NOT NULL, created_at TEXT NOT NULL,
        closed_at TEXT, report JSON NOT NULL, UNIQUE (kind, number))""",
    """CREATE TABLE picks (
        batch TEXT NOT NULL REFERENCES batches (name),
        sample_id TEXT NOT NULL REFERENCES samples (id), position INTEGER NOT NULL,
        blind BOOLEAN NOT NULL, source TEXT NOT NULL, rank INTEGER NOT NULL,
        score FLOAT NOT NULL, reason TEXT NOT NULL, details JSON NOT NULL,
        PRIMARY KEY (batch, sample_id))""",
    """CREATE TABLE annotations (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        sample_id TEXT NOT NULL REFERENCES samples (id),
        batch TEXT NOT NULL REFERENCES batches (name), annotator TEXT NOT NULL,
        answer TEXT NOT NULL, labels JSON NOT NULL, why TEXT, seconds FLOAT,
        origin TEXT NOT NULL, at TEXT NOT NULL)""",
    "CREATE INDEX annotations_by_batch ON annotations (batch, sample_id)",
    "CREATE INDEX annotations_by_sample ON annotations (sample_id)",
    """CREATE TABLE iterations (
        number INTEGER PRIMARY KEY, batch TEXT NOT NULL UNIQUE REFERENCES batches (name),
        opened_at TEXT NOT NULL, settings JSON NOT NULL)""",
    """CREATE TABLE steps (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, iteration INTEGER NOT NULL,
        step TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL, record JSON NOT NULL)""",
    "CREATE INDEX steps_by_iteration ON steps (iteration, step)",
    """CREATE TABLE failures (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, evaluation INTEGER NOT NULL,
        sample_id TEXT NOT NULL, type TEXT NOT NULL, class_id INTEGER NOT NULL,
        x FLOAT NOT NULL, y FLOAT NOT NULL, w FLOAT NOT NULL, h FLOAT NOT NULL,
        score FLOAT, truth_class_id INTEGER, iou FLOAT NOT NULL, price FLOAT NOT NULL)""",
    "CREATE INDEX failures_by_evaluation ON failures (evaluation)",
    """CREATE TABLE image_results (
        evaluation INTEGER NOT NULL, sample_id TEXT NOT NULL, tp INTEGER NOT NULL,
        fp INTEGER NOT NULL, fn INTEGER NOT NULL, PRIMARY KEY (evaluation, sample_id))""",
    """CREATE TABLE looks (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, iteration INTEGER,
        who TEXT NOT NULL, at TEXT NOT NULL, record JSON NOT NULL)""",
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, who TEXT NOT NULL,
        what TEXT NOT NULL, target TEXT NOT NULL, details JSON NOT NULL)""",
)


def _first_schema(connection: Connection) -> None:
    for statement in FIRST:
        connection.exec_driver_sql(statement)
    for table in APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )


# What may be filled in once and never again, table by table: the columns, and when they are locked.
LOCKED = {
    "samples": (("id",), ("split", "half", "group_name"), "OLD.split IS NOT NULL"),
    "batches": (("name", "kind", "number"), ("closed_at", "report"), "OLD.closed_at IS NOT NULL"),
    "iterations": (("number", "batch", "opened_at", "settings"), (), ""),
    "classes": (("id", "name"), (), ""),
}


def _locked_rows(connection: Connection) -> None:
    """No sample changes split, no closed batch opens, no class moves; held by the database."""
    for table, (always, once, when) in LOCKED.items():
        rules = [f"NEW.{column} IS NOT OLD.{column}" for column in always]
        rules += [f"({when} AND NEW.{column} IS NOT OLD.{column})" for column in once]
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_locked BEFORE UPDATE ON {table} WHEN {' OR '.join(rules)} "
            f"BEGIN SELECT RAISE(ABORT, 'locked rows of {table} never change'); END"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are never deleted'); END"
        )


def _leases(connection: Connection) -> None:
    """Who labels which image until when, and what they have drawn so far."""
    connection.exec_driver_sql(
        """CREATE TABLE leases (
        batch TEXT NOT NULL REFERENCES batches (name),
        sample_id TEXT NOT NULL REFERENCES samples (id), annotator TEXT NOT NULL,
        until TEXT NOT NULL, tab TEXT NOT NULL, revision INTEGER NOT NULL,
        boxes JSON, why TEXT, seconds FLOAT NOT NULL,
        PRIMARY KEY (batch, sample_id, annotator))"""
    )


def _prelabels(connection: Connection) -> None:
    """What a model said of the images of a batch, and which of them stay without its boxes."""
    connection.exec_driver_sql(
        """CREATE TABLE prelabels (
        batch TEXT NOT NULL REFERENCES batches (name),
        sample_id TEXT NOT NULL REFERENCES samples (id), model TEXT NOT NULL,
        blank BOOLEAN NOT NULL, labels JSON NOT NULL, at TEXT NOT NULL,
        PRIMARY KEY (batch, sample_id))"""
    )
    for verb in ("UPDATE", "DELETE"):
        connection.exec_driver_sql(
            f"CREATE TRIGGER prelabels_no_{verb.lower()} BEFORE {verb} ON prelabels "
            "BEGIN SELECT RAISE(ABORT, 'prelabels is append-only'); END"
        )


Migration = Callable[[Connection], None]

MIGRATIONS: tuple[tuple[str, Migration], ...] = (
    ("0001_first_schema", _first_schema),
    ("0002_locked_rows", _locked_rows),
    ("0003_leases", _leases),
    ("0004_prelabels", _prelabels),
)


def applied(connection: Connection) -> list[str]:
    """Names of the migrations that this database has had; creates their table if it is new."""
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, at TEXT NOT NULL)"
    )
    rows = connection.exec_driver_sql("SELECT name FROM migrations ORDER BY name")
    return [str(row[0]) for row in rows]


def newer(names: list[str]) -> ProjectError | None:
    """The error for a database of a newer annoloop, if it is one."""
    unknown = set(names) - {name for name, _ in MIGRATIONS}
    if not unknown:
        return None
    return ProjectError(
        f"this project was made by a newer annoloop (its database has had {min(unknown)})",
        fix="Upgrade annoloop (`pip install --upgrade annoloop`) to open it.",
    )

"""What a project holds, row by row, so that tests can say that nothing changed or got lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path

GROWING = (
    "reference_labels",
    "picks",
    "prelabels",
    "annotations",
    "steps",
    "failures",
    "looks",
    "audit",
)
"""Tables to which rows are only ever added."""

BROKEN = {
    "a selected sample is in exactly one open batch of the loop": """
        SELECT id FROM samples WHERE status = 'selected' AND 1 != (
            SELECT count(*) FROM picks JOIN batches ON batches.name = picks.batch
            WHERE sample_id = samples.id AND kind = 'select' AND NOT blind
              AND closed_at IS NULL)""",
    "a pick of an open batch is selected": """
        SELECT sample_id FROM picks JOIN batches ON batches.name = picks.batch
        JOIN samples ON samples.id = sample_id
        WHERE kind = 'select' AND closed_at IS NULL AND NOT blind AND status != 'selected'""",
    "an annotated sample has an answer in a closed batch": """
        SELECT id FROM samples WHERE status = 'annotated' AND NOT EXISTS (
            SELECT 1 FROM annotations JOIN batches ON batches.name = annotations.batch
            WHERE sample_id = samples.id AND closed_at IS NOT NULL
              AND answer IN ('complete', 'empty'))""",
    "no pick of a closed batch is still selected": """
        SELECT sample_id FROM picks JOIN batches ON batches.name = picks.batch
        JOIN samples ON samples.id = sample_id
        WHERE closed_at IS NOT NULL AND status = 'selected' AND NOT EXISTS (
            SELECT 1 FROM picks p JOIN batches b ON b.name = p.batch
            WHERE p.sample_id = samples.id AND b.closed_at IS NULL)""",
    "every batch has picks": """
        SELECT name FROM batches WHERE name NOT IN (SELECT batch FROM picks)""",
    "every batch of the loop has its iteration and its step": """
        SELECT name FROM batches WHERE kind = 'select' AND (
            name NOT IN (SELECT batch FROM iterations)
            OR number NOT IN (SELECT iteration FROM steps WHERE step = 'select')
            OR (closed_at IS NOT NULL) !=
               (number IN (SELECT iteration FROM steps WHERE step = 'annotate')))""",
    "every step is in the audit log": """
        SELECT step, count(*) AS n FROM steps GROUP BY step HAVING n != (
            SELECT count(*) FROM audit WHERE CASE step
                WHEN 'golden' THEN what IN ('golden check', 'golden accept')
                WHEN 'folds' THEN what = 'train folds'
                WHEN 'annotate' THEN what = 'annotate close' AND target GLOB 'v[0-9]*'
                ELSE what = step END)""",
    "every failure belongs to an evaluation": """
        SELECT seq FROM failures WHERE evaluation NOT IN
            (SELECT seq FROM steps WHERE step = 'evaluate')""",
    "splits are made for all or for none": """
        SELECT 1 WHERE EXISTS (SELECT 1 FROM samples WHERE split IS NULL)
            AND EXISTS (SELECT 1 FROM samples WHERE split IS NOT NULL)""",
}
"""What must never be true of a project → a query that finds it."""


def broken(folder: Path) -> list[str]:
    """Which of the rules a project breaks, SQLite's own included."""
    connection = sqlite3.connect(folder / "annoloop.db")
    try:
        found = [what for what, query in BROKEN.items() if connection.execute(query).fetchall()]
        if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            found.append("the database is whole")
        if connection.execute("PRAGMA foreign_key_check").fetchall():
            found.append("every row that is spoken of is there")
        return found
    finally:
        connection.close()


def rows(folder: Path) -> dict[str, list[tuple[object, ...]]]:
    """Table → its rows, of the database in a project folder; nothing is written."""
    connection = sqlite3.connect(folder / "annoloop.db")
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid').fetchall()
            for (name,) in names
            if not name.startswith("sqlite_")
        }
    finally:
        connection.close()


def files(folder: Path) -> set[str]:
    """Every file below a folder but SQLite's own side files."""
    return {
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and not file.name.startswith("annoloop.db-")
    }

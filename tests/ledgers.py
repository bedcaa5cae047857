"""What a project holds, row by row, so that tests can say that nothing changed or got lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path


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

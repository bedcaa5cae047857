"""Opening the database and its transactions: many readers, one writer, all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import NullPool

from annoloop.errors import BusyError, NotBuiltError, ProjectError
from annoloop.store import migrations, tables

BUSY_SECONDS = 30


class Store:
    """The state of one project. Every write is one transaction; a killed one leaves nothing."""

    def __init__(self, url: str, folder: Path, *, images: Path | None = None) -> None:
        if not url.startswith("sqlite:///"):
            raise NotBuiltError(
                f"store.url {url.split('@')[-1]!r}: only SQLite is built so far",
                fix='Use `url = "sqlite:///annoloop.db"`; PostgreSQL has its own issue.',
            )
        self.file = folder / url.removeprefix("sqlite:///")
        # URIs of samples are relative to the image folder, so that a project can be moved.
        root = folder / "images" if images is None else images
        self.engine = _engine(self.file).execution_options(annoloop_images=str(root))

    def migrate(self, at: str) -> None:
        """Bring the database to this version, each migration in its own transaction."""
        with self.write() as connection:
            done = migrations.applied(connection)
            error = migrations.newer(done)
            if error:
                raise error
        for name, function in migrations.MIGRATIONS:
            with self.write() as connection:
                # Another process may have run it since: only under the write lock is this true.
                if name in migrations.applied(connection):
                    continue
                function(connection)
                connection.exec_driver_sql("INSERT INTO migrations VALUES (?, ?)", (name, at))

    def check(self) -> bool:
        """True if the database is of this version, False if it is older; a newer one raises."""
        if not self.file.exists():
            return False
        with self.read() as connection:
            found = connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE name = 'migrations'"
            ).all()
            if not found:
                return False
            rows = connection.exec_driver_sql("SELECT name FROM migrations")
            names = [str(row[0]) for row in rows]
        error = migrations.newer(names)
        if error:
            raise error
        return len(names) == len(migrations.MIGRATIONS)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; never blocks and is never blocked by a writer."""
        with _named(self.file), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its start."""
        with (
            _named(self.file),
            self.engine.connect().execution_options(annoloop_write=True) as connection,
            connection.begin(),
        ):
            yield connection


def _engine(file: Path) -> Engine:
    # NullPool: a forked worker must never inherit an open SQLite handle.
    engine = create_engine(
        f"sqlite:///{file}", poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS}
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads first cannot always become a writer; take the lock now.
        write = connection.get_execution_options().get("annoloop_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Database errors that people can act on get their own name."""
    try:
        yield
    except OperationalError as error:
        text = str(error.orig)
        if "locked" in text:
            raise BusyError(
                f"{file} has been locked by another process for {BUSY_SECONDS} s",
                fix="Wait for the other annoloop to finish, or end it, and run this again.",
            ) from error
        if "readonly" in text or "unable to open" in text:
            raise ProjectError(
                f"{file} cannot be opened for writing ({text})",
                fix="Give yourself write permission on the project folder, or work on a copy.",
            ) from error
        if "full" in text:
            raise ProjectError(
                f"{file}: the disk is full; nothing of this step was saved",
                fix="Free some space and run the same command again.",
            ) from error
        raise
    except DatabaseError as error:
        if "not a database" in str(error.orig) or "malformed" in str(error.orig):
            raise ProjectError(
                f"{file} is not a healthy SQLite database ({error.orig})",
                fix="Restore annoloop.db from a backup.",
            ) from error
        raise


def record(
    connection: Connection, *, at: str, who: str, what: str, target: str, details: Mapping[str, Any]
) -> None:
    """One line in the audit log, in the transaction of the change that it explains."""
    connection.execute(
        insert(tables.audit).values(at=at, who=who, what=what, target=target, details=dict(details))
    )


def history(connection: Connection) -> list[dict[str, Any]]:
    """The audit log, oldest first."""
    rows = connection.execute(select(tables.audit).order_by(tables.audit.c.seq))
    return [dict(row) for row in rows.mappings()]


def look(
    connection: Connection,
    *,
    what: str,
    iteration: int | None,
    who: str,
    at: str,
    details: Mapping[str, Any],
) -> int:
    """Enter one look at a guarded set in its ledger; the number of looks so far comes back."""
    connection.execute(
        insert(tables.looks).values(
            what=what, iteration=iteration, who=who, at=at, record=dict(details)
        )
    )
    rows = connection.execute(select(tables.looks.c.seq).where(tables.looks.c.what == what))
    return len(rows.all())

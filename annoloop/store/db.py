"""Opening the database and its transactions: many readers, one writer, all or nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, func, insert, select
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool

from annoloop.errors import BusyError, NotBuiltError, ProjectError, StorageError
from annoloop.store import migrations, tables

WAIT_SECONDS = 30.0
"""How long a write waits for the write of another process."""


class Store:
    """The state of one project. Every write is one transaction; a killed one leaves nothing."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        images: Path | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> None:
        if not url.startswith("sqlite:///"):
            raise NotBuiltError(
                f"store.url {url.split('@')[-1]!r}: only SQLite is built so far",
                fix='Use `url = "sqlite:///annoloop.db"`; PostgreSQL has its own issue.',
            )
        self.file = folder / url.removeprefix("sqlite:///")
        # URIs of samples are relative to the image folder, so that a project can be moved.
        root = folder / "images" if images is None else images
        engine = _engine(self.file, wait_seconds)
        self.engine = engine.execution_options(annoloop_images=str(root))
        self._wait_seconds = wait_seconds

    def migrate(self, at: str) -> None:
        """Bring the database to this version, in one transaction: all migrations or none.

        A database that people have worked with is copied first, beside it.
        """
        with self.write() as connection:
            # Another process may have run some since: only under the write lock is this true.
            done = migrations.applied(connection)
            error = migrations.newer(done)
            if error:
                raise error
            todo = [one for one in migrations.MIGRATIONS if one[0] not in done]
            if done and todo:  # what is copied is what was committed, not what is begun here
                self.copy_to(self.file.with_name(f"{self.file.name}.before-{todo[0][0]}"))
            for name, function in todo:
                try:
                    function(connection)
                except DatabaseError as failed:
                    raise ProjectError(
                        f"{self.file} could not be upgraded ({name}: {failed.orig}); it is as it "
                        "was",
                        fix="Go on with the annoloop that you had, and report this.",
                    ) from failed
                connection.exec_driver_sql("INSERT INTO migrations VALUES (?, ?)", (name, at))

    def copy_to(self, target: Path) -> None:
        """A consistent copy of the whole database as one file, while others read and write."""
        part = target.with_name(f"{target.name}.part")
        part.unlink(missing_ok=True)
        with _named(self.file, self._wait_seconds):
            try:
                with (
                    closing(sqlite3.connect(_uri(self.file), uri=True)) as source,
                    closing(sqlite3.connect(part)) as copy,
                ):
                    source.backup(copy)
                    # One file, not three: a copy that needs its -wal beside it will lose it.
                    copy.execute("PRAGMA journal_mode = DELETE")
                with part.open("rb") as stream:
                    os.fsync(stream.fileno())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def check(self) -> bool:
        """True if the database is of this version, False if it is older; a newer one raises."""
        if not self.file.exists() or not self.file.stat().st_size:
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

    def settle(self) -> None:
        """Make the database one file, without the side files of readers, to be moved as a whole."""
        with _named(self.file, self._wait_seconds), closing(sqlite3.connect(self.file)) as only:
            only.execute("PRAGMA journal_mode = DELETE")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; never blocks and is never blocked by a writer."""
        with _named(self.file, self._wait_seconds), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its start."""
        with (
            _named(self.file, self._wait_seconds),
            self.engine.connect().execution_options(annoloop_write=True) as connection,
            connection.begin(),
        ):
            yield connection


def _engine(file: Path, wait_seconds: float) -> Engine:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(_uri(file), uri=True, timeout=wait_seconds)

    # NullPool: a forked worker must never inherit an open SQLite handle.
    engine = create_engine("sqlite://", poolclass=NullPool, creator=connect)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        # Asked first, because setting it takes a lock, and is no business of a mere reader.
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",) and _writable(file):
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that reads first cannot always become a writer; take the lock now.
        write = connection.get_execution_options().get("annoloop_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _writable(file: Path) -> bool:
    return os.access(file.parent, os.W_OK) and (not file.exists() or os.access(file, os.W_OK))


def _uri(file: Path) -> str:
    """The database; where nobody can write, an archive that is read as it lies there."""
    wal = file.with_name(f"{file.name}-wal")
    try:
        left = wal.stat().st_size > 0  # changes that an immutable read would miss
    except FileNotFoundError:  # SQLite removes it when the last connection closes
        left = False
    frozen = file.exists() and not _writable(file) and not left
    return file.absolute().as_uri() + ("?immutable=1" if frozen else "")


@contextmanager
def _named(file: Path, wait_seconds: float) -> Iterator[None]:
    """Database errors that people can act on get their own name."""
    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        named = _explain(file, str(getattr(error, "orig", error)), wait_seconds)
        if named is None:
            raise
        raise named from error
    except IntegrityError as error:
        # Every write re-checks what it read, so this is another process, past a lock that a
        # network file system ignored.
        if "UNIQUE" not in str(error.orig):
            raise
        raise BusyError(
            f"another process has added the same rows meanwhile ({error.orig})",
            fix="Run the command again: it will see the new state.",
        ) from error
    except (DatabaseError, sqlite3.DatabaseError) as error:
        text = str(getattr(error, "orig", error))
        if "not a database" in text or "malformed" in text:
            raise ProjectError(
                f"{file} is not a healthy SQLite database ({text})",
                fix="Bring it back from a backup: `annoloop restore BACKUP DIR`.",
            ) from error
        raise


def _explain(file: Path, text: str, wait_seconds: float) -> BusyError | StorageError | None:
    if "locked" in text:
        return BusyError(
            f"{file} has been locked by another process for {wait_seconds:g} s",
            fix="Wait for the other annoloop to finish, or end it, and run this again.",
        )
    if "readonly" in text or "unable to open" in text:
        return StorageError(
            f"{file} cannot be opened for writing ({text})",
            fix="Give yourself write permission on the project folder, or work on a copy.",
        )
    if "full" in text or "disk I/O" in text:
        return StorageError(
            f"{file}: the disk is full or fails ({text}); nothing of this step was saved",
            fix="Free some space and run the same command again.",
        )
    return None


def row_counts(connection: Connection) -> dict[str, int]:
    """Table → number of its rows, for every table that we know."""
    return {
        name: int(connection.execute(select(func.count()).select_from(table)).scalar() or 0)
        for name, table in sorted(tables.metadata.tables.items())
    }


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


def newest_history(connection: Connection, most: int) -> tuple[int, list[dict[str, Any]]]:
    """How many lines the audit log has, and the newest of them, newest first.

    Single answers given in the app are left out: they stand with their images.
    """
    told = tables.audit.c.what != "annotate label"
    query = select(func.count()).select_from(tables.audit).where(told)
    total = connection.execute(query).scalar() or 0
    query = select(tables.audit).where(told).order_by(tables.audit.c.seq.desc()).limit(most)
    return int(total), [dict(row) for row in connection.execute(query).mappings()]


def recorded(connection: Connection, *, what: str, target: str, at: str | None = None) -> bool:
    """True if the audit log has such a line (of that time)."""
    query = select(tables.audit.c.seq).where(
        tables.audit.c.what == what, tables.audit.c.target == target
    )
    if at is not None:
        query = query.where(tables.audit.c.at == at)
    return connection.execute(query.limit(1)).first() is not None


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

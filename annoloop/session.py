"""An opened project: its folder, settings, store, lock, and what the steps are given."""

from __future__ import annotations

import fcntl
import getpass
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from annoloop import durable, foreign, plugins, results, settings
from annoloop.errors import (
    BusyError,
    InputError,
    LockedSplitError,
    NotReadyError,
    ProjectError,
    SettingsError,
    VectorError,
)
from annoloop.ports import LoopReader, Mirror, Progress, silent
from annoloop.records import ForeignDataset, Source
from annoloop.steps import newest
from annoloop.steps.context import Context
from annoloop.store.db import Store
from annoloop.store.vectors import VectorStore

LOCK = ".annoloop.lock"
REFUSED = (InputError, LockedSplitError, NotReadyError, SettingsError, VectorError)
"""What is wrong with what `init` was given."""


class Session:
    """What every verb of a project stands on.

    `overrides` are settings of this call ({"train": {"trainer": "command"}}); `say` hears what a
    verb does on its own account, `progress` (done, total, what) how far long work has come; the
    records name `who`, by default this machine's user (or ANNOLOOP_USER).
    """

    def __init__(
        self,
        folder: str | Path = ".",
        *,
        overrides: Mapping[str, Any] | None = None,
        say: Callable[[str], None] | None = None,
        progress: Progress = silent,
        clock: Callable[[], datetime] | None = None,
        who: str | None = None,
    ) -> None:
        self.folder = Path(folder).resolve()
        if not (self.folder / settings.FILE).is_file():
            raise ProjectError(
                f"there is no annoloop project in {self.folder}",
                fix="Make one with `annoloop init DIR --images PATH`, or name it with `--project`.",
            )
        self.settings = settings.load(self.folder, environ=os.environ, overrides=overrides)
        self._clock = clock or (lambda: datetime.now(UTC))
        self._who = who or _user()
        self.say = say or (lambda _text: None)
        self.progress = progress
        self._made: dict[tuple[str, str], Any] = {}
        images = self.folder / self.settings.images.root
        self.store = Store(
            self.settings.store.url,
            self.folder,
            images=images,
            wait_seconds=self.settings.store.wait_seconds,
        )
        self._refuse_lost_database()
        if not self.store.check():
            self.store.migrate(self._now())

    def _refuse_lost_database(self) -> None:
        """A new, empty database in the place of a lost one would hide that labels are gone."""
        file = self.store.file
        if file.exists() and file.stat().st_size:
            return
        for trace in ("splits.lock.json", LOCK):
            if (self.folder / trace).exists():
                raise ProjectError(
                    f"{file.name} is gone or empty, though this project was worked on "
                    f"({trace} is there)",
                    fix="Bring it back from a backup (`annoloop restore BACKUP DIR`): nothing else "
                    f"holds the labels. To start over, remove {trace} too.",
                )

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="milliseconds")

    def _context(self) -> Context:
        chosen = self.settings
        context = Context(
            folder=self.folder,
            settings=chosen,
            store=self.store,
            vectors=VectorStore(self.folder),
            who=self._who,
            now=self._now,
            stopwatch=time.perf_counter,
            say=self.say,
            progress=self.progress,
            embedder=self._once("embedders", chosen.embed.embedder, chosen.embed.options),
            trainer=self._once("trainers", chosen.train.trainer, chosen.train.options),
            strategies=plugins.strategies,
        )
        first = chosen.embed.first
        before = None if first is None else self._once("embedders", first, {})
        return replace(context, embedder=partial(newest.embedder, context, before))

    def _once(self, kind: str, name: str, options: Mapping[str, Any]) -> Callable[[], Any]:
        """Make an adapter at first need and keep it: trainers may hold what they have computed."""

        def made() -> Any:
            if (kind, name) not in self._made:
                self._made[kind, name] = plugins.make(kind, name, dict(options))
            return self._made[kind, name]

        return made

    @contextmanager
    def _alone(self, verb: str) -> Iterator[Context]:
        """Machine work holds the project's lock; a second process is refused by name."""
        file = self.folder / LOCK
        with durable.named(self.folder), file.open("a+", encoding="utf-8") as handle:
            try:
                _lock(handle)
            except BlockingIOError as error:
                handle.seek(0)
                holder = handle.read().strip() or "it has only just begun"
                raise BusyError(
                    f"another annoloop is working on this project ({holder})",
                    fix="Wait for it to finish, or end it, and run this again.",
                ) from error
            handle.truncate(0)
            handle.write(f"{verb}, process {os.getpid()}")
            handle.flush()
            yield self._context()
            handle.truncate(0)

    def busy(self) -> str | None:
        """Which machine work another process or thread does here, as "train, process 12"."""
        try:
            with (self.folder / LOCK).open("r", encoding="utf-8") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return handle.read().strip() or "it has only just begun"
        except OSError:
            pass  # nobody has worked here yet, or the lock cannot be read: then a step will say so
        return None

    def _read(self, path: str, form: str | None) -> ForeignDataset:
        where = Path(path)
        name = form or plugins.detect_format(where)
        # YOLO files hold shares of the image, so their reader has to find the images.
        options = {"images": str(self.folder / self.settings.images.root)} if name == "yolo" else {}
        reader = plugins.make("readers", name, options)
        with durable.named(where):
            foreign.refuse_huge(where, self.settings.labels.max_mib)
            found: ForeignDataset = reader.read(where)
        return found

    def _ingest(self, given: Source, reader: LoopReader | None) -> results.IngestResult:
        from annoloop.steps import ingest, ingest_loop, split

        labels = None
        if reader is None and given.labels is not None:
            labels = self._read(given.labels, given.format)
        adopt = given.adopt_labels
        with self._alone("ingest") as context:
            before = self._is_split()
            if reader is not None:
                made = ingest_loop.ingest_loop(context, reader, classes=given.classes, adopt=adopt)
            else:
                made = ingest.ingest(context, labels, classes=given.classes, adopt=adopt)
            if before and made.images_added:
                checked = split.split(context)
                made = replace(made, notes=(*made.notes, *checked.notes))
        return made

    def _is_split(self) -> bool:
        from annoloop.store import samples

        with self.store.read() as connection:
            return samples.locked_groups(connection) is not None

    def _made_of(self) -> Source:
        """The dataset that this project was made of, if it was."""
        known = self.settings.fiftyone
        return Source(dataset=known.dataset, view=known.view, labels=known.labels)


def open_loop(source: Source, group: str) -> AbstractContextManager[LoopReader | None]:
    """The dataset of a source, while it is read; `group` is written like [split] group."""
    return nullcontext() if source.dataset is None else _opened("readers", source, group)


def open_mirror(source: Source, group: str) -> AbstractContextManager[Mirror]:
    """The dataset of a source, to be written to. Raises ProjectError where there is none."""
    if source.dataset is None:
        raise ProjectError(
            "this project was not made of a dataset",
            fix="Make one with `annoloop init DIR --fiftyone NAME`; only its samples have the "
            "dataset's ids.",
        )
    opened: AbstractContextManager[Mirror] = _opened("mirrors", source, group)
    return opened


def _opened(port: str, source: Source, group: str) -> AbstractContextManager[Any]:
    options = {"view": source.view, "labels": source.labels}
    adapter = plugins.make(port, "fiftyone", {k: v for k, v in options.items() if v})
    kind, _, field = group.partition(":")
    opened: AbstractContextManager[Any] = adapter.open_loop(
        source.dataset, group=field if kind == "column" else None
    )
    return opened


def _lock(handle: TextIO) -> None:
    """Take the lock, or raise BlockingIOError; who only looks (`busy`) has it for a moment."""
    for patience in (0.02, 0.02, 0.0):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not patience:
                raise
            time.sleep(patience)


def _user() -> str:
    try:
        return os.environ.get("ANNOLOOP_USER") or getpass.getuser()
    except (KeyError, OSError):  # in containers people run under numbers that have no name
        return f"uid {os.getuid()}"

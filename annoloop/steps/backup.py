"""`backup`: all that cannot be computed again, as one folder, while others go on working."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tomllib
from importlib.metadata import version
from pathlib import Path

from annoloop import durable, settings
from annoloop.errors import InputError, SettingsError
from annoloop.results_backup import BackupResult
from annoloop.settings import StoreSettings
from annoloop.steps.context import Context
from annoloop.steps.manifest import MANIFEST
from annoloop.store import iterations, samples
from annoloop.store.db import Store, row_counts
from annoloop.store.vectors import SEEN

ABOUT = "backup.json"
DATABASE = "annoloop.db"
DATABASE_URL = f"sqlite:///{DATABASE}"
MODELS = "models"

_URL_LINE = re.compile(r"^(\s*url\s*=\s*).*$", re.MULTILINE)


def backup(context: Context, out: Path, *, derived: bool = False) -> BackupResult:
    """Copy database, settings and split manifest into the new folder `out`; images never.

    With `derived` also vectors, fingerprints, scores, predictions and models: they can be computed
    again, which may be dear. Takes no lock: the database is one consistent state, whatever is
    being written. Raises InputError if `out` is not empty or lies in the image folder.
    """
    durable.refuse_full(out)
    if out.resolve().is_relative_to(context.images_root.resolve()):
        raise InputError(f"{out} lies in the image folder", fix="Keep backups elsewhere.")
    at = context.now()
    with durable.whole_folder(out) as part:
        # The database first: whatever it speaks of is there already, and is copied after it.
        context.store.copy_to(part / DATABASE)
        copy = Store(DATABASE_URL, part)
        with copy.read() as connection:
            rows = row_counts(connection)
            locked = bool(samples.locked(connection))
            models = {str(s.record["model"]) for s in iterations.step_history(connection, "train")}
        copy.settle()
        text = (context.folder / settings.FILE).read_text(encoding="utf-8")
        (part / settings.FILE).write_text(_portable(text), encoding="utf-8")
        if locked:
            shutil.copyfile(context.folder / MANIFEST, part / MANIFEST)
        copied = _derived(context, part, models) if derived else ()
        context.vectors.copy_to(part, models=(), kinds=(SEEN,))
        about = {
            "annoloop": version("annoloop"),
            "at": at,
            "project": str(context.folder),
            "images": str(context.images_root),
            "rows": rows,
            "derived": copied,
            "sha256": {file: digest(part / file) for file in _kept(part)},
        }
        durable.write_text(part / ABOUT, json.dumps(about, indent=1) + "\n")
        size = sum(f.stat().st_size for f in part.rglob("*") if f.is_file())
    left = (
        ()
        if derived
        else (
            "vectors, scores, predictions and models are not in it: they are "
            "derived, and computed again when needed (`--derived` copies them)",
        )
    )
    notes = (*left, f"the images stay where they are: {context.images_root}")
    return BackupResult(str(out), at, size, rows, copied, notes)


def digest(file: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _kept(part: Path) -> list[str]:
    return [f for f in (DATABASE, settings.FILE, MANIFEST) if (part / f).is_file()]


def _derived(context: Context, part: Path, models: set[str]) -> tuple[str, ...]:
    """Only what belongs to models that the copied database knows: a later one may reuse a name."""
    copied = list(context.vectors.copy_to(part, models=models))
    for model in sorted(models):
        if context.model_folder(model).is_dir():
            shutil.copytree(context.model_folder(model), part / MODELS / model)
            copied.append(f"{MODELS}/{model}")
    return tuple(copied)


def _portable(text: str) -> str:
    """The settings with the database beside them, where a restored one will be."""
    if _url(text) in (None, DATABASE_URL):
        return text
    changed = _URL_LINE.sub(rf'\1"{DATABASE_URL}"', text)
    if _url(changed) != DATABASE_URL:
        raise SettingsError(
            f"{settings.FILE}: the database of a backup has to lie beside it",
            fix=f'Write `url = "…"` of [store] on a line of its own (default: {DATABASE_URL!r}).',
        )
    return changed


def _url(text: str) -> str | None:
    return StoreSettings.model_validate(tomllib.loads(text).get("store", {})).url

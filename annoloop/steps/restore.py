"""`restore`: a project out of a backup, in a new place, checked before it is believed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from annoloop import durable, settings
from annoloop.errors import InputError, ProjectError
from annoloop.results_backup import RestoreResult
from annoloop.steps.backup import ABOUT, DATABASE, DATABASE_URL, digest
from annoloop.store.db import Store, row_counts


def restore(backup: Path, folder: Path) -> RestoreResult:
    """Make the new folder `folder` a project again, equal to the backed-up one to the row.

    Raises InputError if `backup` is none or `folder` is not empty, ProjectError if the backup is
    damaged or was made by a newer annoloop; nothing is made then.
    """
    about = _about(backup)
    _refuse_damaged(backup, about)
    durable.refuse_full(folder)
    with durable.whole_folder(folder) as part:
        for one in backup.iterdir():
            if one.name == ABOUT:
                continue
            copy = shutil.copytree if one.is_dir() else shutil.copyfile
            copy(one, part / one.name)
        store = Store(DATABASE_URL, part)
        store.check()  # refuses the database of a newer annoloop
        with store.read() as connection:
            state = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
            rows = row_counts(connection)
        store.settle()
        if state != "ok" or rows != about["rows"]:
            raise ProjectError(
                f"{backup / DATABASE} is damaged ({state}; rows {rows}, expected {about['rows']})",
                fix="Use another backup.",
            )
    return RestoreResult(
        project=str(folder.resolve()),
        at=about["at"],
        rows=rows,
        derived=tuple(about["derived"]),
        notes=tuple(_notes(folder, about)),
    )


def _about(backup: Path) -> dict[str, Any]:
    file = backup / ABOUT
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        known = {"at", "rows", "sha256", "images", "derived"} <= found.keys()
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        raise InputError(
            f"{backup} is no backup of annoloop: {file.name} is missing or cannot be read",
            fix="Name the folder that `annoloop backup OUT` made.",
        ) from error
    if not known:
        raise InputError(f"{file}: is not what `annoloop backup` wrote", fix="Use another backup.")
    return dict(found)


def _refuse_damaged(backup: Path, about: dict[str, Any]) -> None:
    for name, expected in about["sha256"].items():
        file = backup / Path(name).name
        if not file.is_file() or digest(file) != expected:
            raise ProjectError(
                f"{file} is not what the backup of {about['at']} put there",
                fix="Use another backup; this one was changed or is incomplete.",
            )
    for name in (DATABASE, settings.FILE):
        if name not in about["sha256"]:
            raise InputError(f"{backup / ABOUT} speaks of no {name}", fix="Use another backup.")


def _notes(folder: Path, about: dict[str, Any]) -> list[str]:
    chosen = settings.load(folder, environ={})
    images = folder / chosen.images.root
    notes = []
    if not images.is_dir():
        notes.append(
            f"the images are not at {images} (they were at {about['images']}): bring them there, "
            f"or correct [images] root in {settings.FILE}"
        )
    if not about["derived"]:
        notes.append(
            "vectors and scores are computed again when needed; a model has to be trained again "
            "before `predict` and `evaluate`"
        )
    return notes

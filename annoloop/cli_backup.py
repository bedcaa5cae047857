"""The verbs that keep a project safe: `backup`, `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from annoloop.cli_options import HERE, Folder, Json, open_project, show


def backup(
    out: Path,
    derived: Annotated[
        bool, typer.Option(help="Also vectors, scores, predictions and models.")
    ] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """All that cannot be computed again, as one folder, while others go on working."""
    show(open_project(project).backup(out, derived=derived), as_json=json)


def restore(backup: Path, directory: Path, json: Json = False) -> None:
    """A project out of a backup, in a new folder."""
    from annoloop.project import Project

    _, made = Project.restore(backup, directory)
    show(made, as_json=json)

"""What all verbs share: their common options, opening a project, printing an answer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from annoloop.errors import SettingsError

if TYPE_CHECKING:
    from annoloop.project import Project

Folder = Annotated[Path, typer.Option("--project", help="Project folder.", show_default="here")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
HERE = Path()


def show(result: Any, *, as_json: bool) -> None:
    from annoloop import render

    sys.stdout.write(render.to_json(result) if as_json else render.to_text(result))
    sys.stdout.flush()


def say(text: str) -> None:
    from annoloop.render_text import counted

    sys.stderr.write(counted(text) + "\n")
    sys.stderr.flush()


def open_project(folder: Path, overrides: Mapping[str, Any] | None = None) -> Project:
    from annoloop.project import Project
    from annoloop.render import progress_bar

    return Project(folder, overrides=overrides, say=say, progress=progress_bar())


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def mix_of(text: str) -> dict[str, float]:
    """The shares in ``coverage=0.3,targeted=0.7``. Raises SettingsError."""
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(share) for name, share in pairs}
    except ValueError as error:
        raise SettingsError(
            f"--mix {text!r} is not a mix", fix="Write it like coverage=0.3,targeted=0.7."
        ) from error

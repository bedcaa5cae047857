"""The verbs that look back: what was done by whom, and what is known of one image."""

from __future__ import annotations

from typing import Annotated

import typer

from annoloop.cli_options import HERE, Folder, Json, open_project, show


def history(
    events: Annotated[int, typer.Option(min=1, help="Lines of the audit log.")] = 200,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """What was done and decided, when and by whom."""
    show(open_project(project).history(events=events), as_json=json)


def sample(
    name: Annotated[str, typer.Argument(metavar="PATH", help="Below the image root, or an id.")],
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """All that is known of one image, and why it was picked."""
    show(open_project(project).sample(name), as_json=json)

"""The verbs that look for errors: failures of the model, and labels that are probably wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from annoloop.cli_options import HERE, Folder, Json, open_project, show

failures = typer.Typer(help="The typed failures of the newest evaluation; review of them.")
suspects = typer.Typer(help="Labels of the training set that are probably wrong.")


@failures.callback(invoke_without_command=True)
def failures_list(context: typer.Context, project: Folder = HERE, json: Json = False) -> None:
    """The typed failures of the newest evaluation, in groups, and what changed."""
    if context.invoked_subcommand is None:
        show(open_project(project).failures(), as_json=json)


@failures.command("review")
def failures_review(
    size: Annotated[int | None, typer.Option(help="How many failures; 60 by default.")] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """A blind batch of failures for two people: are they the model's?"""
    show(open_project(project).failures_review(size), as_json=json)


@suspects.callback(invoke_without_command=True)
def suspects_list(context: typer.Context, project: Folder = HERE, json: Json = False) -> None:
    """Labels of the training set that are probably wrong, after `train --folds`."""
    if context.invoked_subcommand is None:
        show(open_project(project).suspects(), as_json=json)


@suspects.command("relabel")
def suspects_relabel(
    size: Annotated[int | None, typer.Option(help="How many images; 30 by default.")] = None,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """A batch of the images whose labels are most likely wrong, to be corrected."""
    show(open_project(project).suspects_relabel(size), as_json=json)

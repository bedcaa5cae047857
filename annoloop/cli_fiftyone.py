"""The command line for FiftyOne users."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from annoloop.cli_options import HERE, Folder, Json, mix_of, open_project, say, show

fiftyone = typer.Typer(no_args_is_help=True, help="The loop for FiftyOne users.")


@fiftyone.command("iterate")
def iterate(
    name: str,
    size: Annotated[int | None, typer.Option(help="Number of samples.")] = None,
    mix: Annotated[str | None, typer.Option(help="coverage=0.3,targeted=0.7")] = None,
    seed: Annotated[int, typer.Option(help="Another seed.")] = 0,
    rescore: Annotated[bool, typer.Option(help="Compute zcore anew.")] = False,
    embed: Annotated[bool, typer.Option(help="Compute vectors where there are none.")] = False,
    allow_open: Annotated[bool, typer.Option(help="Although the last batch is open.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the batch without taking it.")] = False,
    json: Json = False,
) -> None:
    """Golden statistics and the next batch of a dataset, without a project."""
    from annoloop import fiftyone as loop

    with redirect_stdout(sys.stderr):  # FiftyOne talks there, and stdout is ours for data
        made = loop.iterate(
            name,
            size,
            mix=loop.MIX if mix is None else mix_of(mix),
            seed=seed,
            rescore=rescore,
            embed=embed,
            allow_open=allow_open,
            dry_run=dry_run,
            say=say if json else lambda _: None,
        )
    show(made, as_json=json)


@fiftyone.command("sync")
def sync(
    force: Annotated[bool, typer.Option(help="Overwrite what people set there.")] = False,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Show in the dataset what the project decided."""
    show(open_project(project).fiftyone_sync(force=force), as_json=json)


@fiftyone.command("progress")
def progress(name: str, json: Json = False) -> None:
    """Where the loop stands on a dataset."""
    from annoloop import fiftyone as loop

    with redirect_stdout(sys.stderr):
        made = loop.progress(name)
    show(made, as_json=json)


@fiftyone.command("install-plugin")
def install_plugin(json: Json = False) -> None:
    """Put the plugin for the FiftyOne App into its plugins folder."""
    from annoloop import fiftyone as loop

    with redirect_stdout(sys.stderr):
        made = loop.install_plugin()
    show(made, as_json=json)

"""The verb that serves the local app."""

from __future__ import annotations

from typing import Annotated

import typer

from annoloop.cli_options import HERE, Folder, Json, open_project, say


def local_app(
    host: Annotated[
        str, typer.Option(help="Beyond 127.0.0.1 people need the key that it prints.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8420,
    project: Folder = HERE,
    json: Json = False,
) -> None:
    """Label in the browser, on this machine; the command line works beside it."""
    from annoloop.app.server import serve

    serve(open_project(project), host=host, port=port, say=say)

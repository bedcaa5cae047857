"""Verbs of the project that was made of a FiftyOne dataset, as the plugin runs them."""

from __future__ import annotations

from typing import Any

from annoloop import fiftyone as loop
from annoloop.errors import InputError, ProjectError
from annoloop.project import Project
from annoloop.render import to_text
from annoloop.render_fiftyone import golden_line

PROJECT = "annoloop_project"
"""The entry of `dataset.info` that remembers the project's folder."""

MAKE = "`annoloop init DIR --fiftyone {name}` makes one; it takes over what the dataset holds."


def folder_of(dataset: Any) -> str:
    """The folder that was given last, or nothing."""
    return str(dataset.info.get(PROJECT) or "")


def golden_check(dataset: Any, folder: str, *, accept: str | None = None) -> str:
    """The test of the blind answers; without a project the statistics that a dataset has.

    Raises what `Project.golden_check` raises, ProjectError for a folder of another dataset.
    """
    if not folder:
        said = golden_line(loop.golden_statistics(dataset))
        return f"{said}\nA test needs blind answers, and those a project. {_make(dataset)}"
    return to_text(_project(dataset, folder).golden_check(accept=accept))


def decide(dataset: Any, folder: str) -> str:
    """Stop or continue, with reason and numbers; then the dataset is shown what is new.

    Raises what `Project.decide` raises, InputError without a project.
    """
    if not folder:
        raise InputError("a verdict needs a project", fix=_make(dataset))
    project = _project(dataset, folder)
    said = to_text(project.decide())
    project.fiftyone_sync()
    return said


def _make(dataset: Any) -> str:
    return MAKE.format(name=dataset.name)


def _project(dataset: Any, folder: str) -> Project:
    project = Project(folder)
    made_of = project.settings.fiftyone.dataset
    if made_of != dataset.name:
        raise ProjectError(
            f"the project in {project.folder} was not made of dataset {dataset.name!r}",
            fix=_make(dataset),
        )
    if folder_of(dataset) != str(project.folder):
        dataset.info[PROJECT] = str(project.folder)
        dataset.save()
    return project

"""`init`: the folder of a new project, or the same one again after a kill."""

from __future__ import annotations

from pathlib import Path

from annoloop import durable, foreign, settings
from annoloop.errors import InputError, ProjectError, SettingsError
from annoloop.ports import LoopReader
from annoloop.records import Source
from annoloop.steps.dataset import common_folder


def prepare(
    folder: Path, source: Source, *, group: str, reader: LoopReader | None = None
) -> tuple[Path, bool]:
    """Make folder and annoloop.toml if they are not there; True if they were not.

    `reader` is the dataset that the project is made of, if it is.
    """
    where = folder.resolve()
    file = where / settings.FILE
    if reader is not None:
        return _beside(where, source, group=group, reader=reader)
    if source.images is None:
        raise InputError("a project needs images", fix="Say where they are: `--images PATH`.")
    foreign.refuse_archive(Path(source.images))
    if not Path(source.images).is_dir():
        raise InputError(
            f"there is no folder of images at {source.images}", fix="Correct `--images`."
        )
    if where.exists() and not where.is_dir():
        raise InputError(f"{where} is a file", fix="Name a folder for the project.")
    if file.exists():
        return where, False
    root = image_folder(Path(source.images), where)
    with durable.named(where):
        where.mkdir(parents=True, exist_ok=True)
        durable.write_text(file, settings.template(root, group=group))
    return where, True


def _beside(where: Path, source: Source, *, group: str, reader: LoopReader) -> tuple[Path, bool]:
    """The same for the project of a dataset: its images stay where they are."""
    file = where / settings.FILE
    if where.exists() and not where.is_dir():
        raise InputError(f"{where} is a file", fix="Name a folder for the project.")
    if file.exists():
        return where, False
    loop = reader.read_loop()
    if loop.group is not None and group not in ("none", f"column:{loop.group}"):
        raise SettingsError(
            f"dataset {loop.name!r} is grouped by its field {loop.group!r} already",
            fix="Leave out `--group`.",
        )
    # Not resolved: the dataset's own paths, with their links, are compared with it.
    root = Path(source.images or common_folder(loop)).absolute()
    inside = root.is_relative_to(where)
    about = {"dataset": loop.name, "view": source.view, "labels": source.labels}
    with durable.named(where):
        where.mkdir(parents=True, exist_ok=True)
        durable.write_text(
            file,
            settings.template(
                (root.relative_to(where) if inside else root).as_posix(),
                group=group if loop.group is None else f"column:{loop.group}",
                embedder=(loop.vectors or "pixels").partition(":")[0],
                fiftyone={key: value for key, value in about.items() if value},
            ),
        )
    return where, True


def refuse_another(where: Path, source: Source, known: settings.Settings, *, group: str) -> None:
    """Raise ProjectError if a project that exists was made of other images or groups."""
    made_of = (known.fiftyone.dataset, known.fiftyone.view)
    other_field = source.dataset and source.labels not in (None, known.fiftyone.labels)
    if made_of != (source.dataset, source.view) or other_field:
        names = " / ".join(name for name in made_of if name)
        raise ProjectError(
            f"{where} is a project already, of "
            + (f"the dataset {names}" if names else "a folder of images"),
            fix="Make the new project elsewhere; `annoloop ingest` adds to this one.",
        )
    if source.dataset is not None and group in {"none", known.split.group}:
        return
    same = Path(source.images or "").resolve() == (where / known.images.root).resolve()
    if not same or group not in {"none", known.split.group}:
        raise ProjectError(
            f"{where} is a project already, with other images or another grouping",
            fix="Change them in its annoloop.toml, or make the new project elsewhere.",
        )


def image_folder(path: Path, project: Path) -> str:
    """How annoloop.toml names the image folder: relative when it lies inside the project."""
    full = path.resolve()
    inside = full.is_relative_to(project.resolve())
    return full.relative_to(project.resolve()).as_posix() if inside else full.as_posix()

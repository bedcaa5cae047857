"""What every reader of foreign files refuses and drops, in the same words for each format."""

from __future__ import annotations

import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

from annoloop.errors import InputError
from annoloop.records import Answer, Box, ForeignDataset, ForeignImage, Problem

MAX_NAME = 200
"""Longest class name, in characters."""

MAX_REMARK = 4000
"""Longest remark of a person on an image, in characters."""

LABEL_SUFFIXES = frozenset({".json", ".yaml", ".yml", ".data", ".xml", ".txt", ".names"})
ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})

HINTS = {".json": "coco", ".yaml": "yolo", ".yml": "yolo", ".data": "yolo", ".xml": "voc"}


def wrong_format(source: Path, wanted: str) -> InputError:
    """The error for a source that is missing, or is not of the format that was asked for."""
    if not source.exists():
        return InputError(f"{source}: there is no such file or folder", fix="Correct the path.")
    return InputError(
        f"{source}: not a {wanted.upper()} data set{looks_like(source, wanted)}",
        fix=f"Name the right file or folder, or another format than `--format {wanted}`.",
    )


def refuse_huge(source: Path, max_mib: int) -> None:
    """Raise InputError for a label file that would not fit into memory, or that is no file."""
    inside = (f for f in source.rglob("*") if f.suffix.lower() in LABEL_SUFFIXES)
    for file in inside if source.is_dir() else [source]:
        if file.is_dir() or not file.exists():
            continue
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise InputError(
                f"{file}: is a device or a pipe, not a file", fix="Write the labels into a file."
            )
        if found.st_size > max_mib << 20:
            raise InputError(
                f"{file}: {found.st_size / (1 << 20):,.0f} MiB is above the limit of "
                f"{max_mib:,} MiB for a label file",
                fix="Leave out the segmentations, split it by images into several files, or raise "
                "max_mib in [labels] of annoloop.toml.",
            )


def refuse_archive(source: Path) -> None:
    """Raise InputError for a .zip and the like: nothing is ever unpacked by annoloop."""
    if source.suffix.lower() in ARCHIVES and not source.is_dir():
        raise InputError(
            f"{source}: annoloop reads no archives",
            fix="Unpack it yourself, look at what came out, and name that folder or file.",
        )


def number(text: str) -> float:
    """A decimal number as files write it. Raises ValueError for what Python alone would read."""
    if "_" in text or not text.isascii():
        raise ValueError(f"{text!r} is no number")
    return float(text)


def said(text: str, where: str) -> str:
    """A remark of a person. Raises InputError where it could not be stored or shown."""
    if len(text) > MAX_REMARK:
        raise InputError(
            f"{where}: a remark of {len(text):,} characters, more than {MAX_REMARK:,}",
            fix="Say it shorter.",
        )
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\r\t" for c in text):
        raise InputError(f"{where}: {text!a:.80} has control characters", fix="Remove them.")
    return text


def looks_like(source: Path, wanted: str) -> str:
    """A remark on the first file of another format, in the folder or one level below."""
    inside = [source] if source.is_file() else [*source.glob("*"), *source.glob("*/*")]
    for file in sorted(inside, key=lambda path: (len(path.parts), path)):
        kind = HINTS.get(file.suffix.lower(), wanted)
        if kind != wanted:
            return f" ({file.name} looks like {kind})"
    return ""


def class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The names, if each is unique, not empty, printable and at most 200 characters long."""
    for position, name in enumerate(names):
        what = None
        if not name.strip():
            what = "is empty"
        elif len(name) > MAX_NAME:
            what = f"has {len(name)} characters, more than {MAX_NAME}"
        elif not _is_printable(name):
            what = f"{name!a} has control characters"
        if what:
            raise InputError(f"{where}: class name {position} {what}", fix="Rename the class.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(
            f"{where}: the class name {twice[0]!r} is there twice", fix="Merge or rename them."
        )
    return tuple(names)


def image_path(name: str, where: str) -> str:
    """The path in POSIX form, if it is relative and stays below its folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    first = path.parts[0] if path.parts else ""
    if not first or not _is_printable(name):
        raise InputError(f"{where}: {name!a} is no file name", fix="Name the image file.")
    drive_or_url = first.endswith(":") or first[1:2] == ":"
    if path.is_absolute() or drive_or_url or ".." in path.parts:
        raise InputError(
            f"{where}: the path {name!r} is absolute or leaves its folder",
            fix="Write paths relative to the image folder, without `..`.",
        )
    return path.as_posix()


def why_dropped(box: Box, width: int | None, height: int | None) -> str | None:
    """Why a box cannot be used, or None: it has no area, or lies wholly outside its image."""
    x, y, w, h = box
    if w <= 0 or h <= 0 or w * h <= 0:  # the product of tiny numbers is 0 as well
        return f"the box has no area ({w:g} × {h:g} pixels)"
    right = width is not None and x >= width
    below = height is not None and y >= height
    if x + w <= 0 or y + h <= 0 or right or below:
        return f"the box ({x:g}, {y:g}, {w:g}, {h:g}) lies wholly outside its image"
    return None


def after_drops(image: ForeignImage, dropped: int) -> ForeignImage:
    """An image that lost every box to `why_dropped` is not reviewed-empty: somebody saw objects."""
    if not dropped or image.labels:
        return image
    answer = None if image.answer in (Answer.COMPLETE, Answer.EMPTY) else image.answer
    return replace(image, reviewed=False, answer=answer)


def assemble(
    source: Path,
    classes: tuple[str, ...],
    *,
    images: Iterable[ForeignImage],
    problems: Iterable[Problem],
) -> ForeignDataset:
    """The data set sorted by path. Raises InputError if two images have the same path."""
    ordered = sorted(images, key=lambda image: image.path)
    for one, other in pairwise(ordered):
        if one.path == other.path:
            raise InputError(
                f"{source}: the image {one.path} is there twice", fix="Keep one of the two."
            )
    return ForeignDataset(classes, tuple(ordered), tuple(problems))


def written_paths(paths: Iterable[str], *, suffix: str | None = None) -> list[str]:
    """The files to write for these image paths; with `suffix` label files (`a/b.jpg` → `a/b.xml`).

    Raises InputError for an unsafe path, and where two images would share a file.
    """
    owner: dict[str, str] = {}
    for path in paths:
        file = PurePosixPath(image_path(path, "an image to write"))
        name = (file if suffix is None else file.with_suffix(suffix)).as_posix()
        if name in owner:
            raise InputError(
                f"{owner[name]} and {path} would both be written to {name}",
                fix="Rename one of the images, or write another format.",
            )
        owner[name] = path
    return list(owner)


def _is_printable(text: str) -> bool:
    # Control characters, lone surrogates, line and paragraph separators.
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)

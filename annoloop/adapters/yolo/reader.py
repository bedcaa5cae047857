"""Reads label files, whatever the layout."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from annoloop import foreign
from annoloop.adapters.yolo.layout import Item, Layout, find_layout, normal, read_lines
from annoloop.errors import InputError
from annoloop.images import SUFFIXES, size
from annoloop.records import Box, ForeignDataset, ForeignImage, Label, Problem

FAR = 10.0
"""No honest relative coordinate is this large; pixels are."""


class YoloReader:
    """Reads a data.yaml, an obj.data, or a folder of label files.

    `images` names the folder of the images where they lie elsewhere than the layout says.
    """

    def __init__(self, images: str | None = None) -> None:
        self._images = None if images is None else normal(Path(images))

    def read(self, source: Path) -> ForeignDataset:
        """One image for each label file; an empty file says reviewed, without objects.

        Paths are relative to the first folder named `images`, else to the data set's root, else
        to the folder that holds all images; with the option `images`, to that. Boxes without area
        or wholly outside are dropped and reported. Raises InputError naming file and line.
        """
        layout = find_layout(normal(source))
        if not layout.items:
            raise InputError(f"{source}: there is no label file", fix="Name the right folder.")
        images = _Images(self._images)
        files = [images.of(item, layout.root) for item in layout.items]
        base = self._images or _base(files, layout.root)
        read = [
            _read_one(item, file, base=base, layout=layout)
            for item, file in zip(layout.items, files, strict=True)
        ]
        return foreign.assemble(
            source,
            layout.classes,
            images=(image for image, _ in read),
            problems=(problem for _, problems in read for problem in problems),
        )


def _read_one(
    item: Item, file: Path, *, base: Path, layout: Layout
) -> tuple[ForeignImage, list[Problem]]:
    width, height = size(str(file))
    path = foreign.image_path(file.relative_to(base).as_posix(), str(item.file))
    labels, problems = [], []
    for where, label in _labels(item.file, len(layout.classes), width=width, height=height):
        why = foreign.why_dropped(label.box, width, height)
        if why is None:
            labels.append(label)
        else:
            name = Path(os.path.relpath(item.file, layout.root)).as_posix()
            problems.append(Problem(name, where, why, "dropped"))
    image = ForeignImage(path, tuple(labels), width, height, reviewed=True, split=item.split)
    return foreign.after_drops(image, len(problems)), problems


def _labels(file: Path, classes: int, *, width: int, height: int) -> Iterator[tuple[str, Label]]:
    for number, line in enumerate(read_lines(file), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            class_id, box = _parse(fields, classes)
        except ValueError as error:
            raise InputError(
                f"{file}:{number}: {error}",
                fix="A row is `class x y width height`, relative to the image, from 0 to 1; "
                "move files that hold no labels elsewhere.",
            ) from None
        x, y, w, h = box
        left, top = (x - w / 2) * width, (y - h / 2) * height
        yield f"line {number}", Label(class_id, (left, top, w * width, h * height))


def _parse(fields: Sequence[str], classes: int) -> tuple[int, Box]:
    """Class id and relative centre x, y, width, height. Raises ValueError saying what is wrong."""
    if len(fields) == 6:
        raise ValueError("six values are a prediction with its score, not a label")
    if len(fields) > 6:
        raise ValueError(f"{len(fields)} values: segmentation labels are not boxes")
    if len(fields) != 5:
        raise ValueError(f"{len(fields)} values instead of five")
    if not (fields[0].isascii() and fields[0].isdigit() and int(fields[0]) < classes):
        raise ValueError(f"class {fields[0]!r:.40} is none of 0 to {classes - 1}")
    try:
        x, y, w, h = map(foreign.number, fields[1:])
    except ValueError:
        raise ValueError(f"{' '.join(fields[1:])!r:.80} are not four numbers") from None
    if not all(map(math.isfinite, (x, y, w, h))):
        raise ValueError("a coordinate is not finite")
    if w < 0 or h < 0:
        raise ValueError("width or height is negative")
    if max(map(abs, (x, y, w, h))) > FAR:
        raise ValueError("coordinates are not relative to the image")
    return int(fields[0]), (x, y, w, h)


class _Images:
    """Finds the image of a label file; each folder is listed once."""

    def __init__(self, given: Path | None) -> None:
        self._given = given
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def of(self, item: Item, root: Path) -> Path:
        stems = item.stems if self._given is None else tuple(_tails(self._given, item, root))
        for stem in stems:
            found = self._listed(stem.parent).get(stem.name, [])
            if len(found) > 1:
                names = " and ".join(file.name for file in found[:2])
                raise InputError(
                    f"{item.file}: both {names} could be its image", fix="Rename one of them."
                )
            if found:
                return found[0]
        raise InputError(
            f"{item.file}: its image is not at {stems[0]}.* "
            "(relative boxes need the size of the image)",
            fix="Put the images where the layout wants them, or name their folder with the "
            "reader's option `images`.",
        )

    def _listed(self, folder: Path) -> Mapping[str, list[Path]]:
        if folder not in self._folders:
            stems: dict[str, list[Path]] = {}
            for file in sorted(folder.iterdir()) if folder.is_dir() else ():
                if file.suffix.lower() in SUFFIXES:
                    stems.setdefault(file.stem, []).append(file)
            self._folders[folder] = stems
        return self._folders[folder]


def _tails(images: Path, item: Item, root: Path) -> Iterator[Path]:
    """In the folder `images`: the label's path below the root, then ever shorter ends of it."""
    parts = item.file.with_suffix("").parts
    inside = parts[len(root.parts) :] if item.file.is_relative_to(root) else parts[-1:]
    for start in range(len(inside)):
        yield images.joinpath(*inside[start:])


def _base(files: Sequence[Path], root: Path) -> Path:
    common = Path(os.path.commonpath([str(file.parent) for file in files]))
    if not common.is_relative_to(root):
        return common
    inside = common.relative_to(root).parts
    return root.joinpath(*inside[: inside.index("images") + 1]) if "images" in inside else root

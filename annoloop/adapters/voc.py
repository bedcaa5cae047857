"""Pascal VOC: one XML file an image, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc.

A box is taken as most tools write it today: x = xmin, y = ymin, width = xmax − xmin, height =
ymax − ymin. The original devkit counts pixels from 1 and both corners belong to the box; with
`one_based` it is read so: x = xmin − 1, width = xmax − xmin + 1. The difference is one pixel; the
same boxes published as VOC, COCO and YOLO agree only without it, so it is not the default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from annoloop import foreign
from annoloop.errors import InputError
from annoloop.images import SUFFIXES, place
from annoloop.records import Box, ForeignDataset, ForeignImage, Label, LabeledImage, Problem

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class _Object:
    """Its row in the file, its class by name, and its label with no class id yet."""

    where: str
    name: str
    label: Label


class VocReader:
    """Reads a folder of .xml files, with its subfolders, or a root that holds Annotations/.

    `classes` fixes the class order, which is alphabetical otherwise; `one_based` reads corners as
    the original devkit does (see the module).
    """

    def __init__(self, classes: Sequence[str] | None = None, one_based: bool = False) -> None:
        self._classes = None if classes is None else foreign.class_names(classes, "classes")
        self._one_based = one_based

    def read(self, source: Path) -> ForeignDataset:
        """An XML file says that its image is reviewed, one without objects that it is empty.

        An image's path is that of its XML file, with the suffix of the file name in it; splits
        come from ImageSets/Main. Boxes without area or wholly outside are dropped and reported.
        Raises InputError naming file and object.
        """
        folder = source / "Annotations" if (source / "Annotations").is_dir() else source
        files = sorted(f for f in folder.rglob("*.xml") if not _is_hidden(f, folder))
        if not files:
            raise foreign.wrong_format(source, "voc")
        roots = {file: _parse(file) for file in files}
        objects = {file: self._objects(file, root) for file, root in roots.items()}
        names = {one.name for found in objects.values() for one in found}
        classes = self._classes or foreign.class_names(sorted(names), str(source))
        splits = _splits(source)
        images: list[ForeignImage] = []
        problems: list[Problem] = []
        for file, root in roots.items():
            inside = file.relative_to(folder)
            image, odd = _image(root, file, inside)
            labels, dropped = _kept(objects[file], image, index=classes, file=inside)
            split = splits.get(inside.with_suffix("").as_posix())
            image = replace(image, labels=labels, split=split)
            images.append(foreign.after_drops(image, len(dropped)))
            problems += [*odd, *dropped]
        return foreign.assemble(source, classes, images=images, problems=problems)

    def _objects(self, file: Path, root: Element) -> list[_Object]:
        found = []
        for number, element in enumerate(root.findall("object")):
            where = f"object[{number}]"
            name = (element.findtext("name") or "").strip()
            foreign.class_names([name], f"{file}: {where}")
            if self._classes is not None and name not in self._classes:
                raise _bad(f"{file}: {where}", f"has the class {name!r}, which is none of yours")
            label = Label(
                -1,
                _box(element, f"{file}: {where}", one_based=self._one_based),
                crowd=_flag(element, "crowd", f"{file}: {where}"),
                difficult=_flag(element, "difficult", f"{file}: {where}"),
            )
            found.append(_Object(where, name, label))
        return found


class VocWriter:
    """Writes Annotations/ and images/.

    An image that is neither labelled nor reviewed gets no XML file. VOC has no crowd boxes: they
    get an element `crowd` that the reader here knows.
    """

    def write(
        self, out: Path, images: Sequence[LabeledImage], *, classes: Sequence[str]
    ) -> Sequence[Path]:
        """Returns the XML files, then the images.

        Raises InputError for a path that is unsafe or there twice, and for a missing image.
        """
        paths = foreign.written_paths(image.path for image in images)
        names = foreign.written_paths((image.path for image in images), suffix=".xml")
        targets = [out / "images" / path for path in paths]
        written = []
        for image, target, name in zip(images, targets, names, strict=True):
            place(image.file, target)
            file = out / "Annotations" / name
            if image.labels or image.reviewed:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(_xml(image, classes), encoding="utf-8")
                written.append(file)
            else:
                file.unlink(missing_ok=True)  # left by an earlier write it would say reviewed
        return [*written, *targets]


def _xml(image: LabeledImage, classes: Sequence[str]) -> str:
    path = PurePosixPath(image.path)
    root = ElementTree.Element("annotation")
    _add(root, "folder", path.parent.name)
    _add(root, "filename", path.name)
    size = _add(root, "size")
    for tag, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        _add(size, tag, str(value))
    for label in image.labels:
        one = _add(root, "object")
        _add(one, "name", classes[label.class_id])
        _add(one, "difficult", str(int(label.difficult)))
        if label.crowd:
            _add(one, "crowd", "1")
        x, y, w, h = label.box
        box = _add(one, "bndbox")
        for tag, corner in (("xmin", x), ("ymin", y), ("xmax", x + w), ("ymax", y + h)):
            _add(box, tag, f"{corner:.12g}")
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: Element, tag: str, text: str | None = None) -> Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = text
    return child


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _parse(file: Path) -> Element:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(file.read_bytes())
    except DefusedXmlException as error:
        raise InputError(
            f"{file}: declares entities, which a label file never needs ({error})",
            fix="Remove the declaration, or do not trust the file.",
        ) from error
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise InputError(f"{file}: not valid XML ({error})", fix="Write it again.") from error
    if root.tag != "annotation":
        raise InputError(
            f"{file}: not a Pascal VOC file, its root is <{root.tag}>",
            fix="Name a folder that holds VOC files only, one <annotation> an image.",
        )
    return root


def _bad(where: str, what: str) -> InputError:
    return InputError(f"{where}: {what}", fix="Correct the file, or write it again.")


def _image(root: Element, file: Path, inside: Path) -> tuple[ForeignImage, list[Problem]]:
    said = PurePosixPath((root.findtext("filename") or "").strip().replace("\\", "/"))
    if said.suffix.lower() not in SUFFIXES:
        # Some tools write the name without suffix, and the whole name into `path`.
        whole = PurePosixPath((root.findtext("path") or "").strip().replace("\\", "/"))
        said = said.with_name(said.name + whole.suffix) if said.name else whole
    if said.suffix.lower() not in SUFFIXES:
        raise _bad(str(file), "neither `filename` nor `path` names an image file")
    name = inside.stem + said.suffix
    odd = []
    if said.name != name:
        what = f"names {said.name}, but the file is {inside.name}"
        odd.append(Problem(inside.as_posix(), "filename", what, f"taken as {name}"))
    path = foreign.image_path(inside.with_name(name).as_posix(), str(file))
    width, height = (_pixels(root, key, str(file)) for key in ("width", "height"))
    return ForeignImage(path, width=width, height=height, reviewed=True), odd


def _pixels(root: Element, key: str, where: str) -> int | None:
    """A size in whole pixels; absent, empty and 0 mean unknown."""
    text = (root.findtext(f"size/{key}") or "").strip() or "0"
    try:
        value = foreign.number(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf or value != int(value):
        raise _bad(where, f"size: {key} is {text!r:.40}, not a number of pixels")
    return int(value) or None


def _kept(
    objects: Sequence[_Object], image: ForeignImage, *, index: Sequence[str], file: Path
) -> tuple[tuple[Label, ...], list[Problem]]:
    labels, dropped = [], []
    for one in objects:
        why = foreign.why_dropped(one.label.box, image.width, image.height)
        if why is None:
            labels.append(replace(one.label, class_id=index.index(one.name)))
        else:
            dropped.append(Problem(file.as_posix(), one.where, why, "dropped"))
    return tuple(labels), dropped


def _box(element: Element, where: str, *, one_based: bool) -> Box:
    corners = element.find("bndbox")
    if corners is None:
        raise _bad(where, "has no `bndbox`")
    values = []
    for key in ("xmin", "ymin", "xmax", "ymax"):
        text = (corners.findtext(key) or "").strip()
        try:
            values.append(foreign.number(text))
        except ValueError:
            raise _bad(where, f"{key} is {text!r:.40}, not a number") from None
    if not all(map(math.isfinite, values)):
        raise _bad(where, "a coordinate is not finite")
    left, top, right, bottom = values
    extra = 1.0 if one_based else 0.0
    return left - extra, top - extra, right - left + extra, bottom - top + extra


def _flag(element: Element, key: str, where: str) -> bool:
    text = (element.findtext(key) or "").strip() or "0"
    if text not in ("0", "1"):
        raise _bad(where, f"{key} is {text!r:.40}, not 0 or 1")
    return text == "1"


def _splits(source: Path) -> dict[str, str]:
    """Path of an XML file below Annotations/, without suffix → the list that names it."""
    found: dict[str, str] = {}
    for split in SPLITS:
        file = source / "ImageSets" / "Main" / f"{split}.txt"
        if file.is_file():
            try:
                text = file.read_text(encoding="utf-8-sig")
            except ValueError as error:
                raise InputError(f"{file}: {error}", fix="Write it as UTF-8.") from error
            for line in text.splitlines():
                if line.strip():
                    found.setdefault(line.split()[0], split)
    return found

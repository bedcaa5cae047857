"""COCO object-detection JSON: https://cocodataset.org/#format-data.

Beyond COCO's own keys these are written and understood. On images: `annoloop_id` (our sample id),
`reviewed` (a person looked), `answer` (complete, empty, unsure, unusable), `why` and `seconds`. On
annotations: `difficult`, Pascal VOC's flag.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from annoloop import foreign
from annoloop.errors import InputError
from annoloop.images import place
from annoloop.records import (
    Answer,
    Box,
    ForeignDataset,
    ForeignImage,
    Label,
    LabeledImage,
    Problem,
)

MISSING = object()

KNOWN_KEYS = {
    "id",
    "file_name",
    "width",
    "height",
    "reviewed",
    "annoloop_id",
    "answer",
    "why",
    "seconds",
}
"""Keys of an image row that have a field of their own."""


class CocoReader:
    """Reads one .json file, or the only .json file of a folder."""

    def read(self, source: Path) -> ForeignDataset:
        """Classes in the order of their category id; labels in the order of the file.

        Boxes without area or wholly outside their image are dropped and reported. Raises
        InputError naming file and row for anything else that is not as COCO says.
        """
        file = _file(source)
        data = _load(file)
        classes, class_ids = _classes(file, _list(data, "categories", file))
        found = _images(file, _list(data, "images", file))
        labels: dict[int | str, list[Label]] = {key: [] for key in found}
        dropped = dict.fromkeys(found, 0)
        problems = []
        seen: dict[int | str, str] = {}
        for number, row in enumerate(_list(data, "annotations", file)):
            where = f"annotations[{number}]"
            key, label = _label(row, f"{file}: {where}", found=found, class_ids=class_ids)
            _once(row, f"{file}: {where}", seen)
            why = foreign.why_dropped(label.box, found[key].width, found[key].height)
            if why is None:
                labels[key].append(label)
            else:
                dropped[key] += 1
                problems.append(Problem(file.name, where, why, "dropped"))
        images = (
            foreign.after_drops(replace(image, labels=tuple(labels[key])), dropped[key])
            for key, image in found.items()
        )
        return foreign.assemble(file, classes, images=images, problems=problems)


class CocoWriter:
    """Writes annotations.json, and the images below images/."""

    def write(
        self, out: Path, images: Sequence[LabeledImage], *, classes: Sequence[str]
    ) -> Sequence[Path]:
        """Images in the order given, those without boxes too; category id = class id + 1.

        Returns annotations.json, then the images. Raises InputError for a path that is unsafe or
        there twice, and for an image file that is missing.
        """
        paths = foreign.written_paths([image.path for image in images])
        rows = [_image_row(number, image) for number, image in enumerate(images, start=1)]
        boxes = [(n, label) for n, image in enumerate(images, start=1) for label in image.labels]
        data = {
            "images": rows,
            "annotations": [_box_row(i, n, label) for i, (n, label) in enumerate(boxes, start=1)],
            "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        }
        targets = [out / "images" / path for path in paths]
        for image, target in zip(images, targets, strict=True):
            place(image.file, target)
        out.mkdir(parents=True, exist_ok=True)
        file = out / "annotations.json"
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=1)
        file.write_text(text + "\n", encoding="utf-8")
        return [file, *targets]


def _image_row(number: int, image: LabeledImage) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": number,
        "file_name": image.path,
        "width": image.width,
        "height": image.height,
        "annoloop_id": image.sample_id,
    }
    # An absent key leaves the answer open: whoever labels the image fills it in.
    return row | {"reviewed": True} if image.reviewed else row


def _box_row(number: int, image: int, label: Label) -> dict[str, Any]:
    x, y, w, h = (float(value) for value in label.box)
    row = {
        "id": number,
        "image_id": image,
        "category_id": label.class_id + 1,
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": int(label.crowd),
    }
    return row | {"difficult": True} if label.difficult else row


def _file(source: Path) -> Path:
    if source.is_dir():
        found = sorted(source.glob("*.json"))
        if len(found) > 1:
            names = ", ".join(file.name for file in found[:5])
            raise InputError(
                f"{source}: holds {len(found)} .json files ({names})", fix="Name one of them."
            )
        if not found:
            raise foreign.wrong_format(source, "coco")
        return found[0]
    if not source.is_file() or source.suffix.lower() in {".xml", ".yaml", ".yml", ".data"}:
        raise foreign.wrong_format(source, "coco")
    return source


def _load(file: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not valid JSON ({error})", fix="Write it again.") from error
    if not isinstance(data, dict):
        what = "a list, as COCO results are" if isinstance(data, list) else type(data).__name__
        raise InputError(
            f"{file}: holds {what}, not an object with images, annotations and categories",
            fix="Name the file with the images and their boxes.",
        )
    return data


def _bad(where: str, what: str) -> InputError:
    return InputError(f"{where}: {what}", fix="Correct the file, or write it again.")


def _list(data: Mapping[str, Any], key: str, file: Path) -> list[Any]:
    if key not in data:
        raise InputError(
            f"{file}: there is no list {key!r}, so this is not a COCO data set",
            fix="Name a file with images, annotations and categories.",
        )
    if not isinstance(data[key], list):
        raise _bad(str(file), f"{key!r} is not a list")
    return list(data[key])


def _field(row: Any, key: str, kind: type | tuple[type, ...], *, where: str) -> Any:
    """The value of a key that must be there and of its type; a bool is never a number."""
    if not isinstance(row, dict):
        raise _bad(where, "is not an object")
    value = row.get(key, MISSING)
    if value is MISSING:
        raise _bad(where, f"has no {key!r}")
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise _bad(where, f"{key!r} is {value!r:.80}, not {' or '.join(k.__name__ for k in kinds)}")
    return value


def _once(row: Any, where: str, seen: dict[int | str, str]) -> None:
    """Annotation ids may be absent, as many tools leave them out, but not repeat."""
    if row.get("id") is None:
        return
    key = _field(row, "id", (int, str), where=where)
    if key in seen:
        raise _bad(where, f"has the id {key!r} of {seen[key]}")
    seen[key] = where.rpartition(": ")[2]


def _classes(file: Path, rows: list[Any]) -> tuple[tuple[str, ...], dict[int, int]]:
    names: dict[int, str] = {}
    for number, row in enumerate(rows):
        where = f"{file}: categories[{number}]"
        key = _field(row, "id", int, where=where)
        if key in names:
            raise _bad(where, f"has the id {key} of another category")
        names[key] = _field(row, "name", str, where=where)
        foreign.class_names([names[key]], where)
    ordered = sorted(names)
    classes = foreign.class_names([names[key] for key in ordered], f"{file}: categories")
    return classes, {key: position for position, key in enumerate(ordered)}


def _images(file: Path, rows: list[Any]) -> dict[int | str, ForeignImage]:
    found: dict[int | str, ForeignImage] = {}
    ours: set[str] = set()
    for number, row in enumerate(rows):
        where = f"{file}: images[{number}]"
        key = _field(row, "id", (int, str), where=where)
        if key in found:
            raise _bad(where, f"has the id {key!r} of another image")
        found[key] = image = _image(row, where)
        if image.sample_id is not None and image.sample_id in ours:
            raise _bad(where, f"has the annoloop_id {image.sample_id!r} of another image")
        ours.update(filter(None, [image.sample_id]))
    return found


def _image(row: Mapping[str, Any], where: str) -> ForeignImage:
    def optional(key: str, kind: type) -> Any:
        return None if row.get(key) is None else _field(row, key, kind, where=where)

    answer = optional("answer", str)
    if answer is not None and answer not in list(Answer):
        raise _bad(where, f"'answer' is {answer!r:.80}, not one of {', '.join(Answer)}")
    why, ours = optional("why", str), optional("annoloop_id", str)
    for text in filter(None, (why, ours)):
        foreign.said(text, where)
    return ForeignImage(
        path=foreign.image_path(_field(row, "file_name", str, where=where), where),
        width=_pixels(row, "width", where),
        height=_pixels(row, "height", where),
        reviewed=optional("reviewed", bool),
        external_id=str(row["id"]),
        sample_id=ours,
        answer=None if answer is None else Answer(answer),
        why=why,
        seconds=_seconds(row, where),
        # Whatever else a row says (video_id, patient, …) can be the group of the sample.
        columns={
            key: str(value).encode("utf-8", "backslashreplace").decode()
            for key, value in row.items()
            if key not in KNOWN_KEYS and isinstance(value, str | int | float)
        },
    )


def _seconds(row: Mapping[str, Any], where: str) -> float | None:
    if row.get("seconds") is None:
        return None
    given: float = _field(row, "seconds", (int, float), where=where)
    if not 0 <= given < math.inf:
        raise _bad(where, f"took {given} seconds")
    return float(given)


def _pixels(row: Mapping[str, Any], key: str, where: str) -> int | None:
    """A size in whole pixels; absent, null and 0 mean unknown."""
    if row.get(key) is None:
        return None
    value = _field(row, key, (int, float), where=where)
    if not 0 <= value < math.inf or value != int(value):
        raise _bad(where, f"{key!r} is {value!r}, not a number of pixels")
    return int(value) or None


def _label(
    row: Any,
    where: str,
    *,
    found: Mapping[int | str, ForeignImage],
    class_ids: Mapping[int, int],
) -> tuple[int | str, Label]:
    key = _field(row, "image_id", (int, str), where=where)
    if key not in found:
        raise _bad(where, f"is for the image id {key!r}, which is not among the images")
    category = _field(row, "category_id", int, where=where)
    if category not in class_ids:
        raise _bad(where, f"has the category id {category}, which is not among the categories")
    flags = {"iscrowd": False, "difficult": False}
    for flag in flags:
        value = row.get(flag, 0)
        if value not in (0, 1):
            raise _bad(where, f"{flag!r} is {value!r:.80}, not 0 or 1")
        flags[flag] = bool(value)
    return key, Label(class_ids[category], _box(row, where), flags["iscrowd"], flags["difficult"])


def _box(row: Any, where: str) -> Box:
    values = _field(row, "bbox", list, where=where)
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if len(values) != 4 or not plain:
        raise _bad(where, f"'bbox' is {values!r:.80}, not four numbers x, y, width, height")
    try:
        x, y, w, h = (float(value) for value in values)
    except OverflowError:
        raise _bad(where, "'bbox' has a number that is too large") from None
    if not all(map(math.isfinite, (x, y, w, h))):
        raise _bad(where, f"'bbox' is {values!r}: a coordinate is not finite")
    return x, y, w, h

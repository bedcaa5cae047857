"""Where the label files of a YOLO data set lie, and where each one's image should be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from annoloop import foreign
from annoloop.adapters.yolo.yaml import Value, read_keys
from annoloop.errors import InputError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Item:
    """A label file, where its image may lie (without suffix, best first), and its split."""

    file: Path
    stems: tuple[Path, ...]
    split: str | None


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of the data set, its classes in their order, and its label files."""

    root: Path
    classes: tuple[str, ...]
    items: tuple[Item, ...]


def find_layout(source: Path) -> Layout:
    """Raises InputError if the source is missing, is no YOLO data set, or names no classes."""
    if source.suffix.lower() in (".yaml", ".yml") and source.is_file():
        return _of_yaml(source)
    if source.suffix.lower() == ".data" and source.is_file():
        return _of_folder(source.parent, source)
    if not source.is_dir():
        raise foreign.wrong_format(source, "yolo")
    yamls = sorted((*source.glob("*.yaml"), *source.glob("*.yml")))
    chosen = [file for file in yamls if file.stem == "data"] or yamls
    if len(chosen) > 1:
        names = ", ".join(file.name for file in chosen)
        raise InputError(f"{source}: holds several .yaml files ({names})", fix="Name one of them.")
    return _of_yaml(chosen[0]) if chosen else _of_folder(source, None)


def _of_yaml(file: Path) -> Layout:
    data = read_keys(file, ("names", "nc", "path", *SPLITS))
    if "names" not in data:
        raise InputError(f"{file}: has no `names`", fix="Name the file with the class names.")
    classes = foreign.class_names(_in_order(file, data["names"]), f"{file}: names")
    if data.get("nc", str(len(classes))) != str(len(classes)):
        raise InputError(
            f"{file}: `nc` is {data['nc']}, but there are {len(classes)} names",
            fix="Correct the names, or leave `nc` out.",
        )
    root = normal(file.parent / _one(file, "path", data.get("path", ".")))
    entries: dict[str, list[str]] = {}
    for split in SPLITS:
        value = data.get(split, [])
        for entry in value if isinstance(value, list) else [_one(file, split, value)]:
            entries.setdefault(entry, []).append(split)
    if not entries:
        raise InputError(f"{file}: has no `train`, `val` or `test`", fix="Add `train: images`.")
    items = [
        item
        for entry, splits in entries.items()
        for item in _of_entry(file, root, entry, split=splits[0] if len(splits) == 1 else None)
    ]
    first: dict[Path, Item] = {}
    for item in items:
        first.setdefault(item.file, item)
    return Layout(root, classes, tuple(first.values()))


def _of_entry(yaml: Path, root: Path, entry: str, *, split: str | None) -> Iterator[Item]:
    """Label files of a folder of images, or of a .txt file that lists images."""
    found = normal(root / entry)
    # Roboflow writes `../train/images` and means `train/images`; Ultralytics reads it so, too.
    if not found.exists() and entry.startswith("../"):
        found = normal(root / entry[3:])
    labels = _swapped(found, "images", "labels")
    if found.is_file() and found.suffix.lower() == ".txt":
        for line in filter(None, map(str.strip, read_lines(found))):
            start = found.parent if line.startswith("./") else root
            image = normal(start / line)
            file = _swapped(image.parent, "images", "labels") / f"{image.stem}.txt"
            if file.is_file():
                yield Item(file, (image.with_suffix(""),), split)
    elif labels.is_dir():
        for file in _text_files(labels):
            inside = file.relative_to(labels).with_suffix("")
            yield Item(file, (found / inside, file.with_suffix("")), split)
    elif not found.is_dir():
        raise InputError(
            f"{yaml}: there is neither a folder {found} nor {labels}",
            fix="Correct `path` and the folders; relative ones start at the file's own folder.",
        )


def _of_folder(source: Path, data: Path | None) -> Layout:
    labels = source / "labels" if (source / "labels").is_dir() else source
    names, lists = _names_file(source, labels, data)
    images = _swapped(labels, "labels", "images")
    beside = images != labels and images.is_dir()
    root = _above(labels, "labels") if beside else source
    items = []
    for file in _text_files(labels):
        if file == names or (file.parent == source and file.name in lists):
            continue
        inside = file.relative_to(labels)
        first = images / inside if beside else labels / _swapped(inside, "labels", "images")
        items.append(Item(file, (first.with_suffix(""), file.with_suffix("")), None))
    return Layout(root, foreign.class_names(_names(names), str(names)), tuple(items))


def _names_file(source: Path, labels: Path, data: Path | None) -> tuple[Path, frozenset[str]]:
    """The file with the class names in or above the folder, and the names of lists of images."""
    for folder in (labels, source, source.parent, source.parent.parent):
        datas = [data] if data else sorted(folder.glob("*.data"))
        if len(datas) == 1 and datas[0] is not None:
            pairs = [line.partition("=") for line in read_lines(datas[0])]
            values = {key.strip(): value.strip() for key, _, value in pairs}
            lists = frozenset(Path(v).name for v in values.values() if v.endswith(".txt"))
            name = values.get("names", "")
            # Darknet writes paths as seen from the folder it is started in.
            for file in (folder / name, folder.parent / name, folder / Path(name).name):
                if name and file.is_file():
                    return file, lists
        found = sorted(folder.glob("*.names"))
        found = [f for f in (folder / "classes.txt",) if f.is_file()] or found
        if len(found) == 1:
            return found[0], frozenset()
    if not _text_files(source):
        raise foreign.wrong_format(source, "yolo")
    raise InputError(
        f"{source}: no data.yaml, and no one file with class names in it or above it"
        + foreign.looks_like(source, "yolo"),
        fix="Add classes.txt with one class name a line.",
    )


def _names(file: Path) -> list[str]:
    return [line.strip() for line in "\n".join(read_lines(file)).rstrip().split("\n")]


def _in_order(file: Path, names: Value) -> list[str]:
    if isinstance(names, list):
        return names
    if isinstance(names, dict) and set(names) == {str(i) for i in range(len(names))}:
        return [names[str(i)] for i in range(len(names))]
    raise InputError(
        f"{file}: `names` is no list, and no mapping of 0, 1, 2, … to names",
        fix="Give every class id its name, without gaps.",
    )


def _one(file: Path, key: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    raise InputError(f"{file}: `{key}` is no single text", fix="Write one folder.")


def _swapped(path: Path, old: str, new: str) -> Path:
    """The path with its last component named `old` renamed; itself where there is none."""
    above = _above(path, old)
    if above == path:
        return path
    return above.joinpath(new, *path.parts[len(above.parts) + 1 :])


def _above(path: Path, name: str) -> Path:
    """What stands before the last component called `name`; the path where there is none."""
    backwards = path.parts[::-1]
    return Path(*path.parts[: -1 - backwards.index(name)]) if name in backwards else path


def _text_files(folder: Path) -> list[Path]:
    found = folder.rglob("*.txt")
    return sorted(f for f in found if not any(p[0] == "." for p in f.relative_to(folder).parts))


def read_lines(file: Path) -> list[str]:
    try:
        # Not `splitlines`, which also ends a line at characters that a class name may not have.
        return file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})", fix="Write it as UTF-8.") from error


def normal(path: Path) -> Path:
    # Links are left alone, so that labels/ is still found beside a linked images/.
    return Path(os.path.normpath(path.absolute()))

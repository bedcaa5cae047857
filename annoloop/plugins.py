"""Adapters by name: built-in and foreign ones come through the same entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from annoloop import foreign
from annoloop.errors import DependencyError, InputError, SettingsError

KINDS = (
    "readers",
    "writers",
    "embedders",
    "trainers",
    "annotators",
    "mirrors",
    "engines",
    "strategies",
)


def names(kind: str) -> list[str]:
    """Names of the adapters of one kind; imports none of them."""
    return sorted(_points(kind))


def load(kind: str, name: str) -> Any:
    """The object behind the entry point `annoloop.<kind>` → `name`.

    Raises SettingsError naming the nearest known one, DependencyError if it does not import.
    """
    found = _points(kind)
    if name not in found:
        near = difflib.get_close_matches(name, list(found), n=1)
        known = ", ".join(sorted(found)) or "none"
        raise SettingsError(
            f"there is no {kind.removesuffix('s')} named {name!r}",
            fix=f"Did you mean {near[0]!r}? Known: {known}." if near else f"Known: {known}.",
        )
    return _imported(kind, found[name])


def _points(kind: str) -> dict[str, EntryPoint]:
    """Looks through everything that is installed: a few milliseconds."""
    return {point.name: point for point in entry_points(group=f"annoloop.{kind}")}


def _imported(kind: str, point: EntryPoint) -> Any:
    try:
        return point.load()
    except ImportError as error:
        raise DependencyError(
            f"{kind.removesuffix('s')} {point.name!r} does not import: {error}",
            fix=f"Install what it needs, for instance `pip install 'annoloop[{point.name}]'`.",
        ) from error


def make(kind: str, name: str, options: dict[str, Any]) -> Any:
    """Load an adapter's class and call it with its options."""
    factory = load(kind, name)
    try:
        return factory(**options)
    except TypeError as error:
        raise SettingsError(
            f"{kind.removesuffix('s')} {name!r} does not take these options: {error}",
            fix=f"Correct the options of {name!r} in annoloop.toml.",
        ) from error


def installed() -> dict[str, tuple[str, ...]]:
    """Adapter names by kind."""
    return {kind: tuple(names(kind)) for kind in KINDS}


def strategies(wanted: Iterable[str]) -> dict[str, Any]:
    """The strategies of a mix, and those that refill a source that runs short."""
    known = _points("strategies")
    asked = dict.fromkeys([*wanted, "coverage", "targeted", "random"])
    return {name: _imported("strategies", known[name]) for name in asked if name in known}


def detect_format(path: Path) -> str:
    """coco, yolo or voc, by what lies there. Raises InputError if it is none of them."""
    foreign.refuse_archive(path)
    if path.suffix.lower() == ".json":
        return "coco"
    if path.is_dir():
        if next(path.rglob("*.xml"), None) is not None:
            return "voc"
        if next(path.rglob("*.txt"), None) is not None:
            return "yolo"
        if len(list(path.glob("*.json"))) == 1:
            return "coco"
    elif path.suffix.lower() in {".yaml", ".yml", ".data"}:
        return "yolo"
    raise InputError(
        f"{path} is no label format that annoloop knows" if path.exists() else f"no file {path}",
        fix="Give a COCO .json, a YOLO data.yaml or folder, or a folder of VOC .xml files; "
        "or say which it is with `--format`.",
    )

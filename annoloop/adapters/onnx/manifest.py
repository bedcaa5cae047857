"""The manifest of an ONNX model: what its pixels and its output are. docs/embedders.md lists it."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from annoloop.errors import SettingsError
from annoloop.feeding import FITS

CHOICES = {
    "layout": ("NCHW", "NHWC"),
    "channels": ("RGB", "BGR", "GRAY"),
    "pooling": ("none", "mean", "max", "mean+max", "first"),
    "fit": FITS,
}
LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Manifest:
    """How pixels (0 to 255) go in, (pixels / divide - mean) / std, and how a vector comes out.

    `size` is (width, height); None takes what the model fixes. `input` and `output` may be left
    out where the model has one of them; `output` may be any tensor inside the model.
    """

    input: str | None = None
    output: str | None = None
    size: tuple[int, int] | None = None
    layout: str = "NCHW"
    channels: str = "RGB"
    divide: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pooling: str = "none"
    fit: str = "stretch"
    unit: bool = True

    def canonical(self) -> bytes:
        """The same bytes for the same manifest, however its file is written."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def read_manifest(file: Path) -> Manifest:
    """The manifest in a JSON file. Raises SettingsError naming file, key and what is allowed."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            f"{file}: there is no such manifest",
            fix="Write one beside the model (docs/embedders.md has an example), or name it: "
            'manifest = "FILE.json" in [embed.options].',
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file} is not JSON: {error}", fix="Mend what it names.") from error
    if not isinstance(written, dict):
        raise SettingsError(
            f"{file} holds a JSON {type(written).__name__}, not an object",
            fix="Write one object; docs/embedders.md has an example.",
        )
    known = [one.name for one in fields(Manifest)]
    for key in written:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise SettingsError(
                f"{file}: unknown key {key!r}",
                fix=f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}.",
            )
    return Manifest(**{key: _value(file, key, value) for key, value in written.items()})


def _value(file: Path, key: str, value: Any) -> Any:
    """One checked value, in the type of its field; null is what the model says by itself."""
    if value is None and key in ("input", "output", "size"):
        return None
    wanted, check = _CHECKS[key]
    found = check(value)
    if found is None:
        raise SettingsError(f"{file}: {key} = {value!r} is not {wanted}", fix=f"Give {wanted}.")
    return found


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _size(value: Any) -> tuple[int, ...] | None:
    whole = isinstance(value, list) and len(value) == 2 and all(type(one) is int for one in value)
    return tuple(value) if whole and all(1 <= one <= LARGEST for one in value) else None


def _above(value: Any) -> float | None:
    return float(value) if _number(value) and value > 0 else None


def _per_channel(value: Any) -> tuple[float, ...] | None:
    fine = isinstance(value, list) and len(value) in (1, 3) and all(map(_number, value))
    return tuple(map(float, value)) if fine else None


def _divisors(value: Any) -> tuple[float, ...] | None:
    found = _per_channel(value)
    return found if found and all(found) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _choice(known: tuple[str, ...]) -> tuple[str, _Check]:
    return "one of " + ", ".join(known), lambda value: value if value in known else None


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


_Check = Callable[[Any], Any]
"""The value in the type of its field; None if it is not what is wanted."""

_CHECKS: Mapping[str, tuple[str, _Check]] = {
    "input": ("the name of a tensor", _name),
    "output": ("the name of a tensor", _name),
    "size": (f"[width, height] in pixels from 1 to {LARGEST}", _size),
    **{key: _choice(known) for key, known in CHOICES.items()},
    "divide": ("a number above 0", _above),
    "mean": ("one number for each channel", _per_channel),
    "std": ("one number for each channel, not 0", _divisors),
    "unit": ("true or false", _flag),
}

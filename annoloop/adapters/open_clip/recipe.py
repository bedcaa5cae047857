"""How a model of OpenCLIP is built, and which pixels it wants: from its list, or from a file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annoloop.errors import DependencyError, InputError, SettingsError

WHO = "embedder 'open_clip'"
BESIDE = "open_clip_config.json"
"""What Hugging Face repositories of OpenCLIP have beside their weights: model and pixels."""

_PLAIN = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and deviation of CLIP's pixels, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Architecture of the image half, and the `mean` and `std` of each channel of its pixels."""

    what: str
    width: int
    vision: dict[str, Any]
    quick_gelu: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def sdk() -> tuple[Any, Any]:
    """The modules `torch` and `open_clip`. Raises DependencyError without them."""
    try:
        import open_clip
        import torch
    except ImportError as error:
        raise DependencyError(
            f"{WHO} does not import: {error}",
            fix="Install it: `pip install 'annoloop[open_clip]'`.",
        ) from error
    return torch, open_clip


def recipe_of(model: str | None, pretrained: str | None, weights: Path) -> Recipe:
    """What `weights` are of: by `model` and the tag `pretrained` of OpenCLIP's list, and for what
    these leave open by the open_clip_config.json beside the weights.

    Raises SettingsError where model, pixels or activation remain unknown, InputError for a broken
    file beside.
    """
    _, open_clip = sdk()
    file = weights.with_name(BESIDE)
    beside = _read(file)
    if model is None:
        if beside is None:
            raise SettingsError(
                f"{WHO}: no model is named, and there is no {file}",
                fix='Set model = "ViT-B-32" (or what the weights are of) in [embed.options].',
            )
        return _told(str(file), beside["model_cfg"], beside["preprocess_cfg"])
    known = open_clip.list_models()
    if model not in known:
        near = difflib.get_close_matches(model, known, n=3)
        raise SettingsError(
            f"{WHO}: OpenCLIP has no model {model!r}",
            fix=f"Did you mean {' or '.join(near)}?" if near else "See open_clip.list_models().",
        )
    architecture = open_clip.get_model_config(model)
    if pretrained is None and beside is not None:
        gelu = beside["model_cfg"].get("quick_gelu", False)
        return _told(model, architecture | {"quick_gelu": gelu}, beside["preprocess_cfg"])
    return _told(model, architecture, _published(open_clip, model, pretrained))


def _published(open_clip: Any, model: str, pretrained: str | None) -> Mapping[str, Any]:
    """What OpenCLIP's list says of these weights; without a tag, what all of the model share."""
    listed = open_clip.list_pretrained_tags_by_model(model)
    if pretrained is not None and pretrained not in listed:
        near = difflib.get_close_matches(pretrained, listed, n=3) or listed
        raise SettingsError(
            f"{WHO}: OpenCLIP lists no weights {pretrained!r} of {model}",
            fix=f"Name one of {', '.join(near)}." if near else "Remove `pretrained`.",
        )
    tags = listed if pretrained is None else [pretrained]
    found = [open_clip.get_pretrained_cfg(model, tag) for tag in tags] or [{}]
    if any(_meaning(one) != _meaning(found[0]) for one in found):
        raise SettingsError(
            f"{WHO}: the weights published for {model} differ in pixels or activation",
            fix=f"Say which these are (or were tuned from): pretrained = one of {', '.join(tags)}.",
        )
    return dict(found[0])


def _meaning(listed: Mapping[str, Any]) -> tuple[Any, ...]:
    return *_pixels(listed), bool(listed.get("quick_gelu"))


def _pixels(about: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    plain = dict(zip(("mean", "std"), _PLAIN, strict=True))
    mean, std = (tuple(map(float, about.get(key) or plain[key])) for key in ("mean", "std"))
    return mean, std


def _told(what: str, architecture: Mapping[str, Any], about: Mapping[str, Any]) -> Recipe:
    gelu = bool(architecture.get("quick_gelu") or about.get("quick_gelu"))
    vision = dict(architecture["vision_cfg"]) | {"timm_model_pretrained": False}
    return Recipe(what, int(architecture["embed_dim"]), vision, gelu, *_pixels(about))


def _read(file: Path) -> dict[str, Any] | None:
    """The parts of an open_clip_config.json, None where there is none."""
    if not file.is_file():
        return None
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        model = document["model_cfg"]
        parts = {"model_cfg": model, "preprocess_cfg": document.get("preprocess_cfg", {})}
        if not isinstance(model["vision_cfg"], dict) or int(model["embed_dim"]) < 1:
            raise ValueError("vision_cfg and embed_dim describe no model")
        for key in ("mean", "std"):
            _three(parts["preprocess_cfg"].get(key), key)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is no configuration of OpenCLIP: {type(error).__name__}: {error}",
            fix="Fetch it again from where the weights are from, or remove it and name the `model` "
            "and `pretrained`.",
        ) from error
    return parts


def _three(numbers: Sequence[float] | None, key: str) -> None:
    if numbers is not None and len([float(one) for one in numbers]) != 3:
        raise ValueError(f"{key} is not three numbers")

"""Planted worlds: small labelled data sets whose answer is known, and their plugin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from annoloop.replay.plan import Plan, parse_plan

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(autouse=True)
def _plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))


@pytest.fixture
def world(tmp_path: Path) -> Callable[[Mapping[str, int]], Path]:
    """Draw so many images of each mode (see the plugin); returns the root."""

    def draw(modes: Mapping[str, int]) -> Path:
        root = tmp_path / "world"
        rng = np.random.default_rng(0)
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for mode, number in modes.items():
            (root / "images" / mode).mkdir(parents=True)
            for place in range(number):
                path = f"{mode}/{place:04}.png"
                pixels = rng.integers(0, 255, size=(24, 24, 3), dtype=np.uint8)
                cv2.imwrite(str(root / "images" / path), pixels)
                row = {"id": len(images) + 1, "file_name": path, "reviewed": True}
                images.append({**row, "width": 24, "height": 24})
                if mode.startswith("c"):
                    category = int(mode[1 : mode.index("-")]) + 1
                    about = {"image_id": len(images), "category_id": category}
                    boxes.append({"id": len(boxes) + 1, "bbox": [4, 4, 12, 12], **about})
        classes = sorted({row["category_id"] for row in boxes})
        names = [{"id": one, "name": f"class {one - 1}"} for one in classes]
        document = {"images": images, "annotations": boxes, "categories": names}
        (root / "labels.json").write_text(json.dumps(document))
        return root

    return draw


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """A plan on a drawn world with the planted trainer; keyword arguments replace its keys."""

    def made(root: Path, mixes: Mapping[str, Mapping[str, float]], **changed: Any) -> Plan:
        train = {"trainer": "planted", "options": changed.pop("trainer", {})}
        embed = {"embedder": "planted", "options": changed.pop("embedder", {})}
        written = {
            "data": {"images": "images", "labels": "labels.json"},
            "arms": [{"name": name, "mix": dict(mix)} for name, mix in mixes.items()],
            "seeds": 6,
            "first": 8,
            "batch": 8,
            "budget_images": 32,
            "noise": 0,
            "full": False,
            "settings": {
                "train": train,
                "embed": embed,
                "coverage": {"draws": 10000, "neighbours": 20},
                "split": {"near_duplicates": False, "val": 0.35, "test": 0.1},
            },
            **changed,
        }
        return parse_plan(written, folder=root)

    return made

"""Shared fixtures: no test touches the home folder, and a small project made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run: what lands must not depend on luck, and no time limit an example,
# since machines are shared. HYPOTHESIS_PROFILE=explore looks further.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ANNOLOOP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ANNOLOOP_USER", "tester")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the real data sets (../shared/data) are not here")
    return DATA


def draw_shapes(root: Path, *, scenes: int = 30, frames: int = 2, seed: int = 0) -> Path:
    """Images of squares and discs in folders of `frames`, and their COCO labels; returns root."""
    import json

    import cv2
    import numpy as np

    rng = np.random.default_rng(seed)
    images, labels = [], []
    for scene in range(scenes):
        base = rng.integers(90, 165, size=(64, 80, 3), dtype=np.uint8)
        base = cv2.GaussianBlur(base, (0, 0), 6) + np.uint8(rng.integers(0, 40))
        for _ in range(2):  # clutter that is no object
            corners = rng.integers(0, 60, size=(1, 3, 2)).astype(np.int32)
            cv2.polylines(base, corners, True, (20, 20, 20), 2)
        for frame in range(frames):
            path = f"scene_{scene:03d}/frame_{frame}.png"
            picture = base + np.uint8(frame)  # frames differ, as bytes and as content hashes
            number = len(images) + 1
            for spot in range(int(rng.choice(3, p=(0.25, 0.45, 0.3)))):
                side = int(rng.integers(12, 20))
                x, y = int(rng.integers(2, 18)) + 38 * spot, int(rng.integers(2, 42))
                kind = int(rng.integers(0, 2))
                colour = (20, 20, 20) if rng.random() < 0.5 else (235, 235, 235)
                if kind:
                    centre = (x + side // 2, y + side // 2)
                    cv2.circle(picture, centre, side // 2, colour, -1)
                else:
                    cv2.rectangle(picture, (x, y), (x + side, y + side), colour, -1)
                box = [x, y, side, side]
                labels.append({"image_id": number, "category_id": kind + 1, "bbox": box})
            images.append({"id": number, "file_name": path, "width": 80, "height": 64})
            (root / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / "images" / path), picture)
    for number, label in enumerate(labels, start=1):
        label |= {"id": number, "iscrowd": 0, "area": label["bbox"][2] * label["bbox"][3]}
    categories = [{"id": 1, "name": "square"}, {"id": 2, "name": "disc"}]
    document = {"images": images, "annotations": labels, "categories": categories}
    (root / "labels.json").write_text(json.dumps(document))
    return root


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images in thirty scenes; read-only, shared by all tests of a process."""
    return draw_shapes(tmp_path_factory.mktemp("shapes"))

"""A redundant pool like video: every generated scene as ten near-identical frames.

    python benchmarks/replay/frames.py OUT [--scenes 80] [--frames 10] [--seed 0]

writes OUT/images (a folder a scene) and OUT/labels.json. A frame is its scene moved by up to 2
pixels, a little darker or lighter, with sensor noise of its own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np

from annoloop.testing import CLASSES, labeled_digits, make_digits

SHIFT, LIGHT, NOISE = 2, 4.0, 2.0


def frame_of(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    dx, dy = (int(v) for v in rng.integers(-SHIFT, SHIFT + 1, 2))
    move = np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float64)
    size = picture.shape[1], picture.shape[0]
    moved = cv2.warpAffine(picture, move, size, borderMode=cv2.BORDER_REPLICATE)
    lit = moved + rng.uniform(-LIGHT, LIGHT) + rng.normal(0, NOISE, picture.shape)
    return np.clip(lit, 0, 255).astype(np.uint8), (dx, dy)


def write(out: Path, *, scenes: int, frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows: list[dict] = []
    boxes: list[dict] = []
    with tempfile.TemporaryDirectory() as place:
        # make_digits repeats some scenes itself: the first frame of each is enough.
        made = labeled_digits(make_digits(Path(place) / "d", images=2 * scenes, seed=seed))
        firsts = [one for one in made if "/frame_00." in one.path][:scenes]
        for number, scene in enumerate(firsts):
            picture = cv2.imread(scene.file)
            for shot in range(frames):
                pixels, (dx, dy) = frame_of(picture, rng)
                name = f"scene_{number:03}/frame_{shot}.png"
                file = out / "images" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), pixels)
                size = {"width": scene.width, "height": scene.height, "reviewed": True}
                rows.append({"id": len(rows) + 1, "file_name": name, **size})
                for label in scene.labels:
                    x, y, w, h = label.box
                    left, top = max(x + dx, 0.0), max(y + dy, 0.0)
                    right, bottom = min(x + dx + w, scene.width), min(y + dy + h, scene.height)
                    boxes.append(
                        {
                            "id": len(boxes) + 1,
                            "image_id": len(rows),
                            "category_id": label.class_id + 1,
                            "bbox": [left, top, right - left, bottom - top],
                        }
                    )
    names = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    document = {"images": rows, "annotations": boxes, "categories": names}
    (out / "labels.json").write_text(json.dumps(document))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--frames", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    write(given.out, scenes=given.scenes, frames=given.frames, seed=given.seed)

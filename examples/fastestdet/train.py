"""Fine-tunes FastestDet on a CPU, for annoloop's trainer `command`; README.md says how to use it.

It imports nothing of annoloop: what it is told and what it answers is the contract of
docs/trainers.md, in environment variables and files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import cv2
    import torch
    from features import Body, Features, Trouble, matrix, picture, pixels
    from head import Cells, Head, detect
    from learn import View, learn
except ImportError as error:
    sys.exit(
        f"{error}. Install: pip install torch torchvision onnx onnx2torch opencv-python-headless"
    )

NETWORK, WEIGHTS, FORMAT = "network.onnx", "head.pt", "fastestdet-1"
AT_ONCE = 16
"""Images whose cells are looked at together in predictions."""
VIEWS, VIEWS_IN_ALL = 4, 8000
"""Views of each image in training, fewer where there are many images."""
EACH, LEAST, MOST = 25, 15_000, 40_000
"""Images seen in training, where it is not said: each so many times, within these limits."""
LEAST_SEEN = 0.3
"""Share of a box that has to be left in a view, for its label to count there."""


def fit(environment: Mapping[str, str], options: argparse.Namespace) -> None:
    """Train on ANNOLOOP_DATA; ANNOLOOP_MODEL gets the network, the head and what it is for."""
    data, model = (Path(_told(environment, name)) for name in ("ANNOLOOP_DATA", "ANNOLOOP_MODEL"))
    classes = _classes(environment)
    seed = int(_told(environment, "ANNOLOOP_SEED"))
    coco = _read(data / "annotations.json")
    features = Features(Body(options.network, options.cache), options.cache)
    views = _views(data, coco, features)
    boxes = sum(len(one[0].labels) for one in views)
    print(f"{len(views)} images, {len(views[0]) if views else 0} views each, {boxes} boxes")
    if not boxes:
        raise Trouble(f"{data / 'annotations.json'} holds no box. Label at least one object.")
    passes = options.images or min(max(LEAST, EACH * len(views)), MOST)
    torch.manual_seed(seed)
    head = Head(features.body.shapes, len(classes))
    found = learn(head, views, passes=passes, batch=options.batch, seed=seed)
    (model / NETWORK).write_bytes(features.body.data)
    half = model / f"{WEIGHTS}.part"
    torch.save({"format": FORMAT, "classes": classes, "head": head.state_dict()}, half)
    half.replace(model / WEIGHTS)
    print(f"trained in {found['seconds']} s, loss {found['loss']}")


def predict(environment: Mapping[str, str], options: argparse.Namespace) -> None:
    """Detections of ANNOLOOP_IMAGES into ANNOLOOP_OUT."""
    model, out = (Path(_told(environment, name)) for name in ("ANNOLOOP_MODEL", "ANNOLOOP_OUT"))
    images = _read(Path(_told(environment, "ANNOLOOP_IMAGES")))
    try:
        saved = torch.load(model / WEIGHTS, weights_only=True)
    except Exception as error:  # pickle, zip and file errors have no common base
        raise Trouble(f"{model / WEIGHTS} is no model: {error}. Train again.") from error
    if saved.get("format") != FORMAT or saved["classes"] != _classes(environment):
        raise Trouble(f"{model} was trained for the classes {saved.get('classes')}. Train again.")
    features = Features(Body(model / NETWORK, options.cache), options.cache)
    head = Head(features.body.shapes, len(saved["classes"]))
    head.load_state_dict(saved["head"])
    head.eval()
    rows: list[dict[str, Any]] = []
    for at in range(0, len(images), AT_ONCE):
        part = images[at : at + AT_ONCE]
        for one in detect(head, Cells(_maps(part, features))):
            asked = part[one.image]
            rows.append(_row(asked, one.kind, one.box, one.score))
    half = out.with_suffix(".part")
    half.write_text(json.dumps(rows), encoding="utf-8")
    half.replace(out)
    print(f"{len(rows)} detections in {len(images)} images")


def _views(data: Path, coco: Mapping[str, Any], features: Features) -> list[list[View]]:
    """All views of all training images, their features computed."""
    images = sorted(coco["images"], key=lambda one: one["file_name"])
    count = max(1, min(VIEWS, VIEWS_IN_ALL // max(len(images), 1)))
    labels: dict[int, list[Mapping[str, Any]]] = {}
    for one in coco["annotations"]:
        labels.setdefault(one["image_id"], []).append(one)
    asked, views = [], []
    for one in images:
        file, size = data / one["file_name"], (one["width"], one["height"])
        content = _bytes(file)
        name = features.key(content, 0)
        mine = []
        for view in range(count):
            key = features.key(content, view)
            asked.append((key, _Picture(file, size, features.body.side, view, name)))
            moved = matrix(size, features.body.side, view=view, name=name)
            told = _in_view(labels.get(one["id"], []), moved, features.body.side)
            mine.append(View(_Maps(features, key), *told))
        views.append(mine)
    features.fill(asked, "features")
    return views


class _Picture:
    """One view of an image file, made when it is called."""

    def __init__(self, file: Path, size: tuple[int, int], side: int, view: int, name: str) -> None:
        self._told = file, size, side, view, name

    def __call__(self) -> np.ndarray[Any, Any]:
        file, size, side, view, name = self._told
        return picture(pixels(str(file), _bytes(file), size), side, view=view, name=name)


class _Maps:
    """The features of one view, read when it is called."""

    def __init__(self, features: Features, key: str) -> None:
        self._features, self._key = features, key

    def __call__(self) -> list[np.ndarray[Any, Any]]:
        row = self._features.get(self._key)
        if row is None:
            raise Trouble("the cache lost a file while it was used. Run it again.")
        return self._features.body.maps(row)


def _in_view(
    labels: Sequence[Mapping[str, Any]],
    moved: np.ndarray[Any, Any],
    side: int,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels (k, 5) and boxes to be ignored (k, 4) of a view: class, middle and sides as shares."""
    kept, ignored = [], []
    for one in labels:
        x, y, w, h = one["bbox"]
        edges = np.array([[x, x + w], [y, y + h], [1, 1]], dtype=np.float64)
        left, right, top, bottom = (moved @ edges).ravel()
        whole = (right - left) * (bottom - top)
        left, right, top, bottom = np.clip((left, right, top, bottom), 0, side)
        wide, high = right - left, bottom - top
        box = [(left + right) / 2 / side, (top + bottom) / 2 / side, wide / side, high / side]
        if one.get("iscrowd") or one.get("difficult") or not wide * high > LEAST_SEEN * whole:
            ignored.append(box)
        elif np.isfinite(box).all() and min(wide, high) >= 2:
            kept.append([one["category_id"], *box])
    return np.reshape(np.array(kept), (-1, 5)), np.reshape(np.array(ignored), (-1, 4))


def _maps(
    images: Sequence[Mapping[str, Any]], features: Features
) -> list[list[np.ndarray[Any, Any]]]:
    """The maps of whole images; only a cache on disk keeps them."""
    sizes = [(one["width"], one["height"]) for one in images]
    contents = [_bytes(Path(one["file"])) for one in images]
    keys = [features.key(content, 0) for content in contents]
    rows = [features.get(key) for key in keys]
    missing = [n for n, row in enumerate(rows) if row is None]
    side = features.body.side
    pictures = [
        picture(pixels(images[n]["file"], contents[n], sizes[n]), side, view=0, name=keys[n])
        for n in missing
    ]
    for n, row in zip(missing, features.body.rows(pictures), strict=True):
        rows[n] = row
        if features.on_disk:
            features.put(keys[n], row)
    return [features.body.maps(row) for row in rows if row is not None]


def _row(
    asked: Mapping[str, Any], kind: int, box: tuple[float, float, float, float], score: float
) -> dict[str, Any]:
    wide, high = asked["width"], asked["height"]
    left, top, right, bottom = box
    shape = [left * wide, top * high, (right - left) * wide, (bottom - top) * high]
    return {
        "image_id": asked["id"],
        "category_id": kind,
        "bbox": [round(one, 3) for one in shape],
        "score": round(score, 5),
    }


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Trouble(f"{file} cannot be read: {error.strerror}. Bring it back.") from error


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Trouble(f"{file} cannot be read as JSON: {error}.") from error


def _told(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise Trouble(f'{name} is not set. annoloop sets it: trainer = "command" in [train].')
    return environment[name]


def _classes(environment: Mapping[str, str]) -> list[str]:
    classes: list[str] = json.loads(_told(environment, "ANNOLOOP_CLASSES"))
    return classes


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", type=Path, required=True, help="FastestDet.onnx")
    parser.add_argument("--cache", type=Path, help="folder for features, shared by all runs")
    seen = "images seen in training; by default 25 times all of them, from 15,000 to 40,000"
    parser.add_argument("--images", type=int, help=seen)
    parser.add_argument("--batch", type=int, default=32, help="images of a step")
    options = parser.parse_args(words)
    if (options.images or 1) < 1 or options.batch < 1:
        parser.error("--images and --batch are at least 1")
    return options


def _threads(environment: Mapping[str, str]) -> int:
    """FASTESTDET_THREADS, else OMP_NUM_THREADS (a replay with workers sets it), else all cores but
    one."""
    for name in ("FASTESTDET_THREADS", "OMP_NUM_THREADS"):
        told = environment.get(name, "")
        if told:
            if not (told.isdecimal() and int(told) > 0):
                raise Trouble(f"{name} = {told!r} is no number of threads. Give 1 or more.")
            return int(told)
    return max(1, (os.cpu_count() or 2) - 1)


def main(words: Sequence[str] | None = None) -> int:
    options = _options(words)
    try:
        torch.set_num_threads(_threads(os.environ))
        cv2.setNumThreads(1)
        torch.set_flush_denormal(True)
        task = _told(os.environ, "ANNOLOOP_TASK")
        if task not in ("fit", "predict"):
            raise Trouble(f"ANNOLOOP_TASK = {task!r} is neither fit nor predict.")
        (fit if task == "fit" else predict)(os.environ, options)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

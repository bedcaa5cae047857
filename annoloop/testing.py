"""The sample data set: real handwritten digits on made-up paper, boards and stone.

The digits come with scikit-learn (E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten
Digits, UCI 1998), so nothing is downloaded. What makes detection data hard in practice is there on
purpose: a long tail of classes, rare ones at home in few scenes, strokes that are no digits, digits
that can hardly be read, images without any, and frames that look almost alike.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annoloop.errors import InputError
from annoloop.ports import Progress, silent
from annoloop.records import Box

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Canvas = NDArray[np.float32]
Colour = tuple[int, int, int]

_MOST_FREQUENT_FIRST = (1, 0, 7, 2, 3, 5, 4, 9, 6, 8)
_TAIL = 12.0
_RARE = 4
_SHARE_GROUPED, _SHARE_EMPTY, _SHARE_AMBIGUOUS = 0.15, 0.05, 0.04
_SIZE = (16.0, 48.0)
_MARGIN = 4
"""Pixels around a scene: what frames of a group may be shifted by."""

_GAP = 3
_INK = 0.3
"""A pixel with this much ink belongs to the digit's box."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """What one folder shows: digits by class id, on one background, in one or more frames."""

    look: str
    digits: tuple[int, ...]
    frames: int


@dataclass(frozen=True, slots=True)
class _Mark:
    """One digit where it was drawn, in pixels of the scene's canvas."""

    class_id: int
    box: tuple[int, int, int, int]
    ambiguous: bool


@dataclass(frozen=True, slots=True)
class _Look:
    """A background: its colours, the strength of its texture at each scale, and what writes on it.

    `lines` is the distance of ruled lines as a share of the height, 0 for none.
    """

    share: float
    papers: tuple[Colour, ...]
    inks: tuple[Colour, ...]
    texture: dict[int, float]
    lines: float = 0.0
    columns: bool = False
    stains: int = 0
    specks: int = 0


_LOOKS = {
    "ruled": _Look(
        share=0.30,
        papers=((246, 243, 232), (236, 240, 246), (250, 246, 214)),
        inks=((30, 40, 110), (35, 32, 38), (120, 30, 40)),
        texture={60: 5, 8: 2, 1: 3},
        lines=0.105,
    ),
    "graph": _Look(
        share=0.24,
        papers=((240, 246, 240), (246, 246, 250)),
        inks=((40, 44, 52), (24, 70, 60)),
        texture={60: 5, 8: 2, 1: 3},
        lines=0.075,
        columns=True,
    ),
    "stained": _Look(
        share=0.20,
        papers=((222, 202, 164), (206, 190, 160), (228, 214, 186)),
        inks=((66, 38, 24), (44, 40, 44)),
        texture={50: 11, 14: 6, 3: 4, 1: 3},
        stains=5,
    ),
    "board": _Look(
        share=0.15,
        papers=((34, 58, 46), (38, 42, 46)),
        inks=((226, 230, 222), (232, 216, 150), (160, 208, 226)),
        texture={50: 8, 10: 5, 2: 3, 1: 4},
        stains=3,
    ),
    "stone": _Look(
        share=0.11,
        papers=((132, 128, 122), (120, 126, 134)),
        inks=((28, 26, 30), (240, 238, 226)),
        texture={40: 9, 9: 7, 3: 7, 1: 7},
        specks=260,
    ),
}
_HOMES = ("stone", "board", "stained", "board")
"""Where the four rarest classes are at home, in the order of their frequency."""


def make_digits(
    root: Path, *, images: int = 480, seed: int = 0, progress: Progress = silent
) -> Path:
    """Draw a detection data set into the new or empty folder `root`, and return `root`.

    `root/images/scene_0001/frame_00.jpg` … (one folder is one group; some are .png) and
    `root/labels.json`, COCO with all images reviewed, categories zero … nine with ids 1 … 10, and
    `ambiguous` on boxes of digits that can hardly be read. About 208 × 160 pixels an image, digits
    16 to 48 pixels tall, the most frequent class twelve times the rarest. The same arguments give
    the same bytes. Raises InputError for a folder with files in it and for less than one image.
    """
    if images < 1:
        raise InputError(f"{images} images cannot be drawn", fix="Ask for at least one.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder", fix="Name a new or an empty folder.")
    glyphs = _glyphs()
    rows: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number, scene in enumerate(_plan(images, np.random.default_rng(seed)), start=1):
        rng = np.random.default_rng([seed, number])
        canvas, marks = _draw(scene, glyphs, rng)
        suffix = "png" if rng.random() < 0.15 else "jpg"
        for frame in range(scene.frames):
            path = f"scene_{number:04}/frame_{frame:02}.{suffix}"
            pixels, (left, top) = _frame(canvas, rng)
            _write(root / "images" / path, pixels)
            size = {"width": pixels.shape[1], "height": pixels.shape[0]}
            rows.append({"id": len(rows) + 1, "file_name": path, **size, "reviewed": True})
            for mark in marks:
                x, y, w, h = mark.box
                box = (float(x - left), float(y - top), float(w), float(h))
                boxes.append(_row(len(boxes) + 1, len(rows), mark=mark, box=box))
            progress(len(rows), images, "drawing images")
    names = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    data = {"images": rows, "annotations": boxes, "categories": names}
    (root / "labels.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return root


def _row(number: int, image: int, *, mark: _Mark, box: Box) -> dict[str, Any]:
    row = {
        "id": number,
        "image_id": image,
        "category_id": mark.class_id + 1,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
    }
    return row | {"ambiguous": True} if mark.ambiguous else row


# --- what is where -------------------------------------------------------------------------------


def _plan(images: int, rng: np.random.Generator) -> list[_Scene]:
    """Scenes of `images` frames in all; every class gets its share of digits, to the digit."""
    frames = []
    grouped = round(_SHARE_GROUPED * images)
    while grouped >= 2:
        frames.append(min(grouped, int(rng.integers(2, 5))))
        grouped -= frames[-1]
    frames += [1] * (images - sum(frames))
    empty = np.zeros(len(frames), dtype=bool)
    empty[len(frames) - round(_SHARE_EMPTY * images) :] = True
    order = rng.permutation(len(frames))
    counts = np.where(empty, 0, 1 + rng.binomial(3, 0.35, len(frames)))
    looks = rng.choice(list(_LOOKS), len(frames), p=[look.share for look in _LOOKS.values()])
    left = _shares(int(sum(counts * frames)))
    scenes = []
    for scene in order.tolist():
        look = str(looks[scene])
        digits = _classes(left, look, wanted=int(counts[scene]), rng=rng)
        left[list(digits)] -= frames[scene]
        scenes.append(_Scene(look, digits, frames[scene]))
    return scenes


def _shares(total: int) -> NDArray[np.float64]:
    """How many of `total` digits each class gets: a geometric tail from most frequent to rarest."""
    weights = _TAIL ** -np.linspace(0, 1, len(CLASSES))
    shares = np.zeros(len(CLASSES))
    shares[list(_MOST_FREQUENT_FIRST)] = np.maximum(1.0, np.round(total * weights / weights.sum()))
    return shares


def _classes(
    left: NDArray[np.float64], look: str, *, wanted: int, rng: np.random.Generator
) -> tuple[int, ...]:
    """Classes for one scene by what is left of each; the rare prefer the background of their own.

    A class comes at most once a scene as long as others are left.
    """
    weights = np.maximum(left, 0.0) + 1e-9
    for class_id, home in zip(_MOST_FREQUENT_FIRST[-_RARE:], _HOMES, strict=True):
        weights[class_id] *= 12.0 if home == look else 0.5
    return tuple(rng.choice(len(CLASSES), wanted, replace=False, p=weights / weights.sum()).tolist())


# --- drawing -------------------------------------------------------------------------------------


def _glyphs() -> dict[int, Canvas]:
    """Real handwriting by class: (n, 8, 8) ink in [0, 1]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    ink = (data.images / 16).astype(np.float32)
    return {class_id: ink[data.target == class_id] for class_id in range(len(CLASSES))}


def _draw(
    scene: _Scene, glyphs: dict[int, Canvas], rng: np.random.Generator
) -> tuple[Canvas, tuple[_Mark, ...]]:
    """The scene's canvas, (h, w, 3) with _MARGIN to spare on each side, and its digits."""
    look = _LOOKS[scene.look]
    width = int(rng.integers(196, 221)) + 2 * _MARGIN
    height = int(rng.integers(150, 171)) + 2 * _MARGIN
    canvas = _background(look, (height, width), rng)
    ink = _pick(look.inks, rng)
    taken: list[tuple[int, int, int, int]] = []
    marks = []
    for class_id in scene.digits:
        ambiguous = bool(rng.random() < _SHARE_AMBIGUOUS)
        mask = _digit(_one(glyphs[class_id], rng), rng)
        strength = rng.uniform(0.5, 1.0)
        if ambiguous:
            mask, strength = _blurred(mask, rng), rng.uniform(0.2, 0.32)
        spot = _free_spot(mask.shape, canvas.shape, taken=taken, rng=rng)
        if spot is None:
            continue
        box = _ink_box(mask, spot)
        _stain(canvas, mask, spot=spot, ink=ink, strength=strength)
        taken.append(box)
        marks.append(_Mark(class_id, box, ambiguous))
    for _ in range(int(rng.integers(1, 6))):
        mask = _scrap(glyphs, rng)
        spot = _free_spot(mask.shape, canvas.shape, taken=taken, rng=rng)
        if spot is not None:
            _stain(canvas, mask, spot=spot, ink=ink, strength=rng.uniform(0.45, 1.0))
            taken.append(_ink_box(mask, spot))
    return canvas, tuple(marks)


def _one(many: Canvas, rng: np.random.Generator) -> Canvas:
    return np.asarray(many[rng.integers(len(many))])


def _pick(colours: Sequence[Colour], rng: np.random.Generator) -> Canvas:
    """One of the colours, a little off."""
    chosen = np.array(colours[rng.integers(len(colours))], dtype=np.float32)
    return np.asarray(chosen + rng.uniform(-8, 8, 3), dtype=np.float32)


def _background(look: _Look, shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
    height, width = shape
    canvas = np.tile(_pick(look.papers, rng), (height, width, 1))
    for scale, strength in look.texture.items():
        canvas += strength * _cloud(shape, scale, rng)[..., None]
    if look.lines:
        _rule(canvas, look, rng)
    for _ in range(look.stains):
        _blot(canvas, rng)
    for _ in range(look.specks):
        y, x = int(rng.integers(height - 2)), int(rng.integers(width - 2))
        side = int(rng.integers(1, 3))
        canvas[y : y + side, x : x + side] += rng.normal(0, 38)
    angle = rng.uniform(0, 2 * math.pi)
    ys, xs = np.mgrid[-0.5 : 0.5 : height * 1j, -0.5 : 0.5 : width * 1j]
    light = rng.uniform(0, 34) * (xs * math.cos(angle) + ys * math.sin(angle))
    return np.asarray(canvas + light[..., None], dtype=np.float32)


def _cloud(shape: tuple[int, int], scale: int, rng: np.random.Generator) -> Canvas:
    """Smooth noise of unit strength whose blobs are about `scale` pixels wide."""
    import cv2

    height, width = shape
    small = rng.standard_normal((height // scale + 2, width // scale + 2), dtype=np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _rule(canvas: Canvas, look: _Look, rng: np.random.Generator) -> None:
    """Printed lines: rows, and columns too on graph paper."""
    height, width = canvas.shape[:2]
    step = height * look.lines * rng.uniform(0.85, 1.25)
    tint = np.array([-46, -30, -6], dtype=np.float32) * rng.uniform(0.5, 1.0)
    for y in np.arange(rng.uniform(0, step), height, step).astype(int):
        canvas[y] += tint
    if look.columns:
        for x in np.arange(rng.uniform(0, step), width, step).astype(int):
            canvas[:, x] += tint
    elif rng.random() < 0.6:
        canvas[:, int(rng.uniform(0.06, 0.2) * width)] += np.array([-10, -60, -60], np.float32)


def _blot(canvas: Canvas, rng: np.random.Generator) -> None:
    """A soft stain, darker or lighter than the paper, without an edge that could be a stroke."""
    height, width = canvas.shape[:2]
    centre_x, centre_y = rng.uniform(0, width), rng.uniform(0, height)
    radius_x, radius_y = rng.uniform(18, 60), rng.uniform(14, 40)
    ys, xs = np.ogrid[:height, :width]
    far = ((xs - centre_x) / radius_x) ** 2 + ((ys - centre_y) / radius_y) ** 2
    canvas += (rng.uniform(-26, 12) / (1 + far**3))[..., None].astype(np.float32)


def _digit(glyph: Canvas, rng: np.random.Generator) -> Canvas:
    """Handwriting of 8 × 8 pixels as a mask in [0, 1]: turned, slanted, warped, with a pen's wear."""
    import cv2

    size = math.exp(rng.uniform(math.log(_SIZE[0]), math.log(_SIZE[1])))
    rows = np.flatnonzero(glyph.max(axis=1) > _INK)
    scale = size / (rows[-1] - rows[0] + 1)
    side = math.ceil(scale * 13)
    angle, slant = rng.normal(0, 0.2), rng.normal(0, 0.25)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = np.linalg.inv(scale * turn @ np.array([[rng.uniform(0.75, 1.2), slant], [0, 1]]))
    ys, xs = np.mgrid[:side, :side].astype(np.float32) - side / 2
    where = np.tensordot(linear, np.stack([xs, ys]), axes=1).astype(np.float32) + 3.5
    wobble = max(3, round(0.45 * size))
    where += rng.uniform(0.0, 0.35) * np.stack([_cloud((side, side), wobble, rng) for _ in "xy"])
    smooth = cv2.remap(glyph, where[0], where[1], cv2.INTER_CUBIC)
    mask = np.clip((smooth - rng.uniform(0.3, 0.52)) * min(scale, 4.0) + 0.5, 0, 1)
    worn = np.clip(1 - rng.uniform(0, 0.3) * (1 + _cloud((side, side), 3, rng)), 0.4, 1)
    return _cropped(np.where(mask > 0.02, mask * worn, 0))


def _blurred(mask: Canvas, rng: np.random.Generator) -> Canvas:
    import cv2

    sigma = rng.uniform(0.04, 0.07) * mask.shape[0]
    edge = math.ceil(2 * sigma)
    return _cropped(np.asarray(cv2.GaussianBlur(np.pad(mask, edge), (0, 0), sigma)))


def _scrap(glyphs: dict[int, Canvas], rng: np.random.Generator) -> Canvas:
    """A mask that is no digit: a scribble, or handwriting cut in quarters and put together wrong."""
    import cv2

    if rng.random() < 0.35:
        glyph = _one(glyphs[int(rng.integers(len(CLASSES)))], rng)
        quarters = [glyph[:4, :4].T, glyph[4:, :4].T, glyph[:4, 4:].T, glyph[4:, 4:].T]
        a, b, c, d = (quarters[i] for i in rng.permutation(4))
        return _digit(np.ascontiguousarray(np.block([[a, b], [c, d]])), rng)
    points = np.cumsum(rng.normal(0, 1, (int(rng.integers(3, 9)), 2)), axis=0)
    points -= points.min(axis=0)
    points *= rng.uniform(14, 60) / max(points.max(), 1e-6)
    dense = np.linspace(0, len(points) - 1, 80)
    track = np.column_stack([np.interp(dense, np.arange(len(points)), points[:, i]) for i in (0, 1)])
    track = cv2.GaussianBlur(track, (1, 0), sigmaX=0.1, sigmaY=4.0)
    width, height = np.ceil(track.max(axis=0)).astype(int) + 9
    mask = np.zeros((height, width), dtype=np.uint8)
    strokes = [np.round((track + 4) * 8).astype(np.int32)]
    cv2.polylines(mask, strokes, False, 255, int(rng.integers(2, 5)), cv2.LINE_AA, 3)
    return _cropped(mask.astype(np.float32) / 255)


def _cropped(mask: NDArray[Any]) -> Canvas:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    kept = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(kept, dtype=np.float32)


def _ink_box(mask: Canvas, spot: tuple[int, int]) -> tuple[int, int, int, int]:
    """x, y, width, height of the visible ink of a mask at `spot` (x, y)."""
    visible = mask >= _INK * mask.max()
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return spot[0] + int(columns[0]), spot[1] + int(rows[0]), int(width), int(height)


def _free_spot(
    shape: tuple[int, ...],
    canvas: tuple[int, ...],
    *,
    taken: Sequence[tuple[int, int, int, int]],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """A place (x, y) inside the margin that touches nothing, or None after 40 tries."""
    height, width = shape[:2]
    room_x = canvas[1] - 2 * _MARGIN - width
    room_y = canvas[0] - 2 * _MARGIN - height
    for _ in range(40 if min(room_x, room_y) > 0 else 0):
        x = 2 * _MARGIN + int(rng.integers(room_x))
        y = 2 * _MARGIN + int(rng.integers(room_y))
        if all(
            x >= tx + tw + _GAP or tx >= x + width + _GAP
            or y >= ty + th + _GAP or ty >= y + height + _GAP
            for tx, ty, tw, th in taken
        ):
            return x, y
    return None


def _stain(
    canvas: Canvas, mask: Canvas, *, spot: tuple[int, int], ink: Canvas, strength: float
) -> None:
    x, y = spot
    part = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
    part += (ink - part) * (strength * mask)[..., None]


def _frame(canvas: Canvas, rng: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """One shot of the scene: shifted by a pixel or so, with light and noise of its own.

    Returns (h, w, 3) RGB and the position (x, y) of its corner on the canvas.
    """
    left, top = (int(value) for value in rng.integers(_MARGIN - 1, _MARGIN + 2, 2))
    height, width = canvas.shape[0] - 2 * _MARGIN, canvas.shape[1] - 2 * _MARGIN
    shot = canvas[top : top + height, left : left + width] + rng.uniform(-4, 4)
    shot = shot + 2.5 * rng.standard_normal(shot.shape, dtype=np.float32)
    return np.clip(np.round(shot), 0, 255).astype(np.uint8), (left, top)


def _write(file: Path, rgb: NDArray[np.uint8]) -> None:
    import cv2

    file.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if file.suffix == ".jpg" else []
    done, data = cv2.imencode(file.suffix, bgr, options)
    if not done:
        raise InputError(f"{file} cannot be encoded", fix="Reinstall opencv-python-headless.")
    file.write_bytes(bytes(data))

"""Scenes for the sample data set: handwriting and scribbles on made-up paper, boards and stone.

Pixels are drawn as float32 RGB in [0, 255], (h, w, 3); ink is a mask in [0, 1], (h, w).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
Colour = tuple[int, int, int]
Place = tuple[int, int, int, int]
"""x, y, width, height in whole pixels of the canvas."""

MARGIN = 4
"""Pixels around a scene: what frames of a group may be shifted by."""

SHARE_AMBIGUOUS = 0.04
_SIZE = (16.0, 48.0)
_GAP = 3
_CUTTABLE = (0, 2, 3, 5, 6, 8, 9)
"""Half a one, four or seven may still be read as a digit."""

_BOLDEST = 0.7
_INK = 0.3
"""A pixel with this much of a mask's blackest ink belongs to the box."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One digit where it was drawn, in pixels of the scene's canvas."""

    class_id: int
    box: Place
    ambiguous: bool


@dataclass(frozen=True, slots=True)
class Look:
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


LOOKS = {
    "ruled": Look(
        share=0.30,
        papers=((246, 243, 232), (236, 240, 246), (250, 246, 214)),
        inks=((30, 40, 110), (35, 32, 38), (120, 30, 40), (20, 90, 60)),
        texture={60: 5, 8: 2, 1: 3},
        lines=0.105,
    ),
    "graph": Look(
        share=0.24,
        papers=((240, 246, 240), (246, 246, 250)),
        inks=((40, 44, 52), (24, 70, 60), (150, 40, 70), (40, 60, 140)),
        texture={60: 5, 8: 2, 1: 3},
        lines=0.075,
        columns=True,
    ),
    "stained": Look(
        share=0.20,
        papers=((222, 202, 164), (206, 190, 160), (228, 214, 186)),
        inks=((66, 38, 24), (44, 40, 44), (130, 30, 24), (24, 50, 90)),
        texture={50: 11, 14: 6, 3: 4, 1: 3},
        stains=5,
    ),
    "board": Look(
        share=0.15,
        papers=((34, 58, 46), (38, 42, 46)),
        inks=((226, 230, 222), (232, 216, 150), (160, 208, 226)),
        texture={50: 8, 10: 5, 2: 3, 1: 4},
        stains=3,
    ),
    "stone": Look(
        share=0.11,
        papers=((132, 128, 122), (120, 126, 134)),
        inks=((28, 26, 30), (240, 238, 226)),
        texture={40: 9, 9: 7, 3: 7, 1: 7},
        specks=260,
    ),
}


def handwriting() -> list[Canvas]:
    """Real handwriting by class: (n, 8, 8) ink in [0, 1]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    ink = (data.images / 16).astype(np.float32)
    of_class = [ink[data.target == class_id] for class_id in range(10)]
    weights = [glyphs.sum(axis=(1, 2)) for glyphs in of_class]
    # At 48 pixels the boldest of 8 × 8 would be blots.
    return [g[w <= np.quantile(w, _BOLDEST)] for g, w in zip(of_class, weights, strict=True)]


def draw(
    look: Look,
    digits: Sequence[int],
    *,
    glyphs: Sequence[Canvas],
    rng: np.random.Generator,
) -> tuple[Canvas, tuple[Mark, ...]]:
    """A scene with MARGIN to spare on each side, and where its digits are.

    A digit for which there is no room is left out.
    """
    width = int(rng.integers(196, 221)) + 2 * MARGIN
    height = int(rng.integers(150, 171)) + 2 * MARGIN
    canvas = _background(look, (height, width), rng)
    taken: list[Place] = []
    marks = []
    for class_id in digits:
        ambiguous = bool(rng.random() < SHARE_AMBIGUOUS)
        mask = _digit(_one(glyphs[class_id], rng), rng)
        strength = rng.uniform(0.45, 1.0)
        if ambiguous:
            mask, strength = _blurred(mask, rng), rng.uniform(0.2, 0.32)
        spot = _free_spot(mask.shape, canvas.shape, taken=taken, rng=rng)
        if spot is None:
            continue
        box = _ink_box(mask, spot)
        _stain(canvas, mask, spot=spot, ink=_pick(look.inks, rng), strength=strength)
        taken.append(box)
        marks.append(Mark(class_id, box, ambiguous))
    for _ in range(int(rng.integers(1, 6))):
        mask = _scrap(glyphs, rng)
        spot = _free_spot(mask.shape, canvas.shape, taken=taken, rng=rng)
        if spot is not None:
            _stain(
                canvas, mask, spot=spot, ink=_pick(look.inks, rng), strength=rng.uniform(0.45, 1.0)
            )
            taken.append(_ink_box(mask, spot))
    return canvas, tuple(marks)


def _one(many: Canvas, rng: np.random.Generator) -> Canvas:
    return np.asarray(many[rng.integers(len(many))])


def _pick(colours: Sequence[Colour], rng: np.random.Generator) -> Canvas:
    """One of the colours, a little off."""
    chosen = np.array(colours[int(rng.integers(len(colours)))], dtype=np.float32)
    return np.asarray(chosen + rng.uniform(-8, 8, 3), dtype=np.float32)


def _background(look: Look, shape: tuple[int, int], rng: np.random.Generator) -> Canvas:
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


def _rule(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
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
    """8 × 8 pixels of handwriting as a mask of 16 to 48 pixels: turned, slanted, warped, worn."""
    import cv2

    size = math.exp(rng.uniform(math.log(_SIZE[0]), math.log(_SIZE[1])))
    rows = np.flatnonzero(glyph.max(axis=1) > _INK)
    scale = size / (rows[-1] - rows[0] + 1)
    side = math.ceil(scale * 13)
    angle, slant = rng.normal(0, 0.22), rng.normal(0, 0.22)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = np.linalg.inv(scale * turn @ np.array([[rng.uniform(0.7, 1.3), slant], [0, 1]]))
    ys, xs = np.mgrid[:side, :side].astype(np.float32) - side / 2
    where = np.tensordot(linear, np.stack([xs, ys]), axes=1).astype(np.float32) + 3.5
    wobble = max(3, round(0.45 * size))
    where += rng.uniform(0.0, 0.35) * np.stack([_cloud((side, side), wobble, rng) for _ in "xy"])
    smooth = cv2.remap(glyph, where[0], where[1], cv2.INTER_CUBIC)
    mask = np.clip((smooth - rng.uniform(0.45, 0.7)) * min(scale, 4.0) + 0.5, 0, 1)
    worn = np.clip(1 - rng.uniform(0, 0.15) * (1 + _cloud((side, side), 2, rng)), 0.4, 1)
    return _cropped(np.where(mask > 0.02, mask * worn, 0))


def _blurred(mask: Canvas, rng: np.random.Generator) -> Canvas:
    import cv2

    sigma = rng.uniform(0.04, 0.07) * mask.shape[0]
    edge = math.ceil(2 * sigma)
    return _cropped(np.asarray(cv2.GaussianBlur(np.pad(mask, edge), (0, 0), sigma)))


def _scrap(glyphs: Sequence[Canvas], rng: np.random.Generator) -> Canvas:
    """A mask that is no digit: a scribble, or handwriting whose quarters changed places."""
    import cv2

    if rng.random() < 0.35:
        class_id = int(rng.choice(_CUTTABLE))
        return _digit(np.roll(_one(glyphs[class_id], rng), (4, 4), axis=(0, 1)), rng)
    points = np.cumsum(rng.normal(0, 1, (int(rng.integers(5, 11)), 2)), axis=0)
    points -= points.min(axis=0)
    points *= rng.uniform(26, 70) / max(points.max(), 1e-6)
    dense = np.linspace(0, len(points) - 1, 80)
    track = np.column_stack(
        [np.interp(dense, np.arange(len(points)), points[:, i]) for i in (0, 1)]
    )
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


def _ink_box(mask: Canvas, spot: tuple[int, int]) -> Place:
    """x, y, width, height of the visible ink of a mask at `spot` (x, y)."""
    visible = mask >= _INK * mask.max()
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return spot[0] + int(columns[0]), spot[1] + int(rows[0]), int(width), int(height)


def _free_spot(
    shape: tuple[int, ...],
    canvas: tuple[int, ...],
    *,
    taken: Sequence[Place],
    rng: np.random.Generator,
) -> tuple[int, int] | None:
    """A place (x, y) inside the margin that touches nothing, or None after 40 tries."""
    height, width = shape[:2]
    edge = MARGIN + 2
    room_x = canvas[1] - 2 * edge - width
    room_y = canvas[0] - 2 * edge - height
    for _ in range(40 if min(room_x, room_y) > 0 else 0):
        x, y = edge + int(rng.integers(room_x)), edge + int(rng.integers(room_y))
        if all(
            x >= tx + tw + _GAP
            or tx >= x + width + _GAP
            or y >= ty + th + _GAP
            or ty >= y + height + _GAP
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


def frame(canvas: Canvas, rng: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """One shot of the scene: shifted by a pixel or so, with light and noise of its own.

    Returns (h, w, 3) RGB and the position (x, y) of its corner on the canvas.
    """
    left, top = (int(value) for value in rng.integers(MARGIN - 1, MARGIN + 2, 2))
    height, width = canvas.shape[0] - 2 * MARGIN, canvas.shape[1] - 2 * MARGIN
    shot = canvas[top : top + height, left : left + width] + rng.uniform(-4, 4)
    shot = shot + 2.5 * rng.standard_normal(shot.shape, dtype=np.float32)
    return np.clip(np.round(shot), 0, 255).astype(np.uint8), (left, top)

"""Precision against recall, a small panel for each class, and where the model works on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from annoloop.report.charts import WIDTH, Chart, short, svg_tag, text_tag

ACROSS, GAP, DOWN, SIDE = 3, 22.0, 134.0, 88.0
MOST = 12
"""Panels; where there are more classes, those with the lowest AP50 are shown."""


@dataclass(frozen=True, slots=True)
class ClassCurve:
    """Interpolated precision at recalls 0, 0.01 … 1 (IoU 0.5), and the operating point's own."""

    name: str
    ap50: float
    curve: Sequence[float]
    recall: float | None
    precision: float | None


def precision_recall(classes: Sequence[ClassCurve], *, min_score: float) -> Chart | None:
    """A panel for each class, the weakest first; None without any curve.

    The dot is what the model does with detections from `min_score` on; a class of which nothing is
    detected there has none.
    """
    known = sorted((one for one in classes if one.curve), key=lambda one: (one.ap50, one.name))
    if not known:
        return None
    wide = (WIDTH - GAP * (ACROSS - 1)) / ACROSS
    shown = known[:MOST]
    parts = []
    for place, one in enumerate(shown):
        corner = f"{(wide + GAP) * (place % ACROSS):.1f} {DOWN * (place // ACROSS):g}"
        parts += [f'<g transform="translate({corner})">', *_panel(one, wide), "</g>"]
    below = DOWN * math.ceil(len(shown) / ACROSS)
    parts += [
        f'<circle class="point" cx="6" cy="{below:g}" r="4.5"/>',
        text_tag(17, below + 4, f"at score {min_score:.2f}; up precision, right recall, 0 to 1"),
    ]
    title = _title(known, len(shown))
    return Chart(title, svg_tag(title, below + 12, parts))


def _panel(one: ClassCurve, wide: float) -> list[str]:
    floor = 24 + SIDE
    steps = len(one.curve) - 1
    spots = [
        (wide * place / steps, floor - SIDE * precision)
        for place, precision in enumerate(one.curve)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    value = f"{one.ap50:.2f}"
    tip = f"<title>{escape(one.name)}: AP50 {one.ap50:.3f}{_said(one)}</title>"
    parts = [
        f'<rect class="plot" x="0" y="24" width="{wide:.1f}" height="{SIDE:g}">{tip}</rect>',
        f'<polygon class="under" points="0,{floor:g} {path} {wide:.1f},{floor:g}"/>',
        f'<polyline class="pr" points="{path}"/>',
        f'<line class="axis" x1="0" x2="{wide:.1f}" y1="{floor:g}" y2="{floor:g}"/>',
        text_tag(0, 16, short(one.name), kind="label"),
        text_tag(wide, 16, value, kind="label", anchor="end"),
    ]
    if one.precision is not None and one.recall is not None:
        x, y = wide * one.recall, floor - SIDE * one.precision
        parts.append(f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{tip}</circle>')
    return parts


def _said(one: ClassCurve) -> str:
    if one.precision is None or one.recall is None:
        return "; nothing detected at the operating point"
    return f"; precision {one.precision:.2f} and recall {one.recall:.2f} at the operating point"


def _title(known: Sequence[ClassCurve], shown: int) -> str:
    first, last = known[0], known[-1]
    if len(known) == 1:
        return f"AP50 of {first.name} on gauge is {first.ap50:.2f}"
    said = (
        f"On gauge {first.name} is found worst (AP50 {first.ap50:.2f}) and {last.name} best "
        f"({last.ap50:.2f})"
    )
    return said if shown == len(known) else f"{said}; the {shown} weakest of {len(known)} classes"

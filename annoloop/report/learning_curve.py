"""The learning curve with its target, and the band in which the next points should lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from annoloop.report.charts import (
    TOP,
    WIDTH,
    Area,
    Chart,
    grid_rows,
    level_line,
    mark_name,
    svg_tag,
    text_tag,
    ticks,
)

HEIGHT, BELOW = 396.0, 40.0

Known = Sequence[tuple[str, int, float]]


def learning_curve(
    points: Sequence[tuple[str, int, float | None]],
    *,
    metric: str,
    target: float | None,
    outlook: Mapping[str, Any] | None = None,
) -> Chart | None:
    """The metric against labelled images, a point for every iteration (name, images, value).

    `outlook` is the forecast as `decide` recorded it, and its band is drawn. Iterations without a
    value are left out; None if no iteration has one.
    """
    known = [(name, images, value) for name, images, value in points if value is not None]
    if not known:
        return None
    band: Mapping[str, Sequence[float]] = (outlook or {}).get("picture") or {}
    highest = [value for _, _, value in known] + [target or 0.0, 0.05, *band.get("high", ())]
    rows = ticks(max(highest))
    widest = [images for _, images, _ in known] + [math.ceil(x) for x in band.get("sizes", ())]
    columns = ticks(max(*widest, 1))
    area = Area(height=HEIGHT, top=rows[-1], right=columns[-1])
    spots = [(area.x(images), area.y(value)) for _, images, value in known]
    parts = [*_band(area, band), *grid_rows(area, rows), level_line(area, 0, kind="axis")]
    parts += _columns(area, columns, "labelled images")
    if target is not None:
        parts += _target(area, target)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    parts.append(f'<polyline class="curve" points="{path}"/>')
    parts += [f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>' for x, y in spots]
    parts += _point_names([name for name, _, _ in known], spots, newest=known[-1][2])
    title = _title(known, metric, target) + _forecast(outlook or {})
    return Chart(title, svg_tag(title, TOP + HEIGHT + BELOW, parts))


def _band(area: Area, band: Mapping[str, Sequence[float]]) -> list[str]:
    """The 90 % band as a shape, and its middle as a dashed line."""
    if not band:
        return []
    x = [area.x(size) for size in band["sizes"]]
    upper = [f"{a:.1f},{area.y(v):.1f}" for a, v in zip(x, band["high"], strict=True)]
    lower = [f"{a:.1f},{area.y(v):.1f}" for a, v in zip(x, band["low"], strict=True)]
    middle = [f"{a:.1f},{area.y(v):.1f}" for a, v in zip(x, band["median"], strict=True)]
    shape = " ".join([*upper, *lower[::-1]])
    tip = "<title>90 % band of the learning curve, as forecast with the next batch</title>"
    return [
        f'<polygon class="band" points="{shape}">{tip}</polygon>',
        f'<polyline class="forecast" points="{" ".join(middle)}"/>',
    ]


def _forecast(outlook: Mapping[str, Any]) -> str:
    gain, batch = outlook.get("gain"), outlook.get("batch")
    if not gain or not batch:
        return ""
    low, median, high = (100 * gain[key] for key in ("low", "median", "high"))
    return (
        f"; the next {batch['images']:,.0f} images should add {median:.1f} points "
        f"({low:.1f} to {high:.1f})"
    )


def _title(known: Known, metric: str, target: float | None) -> str:
    (_, first_images, first), (_, last_images, last) = known[0], known[-1]
    if len(known) == 1:
        said = f"{metric} is {_fraction(last)} with {last_images:,} labelled images"
    else:
        moved = "rose" if last > first else "fell" if last < first else "stayed"
        ways = f"from {_fraction(first)} to {_fraction(last)}"
        ways = f"at {_fraction(last)}" if moved == "stayed" else ways
        said = f"{metric} {moved} {ways} with {first_images:,} to {last_images:,} labelled images"
    if target is None:
        return said
    if last >= target:
        return f"{said}; not below the target of {_fraction(target)}"
    short = target - last
    gap = _fraction(short) if short >= 0.001 else "less than 0.001"
    return f"{said}; {gap} short of the target of {_fraction(target)}"


def _fraction(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".") if value == round(value, 2) else f"{value:.3f}"


def _columns(area: Area, marks: Sequence[float], what: str) -> list[str]:
    """Numbers below the axis, and what they count."""
    parts = []
    for mark in marks:
        x, low = area.x(mark), area.floor
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{low:g}" y2="{low + 5:g}"/>'
        )
        parts.append(text_tag(x, low + 18, mark_name(mark), anchor="middle"))
    return [*parts, text_tag(area.left + area.width, area.floor + 36, what, anchor="end")]


def _target(area: Area, target: float) -> list[str]:
    label = f"target {_fraction(target)}"
    return [
        level_line(area, target, kind="target"),
        text_tag(area.left + 4, area.y(target) - 6, label, kind="label"),
    ]


def _point_names(
    names: Sequence[str], spots: Sequence[tuple[float, float]], *, newest: float
) -> list[str]:
    """The newest point's name and value above it, and other names where there is room."""
    parts: list[str] = []
    free = math.inf
    for name, (x, y) in reversed(list(zip(names, spots, strict=True))):
        label = name if parts else f"{name}: {_fraction(newest)}"
        half = 4 * len(label)
        x = min(x, WIDTH - half)
        if x + half <= free:
            parts.append(text_tag(x, y - 11, label, kind="label", anchor="middle"))
            free = x - half - 4
    return parts

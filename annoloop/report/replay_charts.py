"""Charts of a replay: learning curves with their bands, and differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from annoloop.report import charts
from annoloop.report.charts import Chart
from annoloop.results_replay import ArmAnswer, Comparison, NoiseFloor

HEIGHT, LEFT, TOP = 300.0, 44.0, 16.0
DASHES = ("", "7 4", "2 4", "10 3 2 3")
COLOURS = ("--s0", "--s1", "--s2", "--s3", "--ink")
BAND = 0.13
ROW, HEADER = 20.0, 30.0


@dataclass(frozen=True, slots=True)
class Plot:
    """The plot's rectangle, with axes that need not begin at 0."""

    x_from: float
    x_to: float
    y_from: float
    y_to: float
    left: float = LEFT

    def x(self, value: float) -> float:
        share = (value - self.x_from) / (self.x_to - self.x_from)
        return self.left + (charts.WIDTH - self.left - 14) * share

    def y(self, value: float) -> float:
        return TOP + HEIGHT * (1 - (value - self.y_from) / (self.y_to - self.y_from))


def curves(arms: Sequence[ArmAnswer], axis: str, *, metric: str) -> Chart | None:
    """Mean metric of every arm against one cost, with the 95 % band of the mean over seeds."""
    drawn = [(arm, arm.curves[axis]) for arm in arms if len(arm.curves.get(axis, ())) > 1]
    if not drawn:
        return None
    points = [point for _, line in drawn for point in line]
    # A metric is a share: what an interval says beyond that is its own doing.
    rows = _ticks(max(0.0, min(p.low for p in points)), min(1.0, max(p.high for p in points)))
    columns = _ticks(min(p.at for p in points), max(p.at for p in points))
    plot = Plot(columns[0], columns[-1], rows[0], rows[-1])
    parts = _axes(plot, rows, columns, axis)
    for place, (_, line) in enumerate(drawn):
        upper = [f"{plot.x(p.at):.1f},{plot.y(min(p.high, 1.0)):.1f}" for p in line]
        lower = [f"{plot.x(p.at):.1f},{plot.y(max(p.low, 0.0)):.1f}" for p in reversed(line)]
        style = f"fill:var({_colour(place)});opacity:{BAND}"
        parts.append(f'<polygon points="{" ".join(upper + lower)}" style="{style}"/>')
    for place, (_, line) in enumerate(drawn):
        path = " ".join(f"{plot.x(p.at):.1f},{plot.y(p.mean):.1f}" for p in line)
        parts.append(f'<polyline points="{path}" {_stroke(place)}/>')
    at = TOP + HEIGHT + 58
    legend, height = _legend([arm.name for arm, _ in drawn], at=at)
    title = _curves_title([(a.name, c[-1].mean) for a, c in drawn], axis, metric)
    return Chart(title, charts.svg_tag(title, at + height, [*parts, *legend]))


def _curves_title(last: Sequence[tuple[str, float]], axis: str, metric: str) -> str:
    best = max(last, key=lambda one: one[1])
    worst = min(last, key=lambda one: one[1])
    said = f"{metric} against {axis}: {best[0]} ends highest at {best[1]:.3f}"
    return said if best == worst else f"{said}, {worst[0]} lowest at {worst[1]:.3f}"


def differences(
    groups: Sequence[tuple[str, Sequence[Comparison]]], *, metric: str, noise: NoiseFloor | None
) -> Chart | None:
    """A dot and its 95 % interval for every arm and outcome, in points.

    `groups` are outcomes by their title, the one that decides first; the grey strip is the noise
    floor of an area under the curve.
    """
    known = [
        (title, found)
        for title, rows in groups
        if (found := [one for one in rows if one.low is not None and one.high is not None])
    ]
    if not known:
        return None
    every = [one for _, rows in known for one in rows]
    ends = [100 * v for one in every for v in (one.low or 0.0, one.high or 0.0)]
    gap = 100 * noise.gap if noise is not None else 0.0
    columns = _ticks(min([*ends, -gap]), max([*ends, gap]))
    plot = Plot(columns[0], columns[-1], 0.0, 1.0, left=118.0)
    parts, floor = [], TOP
    for title, rows in known:
        parts.append(charts.text_tag(0, floor + 20, title))
        floor += HEADER
        for one in rows:
            parts += _interval(plot, one, floor + ROW / 2)
            floor += ROW
    strip = f'x="{plot.x(-gap):.1f}" y="{TOP}" width="{plot.x(gap) - plot.x(-gap):.1f}"'
    grey = f'<rect {strip} height="{floor - TOP:.1f}" style="fill:var(--line)"/>'
    zero = f'x1="{plot.x(0):.1f}" x2="{plot.x(0):.1f}" y1="{TOP}" y2="{floor:.1f}"'
    parts = [grey, f'<line class="axis" {zero}/>', *parts]
    parts += [
        charts.text_tag(plot.x(mark), floor + 18, f"{mark:+g}" if mark else "0", anchor="middle")
        for mark in columns
    ]
    what = f"{metric} points against {every[0].against}"
    parts.append(charts.text_tag(plot.x(plot.x_to), floor + 36, what, anchor="end"))
    title = _differences_title(known[0][1])
    return Chart(title, charts.svg_tag(title, floor + 44, parts))


def _interval(plot: Plot, one: Comparison, y: float) -> list[str]:
    low, high = plot.x(100 * (one.low or 0.0)), plot.x(100 * (one.high or 0.0))
    ends = f'x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
    return [
        f'<line {ends} style="stroke:var(--s0);stroke-width:3"/>',
        f'<circle class="spot" cx="{plot.x(100 * one.mean):.1f}" cy="{y:.1f}" r="4.5"/>',
        charts.text_tag(plot.left - 10, y + 4, one.arm, kind="label", anchor="end"),
    ]


def _differences_title(rows: Sequence[Comparison]) -> str:
    first = max(rows, key=lambda one: one.mean)
    gains = "gains most on" if first.mean > 0 else "loses least to"
    return (
        f"Over the whole run {first.arm} {gains} {first.against}: {100 * first.mean:+.1f} "
        f"points ({100 * (first.low or 0):+.1f} to {100 * (first.high or 0):+.1f})"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around [low, high], five steps at most (or a few more at the ends)."""
    span = max(high - low, abs(high) * 1e-3, 1e-6)
    marks = charts.ticks(span)
    step = marks[1] - marks[0]
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{step * i:.12g}") for i in range(first, max(last, first + 1) + 1)]


def _axes(plot: Plot, rows: Sequence[float], columns: Sequence[float], what: str) -> list[str]:
    parts = []
    floor, end = TOP + HEIGHT, plot.x(plot.x_to)
    for mark in rows:
        y = plot.y(mark)
        kind = "axis" if mark == rows[0] else "grid"
        parts.append(
            f'<line class="{kind}" x1="{LEFT:g}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(charts.text_tag(LEFT - 8, y + 4, f"{mark:g}", anchor="end"))
    for mark in columns:
        parts.append(charts.text_tag(plot.x(mark), floor + 18, f"{mark:,g}", anchor="middle"))
    return [*parts, charts.text_tag(end, floor + 36, f"labelled {what}", anchor="end")]


def _colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def _stroke(place: int) -> str:
    dash = DASHES[(place + place // len(COLOURS)) % len(DASHES)]
    style = f"fill:none;stroke:var({_colour(place)});stroke-width:2.5;stroke-linejoin:round"
    return f'stroke-dasharray="{dash}" style="{style}"'


def _legend(names: Sequence[str], *, at: float) -> tuple[list[str], float]:
    parts, x, y = [], LEFT, at
    for place, name in enumerate(names):
        wide = 52 + 7.5 * len(name)
        if x > LEFT and x + wide > charts.WIDTH:
            x, y = LEFT, y + 20
        ends = f'x1="{x:.1f}" x2="{x + 30:.1f}" y1="{y - 4:.1f}" y2="{y - 4:.1f}"'
        parts += [f"<line {ends} {_stroke(place)}/>", charts.text_tag(x + 38, y, name)]
        x += wide
    return parts, y - at + 8

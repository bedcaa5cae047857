"""The control chart of the golden checks: errors per box, and from where a check fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from annoloop.report import charts
from annoloop.report.charts import Chart

HEIGHT = 150.0
SIZE = 5.0
DASHES = ("", "7 4", "2 4")
"""What colour tells, the dash and the mark tell too."""


@dataclass(frozen=True, slots=True)
class GoldenPoint:
    """One check: errors per reference box by type; the rate of misses that would have failed."""

    name: str
    rates: Mapping[str, float]
    alarm: float | None


def control_chart(points: Sequence[GoldenPoint]) -> Chart | None:
    """Rates over the checks, one line for each error type; None if there was no check."""
    if not points:
        return None
    kinds = list(points[0].rates)
    alarms = [one.alarm for one in points if one.alarm is not None]
    rows = charts.ticks(max([0.05, *alarms, *(r for one in points for r in one.rates.values())]))
    area = charts.Area(height=HEIGHT, top=rows[-1])
    slots = charts.slots_of(area, len(points))
    middles = [x + width / 2 for x, width in slots]
    parts = [*charts.grid_rows(area, rows), charts.level_line(area, 0, kind="axis")]
    for one, (x, width) in zip(points, slots, strict=True):
        if one.alarm is not None:
            parts.append(_alarm(area.y(one.alarm), x, x + width))
    for place, kind in enumerate(kinds):
        spots = [(x, area.y(one.rates[kind])) for x, one in zip(middles, points, strict=True)]
        parts += _line(spots, place)
    parts += charts.name_row(area, [one.name for one in points], slots, at=area.floor + 17)
    parts += _legend(kinds, at=area.floor + 40, alarm=bool(alarms))
    title = _title(points[-1])
    return Chart(title, charts.svg_tag(title, area.floor + 52, parts))


def _line(spots: Sequence[tuple[float, float]], place: int) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    line = f'<polyline class="rate r{place}" points="{path}" stroke-dasharray="{DASHES[place]}"/>'
    return [line, *(_mark(x, y, place) for x, y in spots)]


def _mark(x: float, y: float, place: int) -> str:
    style = f'class="mark r{place}"'
    if place == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{SIZE - 1:g}" {style}/>'
    if place == 1:
        box = f'x="{x - SIZE + 1:.1f}" y="{y - SIZE + 1:.1f}"'
        return f'<rect {box} width="{2 * SIZE - 2:g}" height="{2 * SIZE - 2:g}" {style}/>'
    corners = f"{x:.1f},{y - SIZE:.1f} {x + SIZE:.1f},{y + SIZE:.1f} {x - SIZE:.1f},{y + SIZE:.1f}"
    return f'<polygon points="{corners}" {style}/>'


def _alarm(y: float, start: float, end: float) -> str:
    return (
        f'<line class="target" x1="{start:.1f}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}">'
        "<title>misses fail from here</title></line>"
    )


def _legend(kinds: Sequence[str], *, at: float, alarm: bool) -> list[str]:
    parts, x = [], 20.0
    for place, kind in enumerate(kinds):
        parts += [_mark(x + 6, at - 4, place), charts.text_tag(x + 18, at, kind)]
        x += 34 + 7 * len(kind)
    if alarm:
        parts += [_alarm(at - 4, x, x + 22), charts.text_tag(x + 28, at, "alarm for misses")]
    return parts


def _title(newest: GoldenPoint) -> str:
    worst = max(newest.rates, key=lambda kind: newest.rates[kind])
    if newest.rates[worst] == 0:
        said = f"{newest.name}: no error in the golden boxes"
    else:
        said = f"{newest.name}: {newest.rates[worst]:.1%} of the golden boxes {worst}"
    if newest.alarm is None:
        return f"{said}; no alarm line with so few passes"
    return f"{said}; misses fail from {newest.alarm:.1%}"

"""Charts as inline SVG: pure functions from numbers to a title that says what they show, and a tag.

Colours are classes of the page's style sheet; what colour tells is told by shape, dash or pattern
too, so that a chart survives a black-and-white printer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 440
"""Width of a chart in its own units: legible on a phone, not huge in half a desktop page."""

PATTERNS = ("plain", "hatch", "dots", "cross", "bars")
"""What lies over the five colours of the series, in the order they are given out."""

_FIRST_SOURCES = ("coverage", "targeted")
_LEFT, _RIGHT, TOP = 44, 14, 26
_LABEL_ROOM = 26
_BARS = 116.0


@dataclass(frozen=True, slots=True)
class Chart:
    """One sentence in plain text that says what the chart says, and the chart as an <svg> tag."""

    title: str
    svg: str


@dataclass(frozen=True, slots=True)
class Area:
    """The plot's rectangle, and where a value of 0 … `top` and of 0 … `right` lies in it."""

    height: float
    top: float
    right: float = 1.0
    left: float = _LEFT
    width: float = WIDTH - _LEFT - _RIGHT

    @property
    def floor(self) -> float:
        return TOP + self.height

    def x(self, value: float) -> float:
        return self.left + self.width * value / self.right

    def y(self, value: float) -> float:
        return self.floor - self.height * value / self.top


def ticks(top: float, *, most: int = 5) -> list[float]:
    """Round numbers from 0 to the first that is not below `top`; steps of 1, 2, 2.5 or 5 × 10^k.

    At most `most` steps. Raises ValueError unless `top` is positive and finite.
    """
    if not 0 < top < math.inf:
        raise ValueError(f"an axis cannot end at {top}")
    power = 10.0 ** math.floor(math.log10(top / most))
    step = next(s * power for s in (1, 2, 2.5, 5, 10, 20) if s * power * most >= top * (1 - 1e-9))
    count = math.ceil(top / step - 1e-9)
    return [float(f"{step * i:.12g}") for i in range(count + 1)]


def batches_by_source(rows: Sequence[tuple[str, Mapping[str, int]]]) -> Chart | None:
    """Stacked bars of the batches (name, images by source); None if none holds an image."""
    filled = [(name, {s: n for s, n in sources.items() if n > 0}) for name, sources in rows]
    filled = [(name, sources) for name, sources in filled if sources]
    if not filled:
        return None
    found = dict.fromkeys(source for _, sources in filled for source in sources)
    order = [s for s in _FIRST_SOURCES if s in found]
    order += [s for s in found if s not in order]
    marks = ticks(max(sum(sources.values()) for _, sources in filled))
    area = Area(height=_BARS, top=marks[-1])
    slots = slots_of(area, len(filled))
    parts = grid_rows(area, marks)
    totals = [f"{sum(sources.values()):,}" for _, sources in filled]
    for (name, sources), (x, width) in zip(filled, slots, strict=True):
        below = 0
        for place, source in enumerate(order):
            count = sources.get(source, 0)
            low, high = area.y(below), area.y(below + count)
            below += count
            if count:
                box = f'x="{x:.1f}" y="{high:.1f}" width="{width:.1f}" height="{low - high:.1f}"'
                parts += _filled(box, place, f"{name}, {source}: {count:,}", chart="sources")
    parts.append(level_line(area, 0, kind="axis"))
    for i in _roomy(area, totals):
        x, y = slots[i][0] + slots[i][1] / 2, area.y(sum(filled[i][1].values())) - 6
        parts.append(text_tag(x, y, totals[i], anchor="middle"))
    parts += name_row(area, [name for name, _ in filled], slots, at=area.floor + 17)
    parts += _legend(order, at=area.floor + 42)
    title = _sources_title(*filled[-1])
    height = area.floor + 34 + 20 * len(_lines(order))
    return Chart(title, svg_tag(title, height, [_patterns("sources"), *parts]))


def failures_over_time(
    rows: Sequence[tuple[str, Mapping[str, int]]], *, what: str = "type", most: int = 9
) -> Chart | None:
    """One small panel of bars for each type (or class), over the iterations (name, failures by it).

    All panels share one scale; the newest iteration is the dark bar. Where there are more than
    `most`, the ones with most failures stand alone. None without any failure.
    """
    kinds = dict.fromkeys(kind for _, counts in rows for kind, n in counts.items() if n > 0)
    if not kinds:
        return None
    across, gap, down = 3, 22.0, 110.0
    wide = (WIDTH - gap * (across - 1)) / across
    top = max(n for _, counts in rows for n in counts.values())
    area = Area(height=52, top=top, left=0, width=wide)
    ranked = sorted(kinds, key=lambda kind: (-rows[-1][1].get(kind, 0), kind))[:most]
    parts = []
    for place, kind in enumerate(ranked):
        corner = f"{(wide + gap) * (place % across):.1f} {down * (place // across):g}"
        bars = _panel(area, kind, [(name, counts.get(kind, 0)) for name, counts in rows])
        parts += [f'<g transform="translate({corner})">', *bars, "</g>"]
    title = _failures_title(rows, what)
    return Chart(title, svg_tag(title, down * math.ceil(len(ranked) / across) - 8, parts))


def progress_bar(parts: Sequence[tuple[str, int]]) -> Chart | None:
    """One bar as wide as the page: (what, how many images) in order; None without any image."""
    total = sum(number for _, number in parts)
    if total <= 0:
        return None
    drawn, before = [], 0.0
    for place, (name, number) in enumerate(parts):
        share = 100 * number / total
        box = f'x="{before:.3f}%" y="0" width="{share:.3f}%" height="100%"'
        if number:
            what = f"{name}: {number:,} of {total:,}"
            drawn += _filled(box, place, what, chart="progress")
        before += share
    first, number = parts[0]
    title = f"{number:,} of {total:,} images of the pool are {first} ({100 * number / total:.0f} %)"
    inner = "".join([f"<title>{escape(title)}</title>", _patterns("progress"), *drawn])
    return Chart(title, f'<svg class="chart bar" role="img" width="100%" height="28">{inner}</svg>')


# --- titles --------------------------------------------------------------------------------------


def _sources_title(name: str, sources: Mapping[str, int]) -> str:
    parts = [f"{n:,} by {s}" for s, n in sorted(sources.items(), key=lambda one: -one[1])]
    return f"Batch {name} has {sum(sources.values()):,} images: {', '.join(parts)}"


def _failures_title(rows: Sequence[tuple[str, Mapping[str, int]]], what: str) -> str:
    name, counts = rows[-1]
    total = sum(counts.values())
    if not total:
        return f"The model of {name} made no failure"
    most = max(counts, key=lambda kind: counts[kind])
    said = f"{name} has {total:,} failures, most of the {what} {most} ({counts[most]:,})"
    if len(rows) < 2:
        return said
    before, earlier = rows[-2]
    return f"{said}; {before} had {sum(earlier.values()):,}"


# --- drawing: primitives that other charts of the report build on --------------------------------


def svg_tag(title: str, height: float, parts: Iterable[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height:g}"'
    return (
        f'<svg class="chart" role="img" {box}><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def text_tag(x: float, y: float, text: str, *, kind: str = "tick", anchor: str = "start") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {at}>{escape(text)}</text>'


def short(name: str) -> str:
    """A name that leaves room for a number beside it at the head of a small panel."""
    return name if len(name) <= 14 else f"{name[:13]}…"


def mark_name(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def grid_rows(area: Area, marks: Sequence[float]) -> list[str]:
    """Horizontal grid lines above the axis, and the numbers of all marks."""
    parts = []
    for mark in marks:
        if mark:
            parts.append(level_line(area, mark, kind="grid"))
        parts.append(text_tag(area.left - 8, area.y(mark) + 4, mark_name(mark), anchor="end"))
    return parts


def level_line(area: Area, value: float, *, kind: str) -> str:
    """A line across the whole plot; the axis is the level 0."""
    y, end = area.y(value), area.left + area.width
    ends = f'x1="{area.left:g}" x2="{end:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
    return f'<line class="{kind}" {ends}/>'


def _panel(area: Area, kind: str, counts: Sequence[tuple[str, int]]) -> list[str]:
    """One small multiple: the type, its newest count, and a bar for every iteration."""
    end, low = area.left + area.width, area.floor
    slots = slots_of(area, len(counts))
    newest = f"{counts[-1][1]:,}"
    parts = [
        text_tag(area.left, 14, short(kind), kind="label"),
        text_tag(end, 14, newest, kind="label", anchor="end"),
    ]
    shades = ["earlier"] * (len(counts) - 1) + ["newest"]
    for (name, number), (x, width), shade in zip(counts, slots, shades, strict=True):
        y = area.y(number)
        box = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{low - y:.1f}"'
        tip = f"<title>{escape(name)}, {escape(kind)}: {number:,}</title>"
        parts.append(f'<rect class="{shade}" {box}>{tip}</rect>')
    parts.append(level_line(area, 0, kind="axis"))
    return [*parts, *name_row(area, [name for name, _ in counts], slots, at=low + 16)]


def slots_of(area: Area, count: int) -> list[tuple[float, float]]:
    """(left edge, width) of `count` bars, none wider than a few letters."""
    pitch = area.width / count
    width = min(0.68 * pitch, 46.0)
    return [(area.left + pitch * (i + 0.5) - width / 2, width) for i in range(count)]


def name_row(
    area: Area, names: Sequence[str], slots: Sequence[tuple[float, float]], *, at: float
) -> list[str]:
    """Names under the bars, as many as there is room for."""
    return [
        text_tag(slots[i][0] + slots[i][1] / 2, at, names[i], anchor="middle")
        for i in _roomy(area, names)
    ]


def _roomy(area: Area, names: Sequence[str]) -> range:
    """Which bars can carry their names without touching: every n-th, the newest always."""
    room = max(_LABEL_ROOM, 8 + 8 * max(map(len, names)))
    every = math.ceil(room * len(names) / area.width)
    return range((len(names) - 1) % every, len(names), every)


def _filled(box: str, place: int, what: str, *, chart: str) -> list[str]:
    """A rectangle in the colour and the pattern of series `place`; 25 of them differ."""
    pattern = PATTERNS[(place + place // len(PATTERNS)) % len(PATTERNS)]
    tip = f"<title>{escape(what)}</title>"
    parts = [f'<rect class="series s{place % len(PATTERNS)}" {box}>{tip}</rect>']
    if pattern != "plain":
        parts.append(f'<rect class="over" {box} fill="url(#{chart}-{pattern})"/>')
    return parts


def _patterns(chart: str) -> str:
    """What lies over a series' colour; ids carry the chart's name, a page holds several charts."""
    shape = {
        "hatch": '<path d="M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4"/>',
        "dots": '<circle cx="2" cy="2" r="1.4"/><circle cx="6" cy="6" r="1.4"/>',
        "cross": '<path d="M0,0 l8,8 M8,0 l-8,8"/>',
        "bars": '<path d="M4,0 v8"/>',
    }
    tags = (
        f'<pattern id="{chart}-{name}" class="pattern" width="8" height="8" '
        f'patternUnits="userSpaceOnUse">{inner}</pattern>'
        for name, inner in shape.items()
    )
    return f"<defs>{''.join(tags)}</defs>"


def _lines(names: Sequence[str]) -> list[list[tuple[float, str]]]:
    """The legend's entries with their x, broken into lines."""
    lines: list[list[tuple[float, str]]] = [[]]
    x = float(_LEFT)
    for name in names:
        wide = 34 + 7.5 * len(name)
        if lines[-1] and x + wide > WIDTH:
            lines.append([])
            x = float(_LEFT)
        lines[-1].append((x, name))
        x += wide
    return lines


def _legend(names: Sequence[str], *, at: float) -> list[str]:
    parts, place = [], 0
    for row, line in enumerate(_lines(names)):
        for x, name in line:
            y = at + 20 * row
            box = f'x="{x:.1f}" y="{y - 11:.1f}" width="14" height="14"'
            parts += [*_filled(box, place, name, chart="sources"), text_tag(x + 20, y + 1, name)]
            place += 1
    return parts

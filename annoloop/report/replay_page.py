"""The answers of a replay as one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

from annoloop.report import replay_charts
from annoloop.report.environment import environment
from annoloop.results_replay import Comparison, ReplayResult

NAMES = {
    "images": "over the run, against images",
    "boxes": "over the run, against boxes",
    "minutes": "over the run, against minutes",
    "final": "at the end, on gauge",
    "test": "at the end, on test",
    "rare": "rare classes, over the run",
    "rare final": "rare classes, at the end",
}
"""The outcomes as people read them."""


def render_replay(result: ReplayResult) -> str:
    """The whole page as text. Every text is escaped: an arm named `<b>` is a word."""
    primary = "images" if result.budget.endswith("images") else "boxes"
    tables = _tables(result)
    tables.sort(key=lambda one: one[0] != NAMES[primary])
    figures = [
        replay_charts.curves(result.arms, primary, metric=result.metric),
        replay_charts.differences(tables, metric=result.metric, noise=result.noise),
        *(
            replay_charts.curves(result.arms, axis, metric=result.metric)
            for axis in ("images", "boxes", "minutes")
            if axis != primary
        ),
    ]
    made: str = (
        environment()
        .get_template("replay.html")
        .render(
            result=result,
            figures=[one for one in figures if one is not None],
            tables=tables,
        )
    )
    return made


def _tables(result: ReplayResult) -> list[tuple[str, list[Comparison]]]:
    grouped = [
        (title, [one for one in result.comparisons if one.outcome == outcome])
        for outcome, title in NAMES.items()
    ]
    return [(title, rows) for title, rows in grouped if rows]

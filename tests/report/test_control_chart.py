"""The golden control chart: what its title says, where its alarm stands."""

from __future__ import annotations

from annoloop.report.control_chart import GoldenPoint, control_chart


def point(name: str, missed: float, alarm: float | None = None) -> GoldenPoint:
    return GoldenPoint(name, {"missed": missed, "spurious": 0.01, "confused": 0.0}, alarm)


def test_no_check_no_chart() -> None:
    assert control_chart([]) is None


def test_the_title_says_what_the_chart_says() -> None:
    chart = control_chart([point("v0", 0.02), point("v1", 0.13, 0.1)])
    assert chart is not None
    assert chart.title == "v1: 13.0% of the golden boxes missed; misses fail from 10.0%"
    assert f"<title>{chart.title}</title>" in chart.svg
    assert chart.svg.count('class="target"') == 2  # the alarm of v1, and its key


def test_without_enough_passes_there_is_no_alarm_line() -> None:
    clean = GoldenPoint("v0", {"missed": 0.0, "spurious": 0.0, "confused": 0.0}, None)
    chart = control_chart([clean])
    assert chart is not None
    assert chart.title == "v0: no error in the golden boxes; no alarm line with so few passes"
    assert "alarm for misses" not in chart.svg


def test_lines_differ_by_mark_and_dash_not_only_by_colour() -> None:
    svg = control_chart([point("v0", 0.02), point("v1", 0.05)]).svg
    assert 'stroke-dasharray="7 4"' in svg
    assert "<circle" in svg
    assert "<polygon" in svg

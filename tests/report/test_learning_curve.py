"""The learning curve of the report: what it says, where it lies, and the band of the forecast."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.report.learning_curve import learning_curve

EVIL = '<script>alert("x")</script>&'


def numbers(svg: str) -> list[float]:
    return [
        float(value) for value in re.findall(r'(?:x|y|x1|x2|y1|y2|cx|cy)="([-\d.einfa]+)"', svg)
    ]


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("text")]


def test_learning_curve_says_what_it_shows():
    chart = learning_curve(
        [("v0", 30, 0.25), ("v1", 60, None), ("v2", 250, 0.612)], metric="AP50", target=0.8
    )
    assert chart is not None
    assert chart.title == (
        "AP50 rose from 0.25 to 0.612 with 30 to 250 labelled images; "
        "0.188 short of the target of 0.8"
    )
    assert {"v0", "v2: 0.612", "target 0.8", "labelled images"} <= set(texts(chart.svg))
    assert chart.svg.count("<circle") == 2
    assert ElementTree.fromstring(chart.svg)[0].text == chart.title


@pytest.mark.parametrize(
    ("points", "target", "expected"),
    [
        ([("v0", 30, 0.5)], None, "AP is 0.5 with 30 labelled images"),
        ([("v0", 30, 0.5), ("v1", 40, 0.4)], None, "AP fell from 0.5 to 0.4 with 30 to 40"),
        ([("v0", 30, 0.5), ("v1", 40, 0.5)], None, "AP stayed at 0.5 with 30 to 40"),
        ([("v0", 30, 0.8)], 0.8, "; not below the target of 0.8"),
        ([("v0", 30, 0.79999)], 0.8, "; less than 0.001 short of the target of 0.8"),
    ],
)
def test_learning_curve_titles(points, target, expected):
    chart = learning_curve(points, metric="AP", target=target)
    assert chart is not None
    assert expected in chart.title


def test_learning_curve_lies_where_the_numbers_say():
    chart = learning_curve(
        [("a", 0, 0.0), ("b", 50, 0.5), ("c", 100, 1.0)], metric="AP", target=None
    )
    assert chart is not None
    (x0, y0), (x1, y1), (x2, y2) = (
        (float(one.get("cx", "")), float(one.get("cy", "")))
        for one in ElementTree.fromstring(chart.svg).iter("circle")
    )
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y2 < y0  # up is better


@given(
    st.lists(
        st.tuples(
            st.text("abv<&\"'0", max_size=12),
            st.integers(0, 10**7),
            st.none() | st.floats(0, 1),
        ),
        max_size=40,
    ),
    st.none() | st.floats(0, 1),
)
def test_any_curve_is_well_formed_and_inside(points, target):
    chart = learning_curve(points, metric="AP50", target=target)
    if chart is None:
        assert all(value is None for _, _, value in points)
        return
    ElementTree.fromstring(chart.svg)
    found = numbers(chart.svg)
    assert all(map(math.isfinite, found))
    assert min(found) >= -60
    assert max(found) <= 500


OUTLOOK = {
    "picture": {
        "sizes": [30, 60, 90],
        "median": [0.25, 0.5, 0.55],
        "low": [0.2, 0.48, 0.5],
        "high": [0.3, 0.52, 0.62],
    },
    "gain": {"median": 0.05, "low": 0.0, "high": 0.12},
    "batch": {"images": 30, "boxes": 60, "minutes": 12, "money": None},
}


def test_the_forecast_is_a_band_that_reaches_beyond_the_last_point():
    points = [("v0", 30, 0.25), ("v1", 60, 0.5)]
    plain = learning_curve(points, metric="AP50", target=None)
    chart = learning_curve(points, metric="AP50", target=None, outlook=OUTLOOK)
    assert plain is not None
    assert chart is not None
    assert chart.title.endswith("; the next 30 images should add 5.0 points (0.0 to 12.0)")
    root = ElementTree.fromstring(chart.svg)
    (band,) = (node for node in root.iter("polygon") if node.get("class") == "band")
    corners = [tuple(map(float, one.split(","))) for one in band.get("points", "").split()]
    assert len(corners) == 6
    dots = [float(one.get("cx", "")) for one in root.iter("circle")]
    assert max(x for x, _ in corners) > max(dots)
    assert corners[0][1] < corners[-1][1]  # the high end lies above the low one
    assert "band" not in plain.svg


def test_an_outlook_without_a_forecast_changes_nothing():
    points = [("v0", 30, 0.25)]
    nothing = {"picture": None, "gain": None, "batch": None, "why_not": "too few points"}
    assert learning_curve(points, metric="AP", target=0.5, outlook=nothing) == learning_curve(
        points, metric="AP", target=0.5
    )


def test_nothing_to_draw():
    assert learning_curve([("v0", 30, None)], metric="AP", target=0.5) is None


def test_names_are_escaped():
    chart = learning_curve([(EVIL, 3, 0.5)], metric=EVIL, target=0.1)
    assert chart is not None
    assert "<script" not in chart.svg
    assert EVIL in "".join(ElementTree.fromstring(chart.svg).itertext())

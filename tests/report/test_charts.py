from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.report import charts

EVIL = '<script>alert("x")</script>&'


def numbers(svg: str) -> list[float]:
    return [
        float(value) for value in re.findall(r'(?:x|y|x1|x2|y1|y2|cx|cy)="([-\d.einfa]+)"', svg)
    ]


def texts(svg: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(svg).iter("text")]


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.664, [0, 0.2, 0.4, 0.6, 0.8]),
        (42, [0, 10, 20, 30, 40, 50]),
        (1200, [0, 250, 500, 750, 1000, 1250]),
        (0.05, [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
    ],
)
def test_ticks_are_round(top, expected):
    assert charts.ticks(top) == expected


@given(st.floats(1e-6, 1e12))
def test_ticks_cover_the_value_and_are_few(top):
    marks = charts.ticks(top)
    assert marks[0] == 0
    assert marks[-1] >= top * (1 - 1e-8)
    assert 2 <= len(marks) <= 6
    assert marks[-2] < top


@pytest.mark.parametrize("top", [0, -1, math.inf, math.nan])
def test_ticks_refuse_what_is_no_range(top):
    with pytest.raises(ValueError, match="axis"):
        charts.ticks(top)


def test_batches_are_stacked_by_source():
    rows = [("v0", {"coverage": 30}), ("v1", {"targeted": 21, "coverage": 9}), ("v2", {})]
    chart = charts.batches_by_source(rows)
    assert chart is not None
    assert chart.title == "Batch v1 has 30 images: 21 by targeted, 9 by coverage"
    bars = [
        (node.findtext("title"), float(node.get("height", "")), float(node.get("y", "")))
        for node in ElementTree.fromstring(chart.svg).iter("rect")
        if ":" in (node.findtext("title") or "")
    ]
    assert [name for name, _, _ in bars] == [
        "v0, coverage: 30",
        "v1, coverage: 9",
        "v1, targeted: 21",
    ]
    whole, low, high = bars
    assert low[1] + high[1] == pytest.approx(whole[1], abs=0.3)
    assert high[2] + high[1] == pytest.approx(low[2], abs=0.2)  # stands on the other
    assert {"coverage", "targeted", "v0", "v1"} <= set(texts(chart.svg))
    assert "v2" not in texts(chart.svg)


def test_sources_differ_by_pattern_not_only_by_colour():
    rows = [("v0", {f"source {i}": 5 for i in range(12)})]
    chart = charts.batches_by_source(rows)
    assert chart is not None
    root = ElementTree.fromstring(chart.svg)
    looks = []
    rects = list(root.iter("rect"))
    for place, rect in enumerate(rects):
        if (rect.findtext("title") or "").startswith("v0"):
            over = rects[place + 1].get("fill") if place + 1 < len(rects) else None
            looks.append((rect.get("class"), over))
    assert len(set(looks)) == 12
    ids = {node.get("id") for node in root.iter("pattern")}
    assert {over.removeprefix("url(#").rstrip(")") for _, over in looks if over} <= ids


def test_failures_by_type_in_order_of_the_newest():
    rows = [("v0", {"missed": 9, "class": 1, "location": 2}), ("v1", {"missed": 2, "class": 4})]
    chart = charts.failures_over_time(rows)
    assert chart is not None
    assert chart.title == "v1 has 6 failures, most of the type class (4); v0 had 12"
    kinds = [text for text in texts(chart.svg) if text in ("missed", "class", "location")]
    assert kinds == ["class", "missed", "location"]
    heights = {
        node.findtext("title"): float(node.get("height", ""))
        for node in ElementTree.fromstring(chart.svg).iter("rect")
    }
    assert heights["v0, missed: 9"] == pytest.approx(9 / 4 * heights["v1, class: 4"], abs=0.2)
    assert heights["v1, location: 0"] == 0


def test_of_many_classes_those_with_most_failures_stand_alone():
    chart = charts.failures_over_time(
        [("v0", {f"class {n}": n for n in range(1, 30)})], what="class"
    )
    assert chart is not None
    assert chart.title == "v0 has 435 failures, most of the class class 29 (29)"
    assert [text for text in texts(chart.svg) if text.startswith("class")] == [
        f"class {n}" for n in range(29, 20, -1)
    ]


def test_failures_all_fixed():
    chart = charts.failures_over_time([("v0", {"missed": 1}), ("v1", {})])
    assert chart is not None
    assert chart.title == "The model of v1 made no failure"


def test_progress_bar_shares():
    chart = charts.progress_bar([("annotated", 60), ("selected", 0), ("still unlabeled", 180)])
    assert chart is not None
    assert chart.title == "60 of 240 images of the pool are annotated (25 %)"
    bars = [
        (node.findtext("title"), node.get("x"), node.get("width"))
        for node in ElementTree.fromstring(chart.svg).iter("rect")
        if node.find("title") is not None
    ]
    assert bars == [
        ("annotated: 60 of 240", "0.000%", "25.000%"),
        ("still unlabeled: 180 of 240", "25.000%", "75.000%"),
    ]


def test_nothing_to_draw():
    assert charts.batches_by_source([("v0", {}), ("v1", {"coverage": 0})]) is None
    assert charts.failures_over_time([]) is None
    assert charts.failures_over_time([("v0", {"missed": 0})]) is None
    assert charts.progress_bar([("annotated", 0)]) is None


def test_names_are_escaped():
    for chart in (
        charts.batches_by_source([(EVIL, {EVIL: 3})]),
        charts.failures_over_time([(EVIL, {EVIL: 3})]),
        charts.progress_bar([(EVIL, 3)]),
    ):
        assert chart is not None
        assert "<script" not in chart.svg
        assert EVIL in "".join(ElementTree.fromstring(chart.svg).itertext())


@pytest.mark.parametrize("count", [1, 2, 13, 60])
def test_labels_below_bars_never_touch(count):
    rows = [(f"v{i}", {"coverage": 1000 + i}) for i in range(count)]
    chart = charts.batches_by_source(rows)
    assert chart is not None
    for pattern in (r"v\d+", r"1,\d+"):
        spots = sorted(
            (float(node.get("x", "")), len(node.text or ""))
            for node in ElementTree.fromstring(chart.svg).iter("text")
            if re.fullmatch(pattern, node.text or "") and node.get("text-anchor") == "middle"
        )
        assert spots
        for (x, length), (after, _) in pairwise(spots):
            assert after - x >= 7 * length
    assert f"v{count - 1}" in texts(chart.svg)

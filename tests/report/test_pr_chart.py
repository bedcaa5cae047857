from xml.etree import ElementTree

import pytest

from annoloop.report.pr_chart import MOST, ClassCurve, precision_recall

CURVE = [1.0] * 51 + [0.5] * 25 + [0.0] * 25


def curve(name, ap50, recall=0.5, precision=0.9):
    return ClassCurve(name, ap50, CURVE, recall, precision)


def labels(chart):
    nodes = ElementTree.fromstring(chart.svg).iter("text")
    return [node.text for node in nodes if node.get("class") == "label"]


def test_the_weakest_class_stands_first_with_its_number():
    chart = precision_recall([curve("cup", 0.9), curve("mug", 0.31)], min_score=0.4)
    assert chart is not None
    assert labels(chart) == ["mug", "0.31", "cup", "0.90"]
    assert chart.title == "On gauge mug is found worst (AP50 0.31) and cup best (0.90)"
    assert "at score 0.40" in chart.svg


def test_the_curve_and_the_operating_point_lie_where_they_should():
    chart = precision_recall([curve("cup", 0.6, recall=0.25, precision=0.5)], min_score=0.4)
    assert chart is not None
    root = ElementTree.fromstring(chart.svg)
    plot = next(node for node in root.iter("rect"))
    wide, top, high = (float(plot.get(key, "")) for key in ("width", "y", "height"))
    line = next(node for node in root.iter("polyline")).get("points", "").split()
    spots = [tuple(map(float, spot.split(","))) for spot in line]
    assert spots[0] == pytest.approx((0, top))
    assert spots[50] == pytest.approx((wide / 2, top), abs=0.1)
    assert spots[51][1] == pytest.approx(top + high / 2)
    assert spots[100] == pytest.approx((wide, top + high), abs=0.1)
    point = next(node for node in root.iter("circle") if node.findtext("title"))
    assert float(point.get("cx", "")) == pytest.approx(wide / 4, abs=0.1)
    assert float(point.get("cy", "")) == pytest.approx(top + high / 2)


def test_a_class_that_is_not_detected_at_the_operating_point_has_no_dot():
    chart = precision_recall([curve("cup", 0.6, 0.0, None)], min_score=0.4)
    assert chart is not None
    circles = list(ElementTree.fromstring(chart.svg).iter("circle"))
    assert len(circles) == 1  # the legend's
    assert "nothing detected at the operating point" in chart.svg


def test_of_many_classes_the_weakest_are_shown_and_it_is_said():
    many = [curve(f"class {n:02d}", n / 100) for n in range(80)]
    chart = precision_recall(many, min_score=0.4)
    assert chart is not None
    assert labels(chart)[::2] == [f"class {n:02d}" for n in range(MOST)]
    assert chart.title.endswith(f"the {MOST} weakest of 80 classes")


def test_nothing_to_draw():
    assert precision_recall([], min_score=0.5) is None
    assert precision_recall([ClassCurve("cup", 0.0, (), None, None)], min_score=0.5) is None


def test_names_are_escaped_and_short():
    chart = precision_recall([curve("<b>" * 9, 0.5)], min_score=0.5)
    assert chart is not None
    assert "<b>" not in chart.svg
    assert labels(chart)[0] == "<b><b><b><b><…"

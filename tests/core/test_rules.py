"""Rules of the schema, on labels written out."""

from __future__ import annotations

from annoloop.core.rules import Rule, broken
from annoloop.records import Label

CLASSES = ("cup", "plate")


def label(kind: int, side: float) -> Label:
    return Label(kind, (0.0, 0.0, side, 50.0))


def test_the_shorter_side_counts_and_equal_is_enough() -> None:
    rules = {"cup": Rule(min_side=8)}
    found = list(broken([label(0, 8), label(0, 7.5), label(1, 1)], rules, classes=CLASSES))
    assert [where for where, _ in found] == ["box 2"]
    assert "7.5 × 50" in found[0][1]


def test_too_many_boxes_of_a_class_are_said_once() -> None:
    rules = {"plate": Rule(most=2)}
    kept = [label(1, 9)] * 2
    assert not list(broken(kept, rules, classes=CLASSES))
    ((where, what),) = broken([*kept, label(0, 9), label(1, 9)], rules, classes=CLASSES)
    assert (where, what) == ("plate", "3 boxes of plate; an image has at most 2")

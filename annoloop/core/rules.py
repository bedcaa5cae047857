"""Rules of the schema: how small a box of a class may be, how many an image may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from annoloop.records import Label


@dataclass(frozen=True, slots=True)
class Rule:
    """`min_side`: the least length of a box's shorter side, in pixels; `most` boxes an image."""

    min_side: float = 0.0
    most: int | None = None


def broken(
    labels: Sequence[Label], rules: Mapping[str, Rule], *, classes: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """(which box or class, what is wrong) for each rule that the labels of one image break."""
    counts: Counter[str] = Counter()
    for number, label in enumerate(labels, start=1):
        name = classes[label.class_id]
        counts[name] += 1
        rule = rules.get(name)
        if rule is not None and min(label.box[2:]) < rule.min_side:
            wide, high = label.box[2:]
            yield (
                f"box {number}",
                f"a {name} of {wide:g} × {high:g} pixels; its shorter side is at least "
                f"{rule.min_side:g}",
            )
    for name, number in counts.items():
        rule = rules.get(name)
        if rule is not None and rule.most is not None and number > rule.most:
            yield name, f"{number} boxes of {name}; an image has at most {rule.most}"
